"""Time a peer's released code beside ours, phase by phase in turns, in one run.

python -m benchmarks.peers --peer=DIR [--resolution 64 --channel-base 8192 --channel-max 256 --batch 8]
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import click
import torch

from benchmarks.machine import describe
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS

FOLDER = Path(__file__).parent
INTERVALS = {"G": 1, "G_reg": 4, "D": 1, "D_reg": 16}  # steps that a phase runs once in
GENERATE = (1, 8)
Q_DIM = 16
WHAT = "a folder with the released code of QC-StyleGAN, of stylegan2-ada-pytorch, or of networks with its interface"


@click.command(context_settings=SETTINGS)
@click.option("--peer", type=PATH, help=f"Folder of the peer: {WHAT}. Its code is run.")
@click.option("--resolution", default=64, help="Side of the images.")
@click.option("--channel-base", default=8192, help="Factor of the channels at each resolution.")
@click.option("--channel-max", default=256, help="Largest number of channels.")
@click.option("--mapping-layers", default=2, help="Number of mapping layers.")
@click.option("--batch", default=8, help="Number of images in a step.")
@click.option("--variant", default="released", help="Variant of our DegradBlocks, beside a peer with a quality code.")
@click.option("--threads", default=1, help="Threads of each side.")
@click.option(
    "--repeats", type=click.IntRange(1), default=3, help="Number of calls of a phase, of which the least counts."
)
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(peer: str | None, variant: str, repeats: int, json_path: str | None, **sizes: int) -> None:
    """Print the processor seconds of each phase of both sides, their ratio, an average step, and the peak memory.

    Both train all that they have on the same losses, without distillation, augmentation and moving average.
    """
    if peer is None or not Path(peer).is_dir():
        click.echo(
            f"Nothing is timed: {'no peer is given' if peer is None else f'{peer} is no folder'}; --peer takes {WHAT}."
        )
        return
    settings = sizes | {"folder": str(Path(peer).resolve()), "variant": variant, "generate": GENERATE, "q_dim": Q_DIM}
    with ExitStack() as sides:
        theirs = sides.enter_context(_side([str(FOLDER / "theirs.py")]))
        facts = theirs.ask(settings)
        if "error" in facts:
            click.echo(f"Nothing is timed: the networks of {peer} do not run here ({facts['error']}).")
            return
        ours = sides.enter_context(_side(["-m", "benchmarks.peers.ours"]))
        _checked(ours.ask(settings | {"quality": facts["quality"]}), "our side")
        kind = "QC-StyleGAN" if facts["quality"] else "StyleGAN2"
        click.echo(
            f"{describe(torch.device('cpu'))}; {facts['module']} of {peer}: {kind}, {sizes['threads']} threads a side"
        )
        report = _compare(ours, theirs, facts["phases"], repeats)
    if json_path:
        Path(json_path).write_text(json.dumps(settings | {"report": report}, indent=2))


class Side:
    """A process that runs a phase for each line that it is sent."""

    def __init__(self, process: subprocess.Popen[str]):
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        self.requests: IO[str] = process.stdin
        self.answers: IO[str] = process.stdout

    def ask(self, request: object) -> dict[str, Any]:
        """Send settings or the name of a phase, and return the answer."""
        try:
            print(request if isinstance(request, str) else json.dumps(request), file=self.requests, flush=True)
            return json.loads(self.answers.readline())
        except (OSError, json.JSONDecodeError):
            return {"error": "its process has ended"}


@contextmanager
def _side(arguments: list[str]) -> Iterator[Side]:
    """Within, a process of one side; the peer's finds no package of ours."""
    is_ours = arguments[0] == "-m"
    environment = {name: value for name, value in os.environ.items() if is_ours or name != "PYTHONPATH"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=FOLDER.parents[1] if is_ours else None,
    ) as process:
        try:
            yield Side(process)
        finally:
            process.kill()


def _compare(ours: Side, theirs: Side, phases: list[str], repeats: int) -> dict[str, dict[str, float]]:
    """Run each phase of both sides in turns, print and return the least seconds of each, and the memory."""
    report: dict[str, dict[str, float]] = {}
    click.echo(f"{'':<14}{'ours':>10}{'theirs':>10}{'ratio':>8}")
    memory = {"ours": 0.0, "theirs": 0.0}
    for phase in phases:
        best = {"ours": float("inf"), "theirs": float("inf")}
        for _ in range(repeats + 1):  # the first one warms up
            for name, side in (("ours", ours), ("theirs", theirs)):
                answer = _checked(side.ask(phase), f"{phase} of {name}")
                best[name], memory[name] = min(best[name], answer["seconds"]), answer["peak_memory"] / 2**30
        report[phase] = best
        _print_row(phase, best)
    average = {name: sum(report[phase][name] / every for phase, every in INTERVALS.items()) for name in memory}
    for title, values in (("average step", average), ("peak GB", memory)):
        report[title] = values
        _print_row(title, values)
    return report


def _print_row(title: str, values: dict[str, float]) -> None:
    ours, theirs = values["ours"], values["theirs"]
    click.echo(f"{title:<14}{ours:>10.4f}{theirs:>10.4f}{ours / theirs:>8.2f}")


def _checked(answer: dict[str, Any], what: str) -> dict[str, Any]:
    """Return an answer; raise UserError where it is an error."""
    if "error" in answer:
        raise UserError(f"{what} failed: {answer['error']}; choose other sizes, or another peer")
    return answer


if __name__ == "__main__":
    main()
