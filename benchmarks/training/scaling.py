"""How a training step grows with resolution, batch and channels, and what presets need in memory.

python -m benchmarks.training.scaling [--resolution 16 --resolution 32 ...] [--memory paper256 --memory paper512]
"""

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.machine import describe, now, prepare
from benchmarks.training.configs import by_mode, step_config
from benchmarks.training.memory import Memory, needed
from benchmarks.training.steps import interval_of, phases
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from networks.files import ImageFormat
from torch_utils.distributed import World, best_device
from training import presets
from training.trainer import Trainer

Point = tuple[int, int, int]  # resolution, batch, largest number of channels
AXES = ("resolution", "batch", "channels")
IMAGES_AT_ONCE = (1, 8)  # batches of the estimates


@click.command(context_settings=SETTINGS)
@click.option("--resolution", "sides", multiple=True, default=[16, 32, 64], help="Side of the images, repeated.")
@click.option("--batch", "batches", multiple=True, default=[4, 8], help="Images in a step, repeated.")
@click.option("--channels", "widths", multiple=True, default=[32, 64], help="Channels at each resolution, repeated.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Calls of a phase, of which the least counts.")
@click.option(
    "--memory",
    "memory",
    multiple=True,
    type=click.Choice(list(presets.PRESETS)),
    default=["paper256", "paper512"],
    help="Preset whose memory is computed, may be repeated.",
)
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    sides: tuple[int, ...],
    batches: tuple[int, ...],
    widths: tuple[int, ...],
    repeats: int,
    memory: tuple[str, ...],
    device: str | None,
    json_path: str | None,
) -> None:
    """Print seconds of an average step in mode base, their fitted exponents, and a table of memory."""
    chosen = best_device(device)
    prepare(chosen)
    click.echo(f"{describe(chosen)}; mode base, fp32, the same number of channels at every resolution")
    click.echo(f"{'resolution':>10}{'batch':>8}{'channels':>10}{'seconds':>10}")
    times: dict[Point, float] = {}
    for point in itertools.product(sides, batches, widths):
        times[point] = average_step(point, chosen, repeats)
        click.echo(f"{point[0]:>10}{point[1]:>8}{point[2]:>10}{times[point]:>10.4f}")
    exponents, error = fitted_exponents(times)
    if exponents:
        terms = " ".join(f"{axis}^{value:.2f}" for axis, value in exponents.items())
        click.echo(f"seconds grow as {terms}, by at most {error:.0%} beside that")
    rows = {}
    for mode, preset in itertools.product(("base", "qc"), memory):
        rows[f"{preset}, {mode}"] = memory_of(preset, mode, presets.RESOLUTIONS.get(preset, 256))
    _print_memory(rows)
    if json_path:
        points = [dict(zip(AXES, point, strict=True)) | {"seconds": value} for point, value in times.items()]
        tables = {name: vars(row) for name, row in rows.items()}
        report = {"machine": describe(chosen), "times": points, "exponents": exponents, "memory": tables}
        Path(json_path).write_text(json.dumps(report, indent=2))


def average_step(point: Point, device: torch.device, repeats: int) -> float:
    """Return the seconds of an average step; on a CPU the processor's, which other programs take no part in."""
    resolution, batch, channels = point
    config = step_config(resolution, "fp32", None, batch, channels * resolution, channels, 2, "none")
    trainer = Trainer(config, ImageFormat(resolution, 3, 0), World(0, 1, device))
    times = {name: least_seconds(phase, device, repeats) for name, phase in phases(trainer).items()}
    return sum(value / interval_of(name, config.loss) for name, value in times.items())


def least_seconds(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the least time of a call, after one that warms up."""
    clock = time.process_time if device.type == "cpu" else lambda: now(device)
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def fitted_exponents(times: Mapping[Point, float]) -> tuple[dict[str, float], float]:
    """Return the exponents of `seconds = c * product of axis^exponent`, by least squares of logarithms.

    Axes of a single value have none. The second value is the largest relative error of the fit.
    """
    varied = [axis for axis in range(len(AXES)) if len({point[axis] for point in times}) > 1]
    logs = np.log([[point[axis] for axis in varied] for point in times])
    matrix = np.column_stack([logs, np.ones(len(times))])
    wanted = np.log(list(times.values()))
    solution = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    error = float(np.expm1(np.abs(matrix @ solution - wanted).max()))
    return dict(zip([AXES[axis] for axis in varied], solution.tolist(), strict=False)), error


def memory_of(preset: str, mode: str, side: int) -> Memory:
    """Return what a process needs that trains a preset in a mode (`base` or `qc`) on images of some side."""
    images = ImageFormat(side, 3, 0)
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(side, "fp16", preset, 8, None, None, None, "none")
        [config] = by_mode(config, images, [mode], ["paper"], Path(folder), torch.device("cpu")).values()
        return needed(config, images)


def _print_memory(rows: Mapping[str, Memory]) -> None:
    columns: Sequence[str] = ("weights", "gradients", "adam", "ema")
    at_once = "".join(f"{f'{count} at once':>12}" for count in IMAGES_AT_ONCE)
    click.echo(f"\n{'GB':<16}{''.join(f'{column:>11}' for column in columns)}{'an image':>11}{at_once}  (estimates)")
    for title, row in rows.items():
        exact = "".join(f"{getattr(row, column) / 2**30:>11.3f}" for column in columns)
        estimates = "".join(f"{row.of(count) / 2**30:>12.2f}" for count in IMAGES_AT_ONCE)
        click.echo(f"{title:<16}{exact}{row.activations / 2**30:>11.3f}{estimates}  {row.phase}")


if __name__ == "__main__":
    main()
