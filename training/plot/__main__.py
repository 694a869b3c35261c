"""Draw the curves of runs: `python -m training.plot RUN... -o curves.png`."""

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import counted
from dnnlib.flags import PATH


@commands.command()
@click.argument("runs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="Figure to write: .png, .svg or .pdf.")
@click.option("--only", multiple=True, metavar="NAME", help="Curves to draw, such as 'Loss/*'; may be repeated.")
@commands.version_option
@one_sentence_errors
def main(runs: tuple[str, ...], output: str, only: tuple[str, ...]) -> None:
    """Draw the curves of runs, several beside each other: losses, scores, augmentation, speed, metrics of snapshots.

    \b
    python -m training.plot runs/base runs/other -o curves.png
    python -m training.plot runs/base -o scores.svg --only='Loss/scores/*'
    """
    from training.plot.curves import chosen, curves_of, labels
    from training.plot.figure import check_name, draw

    path = check_name(output)
    distinct = list(dict.fromkeys(runs))
    curves = dict(zip(labels(distinct), map(curves_of, distinct), strict=True))
    names = chosen(curves, only)
    draw(path, curves, names)
    click.echo(f"{output}: {counted(len(names), 'curve')} of {counted(len(curves), 'run')}")


if __name__ == "__main__":
    main(prog_name="python -m training.plot")
