"""Seconds until a command answers `--help`, and which heavy packages it has imported by then.

python -m benchmarks.startup [COMMAND...]
"""

import resource
import subprocess
import sys
import time

import click
import torch

from benchmarks.machine import describe

COMMANDS = ("", "train", "generate", "restore", "metrics", "dataset", "inspect", "export", "hub", "doctor")
HEAVY = ("torch", "torch._dynamo", "cv2", "scipy", "PIL", "av", "tensorboard", "huggingface_hub", "numpy")
CODE = f"""
import sys
from qc_stylegan.program import main
try:
    main()
finally:
    print("imported", *(name for name in {HEAVY} if name in sys.modules))
"""


@click.command()
@click.argument("names", metavar="[COMMAND...]", nargs=-1)
@click.option("--repetitions", type=click.IntRange(min=1), default=3, help="Times that each is asked; the best counts.")
def main(names: tuple[str, ...], repetitions: int) -> None:
    """Measure how fast commands answer --help."""
    click.echo(describe(torch.device("cpu")))
    click.echo(f"{'command':<16}{'seconds':>9}{'CPU':>7}  imports")
    for name in names or COMMANDS:
        runs = [_run(name.split()) for _ in range(repetitions)]
        wall, cpu, imported = min(runs)
        click.echo(f"{name or '(none)':<16}{wall:>9.2f}{cpu:>7.2f}  {imported}")


def _run(command: list[str]) -> tuple[float, float, str]:
    """Return the wall and CPU seconds of one call, and what it had imported."""
    start, before = time.perf_counter(), _cpu()
    done = subprocess.run([sys.executable, "-c", CODE, *command, "--help"], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, _cpu() - before, done.stdout.rpartition("imported")[2].strip()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
