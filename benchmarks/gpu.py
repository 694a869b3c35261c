"""All checks, tests and benchmarks that need a GPU, in one call and within minutes.

python -m benchmarks.gpu --outdir out [--smoke]
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.machine import describe
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import unknown_name
from dnnlib.flags import PATH, SETTINGS
from torch_utils.distributed import best_device

ROOT = Path(__file__).parent.parent
TINY = ["--resolution=16", "--repeats=1", "--device=cpu"]
TINY_TRAIN_STEP = [*TINY, "--batch=4", "--channel-base=64", "--channel-max=8", "--precision=fp32", "--steps=1"]
TINY_TRAIN_STEP += ["--variant=paper", "--plain"]
TINY_GENERATE = [*TINY, "--preset=demo", "--batch=1"]
ARCHIVE = "gpu.tar.gz"


@dataclass(frozen=True)
class Part:
    """One command: `python ARGUMENTS`, stopped after `limit` seconds.

    Attributes:
        name: name of the part and of its output files.
        limit: largest number of seconds.
        arguments: arguments of the command; OUTDIR stands for the folder of the outputs, SCRATCH for one that is
            removed at the end.
        size: further arguments, of the full size.
        smoke: arguments of the smallest size, in place of `size`; None: the part is left out without a GPU.
        writes_json: whether the command gets `--json OUTDIR/NAME.json`.
    """

    name: str
    limit: float
    arguments: list[str]
    size: list[str] = field(default_factory=list)
    smoke: list[str] | None = field(default_factory=list)
    writes_json: bool = True

    def command(self, outdir: Path, scratch: Path, smoke: bool) -> list[str]:
        """Return the command line, of the smallest size where `smoke`."""
        arguments = [*self.arguments, *((self.smoke or []) if smoke else self.size)]
        if self.writes_json:
            arguments.append(f"--json={outdir / self.name}.json")
        folders = {"OUTDIR": str(outdir), "SCRATCH": str(scratch)}
        for name, folder in folders.items():
            arguments = [argument.replace(name, folder) for argument in arguments]
        return [sys.executable, *arguments]


def parts() -> list[Part]:
    """Return the parts, the most important first."""
    test = ["-m", "pytest", "-vv", "--durations=5"]  # with names, so that the log names a test that is stopped
    of_kernels, of_step = "tests/torch_utils/test_kernels_gpu.py", "tests/training/test_step_gpu.py"
    step_tests = [of_step, "tests/degradations/test_batched.py", "-k", "gpu and not compile"]
    train_step, generate = ["-m", "benchmarks.train_step"], ["-m", "benchmarks.generate"]
    in_bf16 = ["--variant=paper", "--precision=bf16"]
    in_all = [*in_bf16, "--precision=tf32", "--precision=fp32"]  # the most important first, as time may run out
    draw = ["dataset_tool.py", "--input=drawn:512"]
    tiny_data = ["--recipe=mixture", "--images=8", "--batch=4", "--workers=1", "--device=cpu"]
    sizes = {side: [f"--preset=paper{side}", f"--resolution={side}"] for side in (256, 512)}
    sizes[128] = ["--preset=auto", "--resolution=128", "--batch=64", "--channel-base=16384", "--channel-max=256"]
    base = [*train_step, "--mode=base", "--profile=OUTDIR/profile128.txt"]
    once = [*in_bf16, "--repeats=1"]
    return [
        Part("doctor", 60, ["-m", "torch_utils.doctor"], writes_json=False),
        Part("test_step", 60, [*test, *step_tests], writes_json=False),
        Part("test_kernels", 120, [*test, of_kernels, "-k", "not compile"], writes_json=False),
        Part("train_step128", 60, base, [*sizes[128], "--precision=bf16", "--plain"], TINY_TRAIN_STEP),
        Part("train_step256", 150, train_step, [*sizes[256], "--batch=32", *in_all, "--plain"], TINY_TRAIN_STEP),
        Part(
            "profile256",
            60,
            train_step,
            [*sizes[256], "--batch=32", *once, "--mode=qc", "--profile=OUTDIR/profile256.txt"],
            smoke=None,
        ),
        Part("graphs128", 90, train_step, [*sizes[128], *once, "--mode=base", "--graphs"], smoke=None),
        Part("graphs256", 120, train_step, [*sizes[256], "--batch=32", *once, "--mode=qc", "--graphs"], smoke=None),
        Part("ops", 90, ["-m", "benchmarks.ops", "--no-compile"], smoke=None),
        Part("generate256", 40, generate, sizes[256], TINY_GENERATE),
        Part("train_step512", 90, train_step, [*sizes[512], "--batch=16", *in_bf16, "--plain"], smoke=None),
        Part("generate512", 40, generate, sizes[512], smoke=None),
        Part("draw", 60, [*draw, "--output=SCRATCH/drawn.zip"], ["--resolution=256"], ["--resolution=16"], False),
        Part("data", 60, ["-m", "benchmarks.data", "--data=SCRATCH/drawn.zip"], ["--recipe=mixture"], tiny_data),
        Part("test_compiled", 150, [*test, of_kernels, of_step, "-k", "compile"], writes_json=False),
        Part("compiled256", 120, train_step, [*sizes[256], "--batch=32", *in_bf16, "--compiled"], smoke=None),
    ]


@click.command(context_settings=SETTINGS)
@click.option(
    "--outdir",
    type=PATH,
    required=True,
    help=f"Folder for the output and the numbers of each part, summary.json, and {ARCHIVE} of all.",
)
@click.option("--budget", default=530.0, help="Seconds for all parts together; those that no longer fit are left out.")
@click.option("--only", multiple=True, help="Name of a part, may be repeated; they run in this order.  [default: all]")
@click.option("--smoke", is_flag=True, help="Use the smallest sizes on the CPU, to see that everything works.")
@one_sentence_errors
def main(outdir: str, budget: float, only: tuple[str, ...], smoke: bool) -> None:
    """Run every part, even if others fail, and print the outcome of each at the end."""
    folder = Path(outdir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu") if smoke else best_device("cuda")
    chosen, results = _chosen(only, smoke), []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        for part in chosen:
            left = budget - (time.perf_counter() - started)
            results.append(_run(part, folder, Path(scratch), smoke, min(part.limit, left)))
            summary = {"machine": describe(device), "parts": results}
            (folder / "summary.json").write_text(json.dumps(summary, indent=2))
            _pack(folder)  # each time, since all may be stopped from outside
    click.echo(f"\n{describe(device)}")
    for result in results:
        click.echo(f"{result['name']:<16}{result['outcome']:<28}{result['seconds']:>6.0f} s  {result['last_line']}")
    click.echo(f"Outputs and numbers of each part: {folder / ARCHIVE}")
    if any(result["outcome"] != "done" for result in results):
        sys.exit(1)


def _chosen(only: tuple[str, ...], smoke: bool) -> list[Part]:
    """Return the parts that run: all, the most important first, or those of `only` in its order."""
    every = {part.name: part for part in parts()}
    for name in only:
        if name not in every:
            raise unknown_name("part", name, list(every))
    wanted = [every[name] for name in only or every]
    return [part for part in wanted if not smoke or part.smoke is not None]


def _pack(folder: Path) -> None:
    """Put all tables and numbers into one archive, which is whole at any time."""
    unfinished = folder / f"{ARCHIVE}.part"
    with tarfile.open(unfinished, "w:gz") as archive:
        for path in sorted([*folder.glob("*.txt"), *folder.glob("*.json")]):
            archive.add(path, arcname=path.name)
    unfinished.replace(folder / ARCHIVE)


def _run(part: Part, outdir: Path, scratch: Path, smoke: bool, limit: float) -> dict[str, Any]:
    """Run a part, write its output to a file and print it; return the outcome as JSON."""
    path = outdir / f"{part.name}.txt"
    if limit <= 0:
        return {"name": part.name, "outcome": "left out: no time", "seconds": 0.0, "last_line": ""}
    command = part.command(outdir, scratch, smoke)
    click.echo(f"\n== {part.name}: python {' '.join(command[1:])}")
    started = time.perf_counter()
    with open(path, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # so that the output of a part that is stopped is complete
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit)
            outcome = "done" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {limit:.0f} s"
            os.killpg(process.pid, signal.SIGKILL)  # together with its workers
            process.wait()
    text = path.read_text(encoding="utf-8", errors="replace")
    click.echo(text)
    lines = [line for line in text.splitlines() if line.strip()]
    took = time.perf_counter() - started
    return {"name": part.name, "outcome": outcome, "seconds": took, "last_line": lines[-1] if lines else ""}


if __name__ == "__main__":
    main()
