"""The figure of curves: a panel for each name, with a line for each run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import replace_file
from training.plot.curves import Curve

COLUMNS = 3
PANEL = (4.6, 2.9)  # inches
DOTS = 110  # an inch
FEW = 60  # points, up to which a curve is drawn as it is
SUFFIXES = (".png", ".svg", ".pdf")


def check_name(output: str) -> Path:
    """Return the path of a figure; raise UserError for a format that is not written."""
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"the figure {output} does not end in {', '.join(SUFFIXES)}; name it {path.stem}.png")
    return path


def draw(path: Path, runs: Mapping[str, Mapping[str, Curve]], names: Sequence[str]) -> None:
    """Write the figure of the curves called `names`, of runs by their labels.

    Raises UserError where matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("figures need matplotlib, which is not installed", "pip install 'qc-stylegan[plot]'") from error
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)  # needs no display
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("kimg", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        for number, (label, curves) in enumerate(runs.items()):
            if name in curves:
                color = f"C{number % 10}"
                curve = curves[name]
                marker = "o" if len(curve.values) == 1 else None  # a line of one point is invisible
                if len(curve.values) > FEW:
                    axes.plot(curve.kimg, curve.values, color=color, alpha=0.25, linewidth=0.8)
                axes.plot(curve.kimg, average(curve.values), color=color, linewidth=1.4, label=label, marker=marker)
        if len(runs) > 1 and place == 1:
            axes.legend(fontsize=8)
    with replace_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."))


def average(values: Sequence[float]) -> np.ndarray:
    """Return values `[N]` averaged with their neighbours, over one FEW-th of a long curve, to show its trend."""
    count = len(values)
    reach = count // (2 * FEW)
    if reach == 0:
        return np.asarray(values, np.float64)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    first = np.maximum(np.arange(count) - reach, 0)
    last = np.minimum(np.arange(count) + reach + 1, count)
    return (sums[last] - sums[first]) / (last - first)
