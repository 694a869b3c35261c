"""Everything that wants a GPU, in one call and within minutes: checks, tests, benchmarks.

python -m benchmarks.gpu --outdir out [--smoke]
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import torch

from benchmarks.machine import describe
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import SETTINGS
from torch_utils.distributed import best_device

ROOT = Path(__file__).parent.parent
TINY = ["--resolution=16", "--repeats=1", "--device=cpu"]
TINY_TRAIN_STEP = [*TINY, "--batch=4", "--channel-base=64", "--channel-max=8", "--precision=fp32"]
TINY_TRAIN_STEP += ["--variant=paper", "--plain"]
TINY_GENERATE = [*TINY, "--preset=demo", "--batch=1"]


@dataclass(frozen=True)
class Part:
    """One command: `python ARGUMENTS`, stopped after `limit` seconds.

    Args:
        arguments: OUTDIR stands for the folder of the outputs.
        writes_json: the benchmark gets `--json OUTDIR/NAME.json`.
        smoke: arguments of the smallest size, in place of `size`; None: it has nothing to do without a GPU.
    """

    name: str
    limit: float
    arguments: list[str]
    size: list[str] = field(default_factory=list)
    smoke: list[str] | None = field(default_factory=list)
    writes_json: bool = True

    def command(self, outdir: Path, smoke: bool) -> list[str]:
        arguments = [*self.arguments, *(self.smoke if smoke else self.size)]
        if self.writes_json:
            arguments.append(f"--json={outdir / self.name}.json")
        return [sys.executable, *(argument.replace("OUTDIR", str(outdir)) for argument in arguments)]


def parts() -> list[Part]:
    """Return what is run, the most important first."""
    test = ["-m", "pytest", "-vv", "--durations=5"]  # with names, so that one that is stopped is known
    step_tests = ["tests/training/test_step_gpu.py", "tests/degradations/test_batched.py", "-k", "gpu"]
    train_step, generate = ["-m", "benchmarks.train_step"], ["-m", "benchmarks.generate"]
    in_bf16 = ["--variant=paper", "--precision=bf16"]
    in_all = [*in_bf16, "--precision=tf32", "--precision=fp32"]  # should time run out, the most wanted are there
    draw = ["dataset_tool.py", "--source=drawn:512"]
    tiny_data = ["--recipe=mixture", "--images=8", "--batch=4", "--workers=1", "--device=cpu"]
    sizes = {side: [f"--preset=paper{side}", f"--resolution={side}"] for side in (256, 512)}
    return [
        Part("doctor", 60, ["-m", "torch_utils.doctor"], writes_json=False),
        Part("test_step", 90, [*test, *step_tests], writes_json=False),
        Part("test_kernels", 120, [*test, "tests/torch_utils/test_kernels_gpu.py"], writes_json=False),
        Part("train_step256", 180, train_step, [*sizes[256], "--batch=32", *in_all, "--plain"], TINY_TRAIN_STEP),
        Part("generate256", 40, generate, sizes[256], TINY_GENERATE),
        Part("ops", 60, ["-m", "benchmarks.ops", "--no-compile"], smoke=None),
        Part("train_step512", 90, train_step, [*sizes[512], "--batch=16", *in_bf16, "--plain"], smoke=None),
        Part("generate512", 40, generate, sizes[512], smoke=None),
        Part("draw", 60, [*draw, "--dest=OUTDIR/drawn.zip"], ["--resolution=256"], ["--resolution=16"], False),
        Part("data", 60, ["-m", "benchmarks.data", "--data=OUTDIR/drawn.zip"], ["--recipe=mixture"], tiny_data),
        Part("compiled256", 120, train_step, [*sizes[256], "--batch=32", *in_bf16, "--compiled"], smoke=None),
    ]


@click.command(context_settings=SETTINGS)
@click.option("--outdir", required=True, help="Folder for a table and a JSON file of each part, and summary.json.")
@click.option("--budget", default=530.0, help="Seconds for all together; what no longer fits is left out.")
@click.option("--only", multiple=True, help="Names of the parts that are wanted.  [default: all]")
@click.option("--smoke", is_flag=True, help="The smallest sizes on the CPU, to see that everything works.")
@one_sentence_errors
def main(outdir, budget, only, smoke):
    """Run every part, whatever becomes of the others, and say at the end what became of each."""
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu") if smoke else best_device("cuda")
    wanted = [part for part in parts() if (not smoke or part.smoke is not None) and (not only or part.name in only)]
    started, results = time.perf_counter(), []
    for part in wanted:
        left = budget - (time.perf_counter() - started)
        results.append(_run(part, outdir.resolve(), smoke, min(part.limit, left)))
        (outdir / "summary.json").write_text(json.dumps({"machine": describe(device), "parts": results}, indent=2))
    click.echo(f"\n{describe(device)}")
    for result in results:
        click.echo(f"{result['name']:<16}{result['outcome']:<28}{result['seconds']:>6.0f} s  {result['last_line']}")
    click.echo(f"Outputs and numbers of each part: {outdir.resolve()}")
    if any(result["outcome"] != "done" for result in results):
        sys.exit(1)


def _run(part: Part, outdir: Path, smoke: bool, limit: float) -> dict:
    """Run a part with its output in a file and here; return what became of it."""
    path = outdir / f"{part.name}.txt"
    if limit <= 0:
        return {"name": part.name, "outcome": "left out: no time", "seconds": 0.0, "last_line": ""}
    command = part.command(outdir, smoke)
    click.echo(f"\n== {part.name}: python {' '.join(command[1:])}")
    started = time.perf_counter()
    with open(path, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # what a part has said when it is stopped is kept
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit)
            outcome = "done" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {limit:.0f} s"
            os.killpg(process.pid, signal.SIGKILL)  # with the workers that it has started
            process.wait()
    text = path.read_text(encoding="utf-8", errors="replace")
    click.echo(text)
    lines = [line for line in text.splitlines() if line.strip()]
    took = time.perf_counter() - started
    return {"name": part.name, "outcome": outcome, "seconds": took, "last_line": lines[-1] if lines else ""}


if __name__ == "__main__":
    main()
