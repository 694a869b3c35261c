"""Time a training step, phase by phase and as a whole, in both modes.

python -m benchmarks.train_step [--resolution 64 --channel-base 8192 --channel-max 256 --batch 8] [--textbook]
python -m benchmarks.train_step --preset paper256 --resolution 256 --batch 32 --plain --compiled
"""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import click
import torch

from benchmarks.machine import Operations, convolution_rate, describe, prepare, seconds
from benchmarks.training.configs import Precision, by_mode, step_config
from benchmarks.training.steps import interval_of, phases, profile_steps, time_steps
from benchmarks.training.textbook import TextbookTrainer, arranged_as_usual
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from networks.files import KINDS, ImageFormat
from networks.resolutions import DTYPES
from torch_utils.cuda import operators
from torch_utils.distributed import World, best_device
from torch_utils.ops.convolutions import convolution
from training import presets
from training.config import LossConfig, TrainConfig
from training.loop import allow_tf32
from training.trainer import Trainer

PRECISIONS = ["fp32", "tf32", "bf16", "fp16"]
DEFAULT: tuple[Precision, ...] = ("fp32", "bf16")
DEFAULT_ON_CUDA: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


@click.command(context_settings=SETTINGS)
@click.option(
    "--preset", type=click.Choice(list(presets.PRESETS)), help="Preset of networks and losses, apart from other flags."
)
@click.option("--resolution", default=64, help="Side of the images.")
@click.option(
    "--channel-base", type=int, help="Factor of the channels at each resolution.  [default: 8192, or preset's]"
)
@click.option("--channel-max", type=int, help="Largest number of channels.  [default: 256, or the preset's]")
@click.option("--generator", type=click.Choice(KINDS.names()), help="Kind of generator.  [default: the preset's]")
@click.option("--mapping-layers", type=int, help="Number of mapping layers.  [default: 2, or the preset's]")
@click.option("--batch", default=8, help="Number of images in a step.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Precision, may be repeated; tf32 is float32 with TensorFloat-32 on a GPU, which the 16-bit ones use, too.  "
    "[default: fp32, bf16, on a GPU also tf32]",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["base", "qc"]),
    default=["base", "qc"],
    help="Mode of training: without and with a quality code, may be repeated.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    default=["released", "paper"],
    help="Variant of the DegradBlock in mode qc, may be repeated.",
)
@click.option(
    "--aug",
    type=click.Choice(["none", "ada"]),
    default="none",
    help="Augmentation of the images that the discriminators see.",
)
@click.option("--textbook", is_flag=True, help="Also time the step as it is usually arranged.")
@click.option("--plain", is_flag=True, help="Also time the step without CUDA kernels of our own.")
@click.option("--exact", is_flag=True, help="Also time the step with torch's own convolutions alone.")
@click.option("--shared", is_flag=True, help="Also time the step with loss.share_fakes.")
@click.option("--compiled", is_flag=True, help="Also time the step with run.compile.")
@click.option("--graphs", is_flag=True, help="Also time the step with --cuda-graphs=passes and =phases.")
@click.option("--repeats", default=3, help="Number of calls of a phase that are timed.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Number of whole steps that are timed in a row.  [default: the interval of R1, which has all phases]",
)
@click.option("--profile", type=PATH, help="Text file for tables of what two steps spend their time on.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    preset: str | None,
    resolution: int,
    channel_base: int | None,
    channel_max: int | None,
    generator: str | None,
    mapping_layers: int | None,
    batch: int,
    precisions: tuple[Precision, ...],
    modes: tuple[str, ...],
    variants: tuple[str, ...],
    aug: Literal["none", "ada"],
    textbook: bool,
    plain: bool,
    exact: bool,
    shared: bool,
    compiled: bool,
    graphs: bool,
    repeats: int,
    steps: int | None,
    profile: str | None,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print seconds for each phase and for a whole step, and how much faster ours is than other arrangements."""
    chosen = best_device(device)
    prepare(chosen)
    images = ImageFormat(resolution, 3, 0)
    flags = {"textbook": textbook, "plain": plain, "exact": exact, "with shared fakes": shared}
    flags |= {"compiled": compiled, "with graphs": graphs, "with phases as graphs": graphs}
    others = [name for name, flag in flags.items() if flag]
    records: list[dict[str, Any]] = []
    if profile:
        Path(profile).write_text("")
    for precision in precisions or (DEFAULT_ON_CUDA if chosen.type == "cuda" else DEFAULT):
        config = step_config(resolution, precision, preset, batch, channel_base, channel_max, mapping_layers, aug)
        config = presets.as_creps(config) if generator == "creps" else config
        allow_tf32(config)
        if not records:
            click.echo(f"{describe(chosen)}; {resolution}x{resolution}, {_networks(config)}, batch {config.batch}")
        rate = convolution_rate(chosen, DTYPES[config.generator.precision.dtype])
        click.echo(f"\n{precision}: a large convolution runs at {rate / 1e9:.0f} GFLOP/s")
        with tempfile.TemporaryDirectory() as folder:
            for title, mode_config in by_mode(config, images, modes, variants, Path(folder), chosen).items():
                records.append({"precision": precision, "mode": title})
                table = (profile, f"{title}, {precision}") if profile else None
                for numbers in _compare(title, mode_config, images, chosen, rate, others, repeats, steps, table):
                    records[-1] |= numbers
                    if json_path:  # each time, since the next may take too much memory or time
                        report = {"machine": describe(chosen), "resolution": resolution, "batch": config.batch}
                        Path(json_path).write_text(json.dumps(report | {"records": records}, indent=2))


def _networks(config: TrainConfig) -> str:
    return f"channels {config.generator.channel_base}/{config.generator.channel_max}"


def _compare(
    mode: str,
    config: TrainConfig,
    images: ImageFormat,
    device: torch.device,
    rate: float,
    others: Sequence[str],
    repeats: int,
    steps: int | None,
    table: tuple[str, str] | None,
) -> Iterator[dict[str, Any]]:
    """Measure our step, then the other arrangements of it; yield what is added to the record each time.

    `table` is the file of a profile of our steps, and its title.
    """
    world = World(0, 1, device)
    trainer = Trainer(config, images, world)
    ours = _measure(mode, trainer, rate, repeats, steps)
    yield ours
    if table is not None:
        profile_steps(trainer, *table)
    del trainer  # its memory is not that of the others
    arrangements: dict[str, tuple[Callable[[], AbstractContextManager[Any]], type[Trainer], TrainConfig]] = {
        "textbook": (arranged_as_usual, TextbookTrainer, config),
        "plain": (operators.disabled, Trainer, config),
        "exact": (convolution.exact, Trainer, config),
        "with shared fakes": (contextlib.nullcontext, Trainer, _with(config, "loss", share_fakes=True)),
        "compiled": (contextlib.nullcontext, Trainer, _with(config, "run", compile=True)),
        "with graphs": (contextlib.nullcontext, Trainer, _with(config, "run", cuda_graphs="passes")),
        "with phases as graphs": (contextlib.nullcontext, Trainer, _with(config, "run", cuda_graphs="phases")),
    }
    for name in others:
        counts = ours["operations"] if name.endswith("graphs") else None
        context, kind, other_config = arrangements[name]
        with context():
            numbers = _measure(f"{mode}, {name}", kind(other_config, images, world), rate, repeats, steps, counts)
        click.echo(f"{mode}: {numbers['seconds'] / ours['seconds']:.2f} times the time of ours when {name}")
        yield {name: numbers}


def _with(config: TrainConfig, part: str, **changes: Any) -> TrainConfig:
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **changes)})


def _measure(
    title: str, trainer: Trainer, rate: float, repeats: int, steps: int | None, counts: dict[str, int] | None = None
) -> dict[str, Any]:
    """Time every phase, then whole steps, in which the host may run ahead from one phase to the next.

    `counts` are the operations of each phase, where they are known.
    """
    click.echo(f"\n{title}\n{'phase':<16}{'seconds':>9}{'every':>7}{'GFLOP':>9}{'of conv rate':>14}")
    times, counts = _measure_phases(trainer, rate, repeats, counts or {})
    total, operations = (_average(of, trainer.config.loss) for of in (times, counts))
    _print_step("average step", total, operations, rate)
    whole = time_steps(trainer, steps or trainer.config.loss.r1_interval)
    _print_step("whole step", whole.seconds, operations, rate)
    speed, memory = trainer.config.batch / whole.seconds, whole.peak_memory / 2**30
    click.echo(f"{speed:.1f} images/s; the host launches a step in {whole.host_seconds:.4f} s; at most {memory:.2f} GB")
    numbers = {"seconds": whole.seconds, "host_seconds": whole.host_seconds, "images_per_second": speed}
    numbers |= {"gflop": operations / 1e9, "share": operations / whole.seconds / rate, "peak_memory_gb": memory}
    return numbers | {"average_step": total, "phases": times, "operations": counts}


def _measure_phases(
    trainer: Trainer, rate: float, repeats: int, counts: dict[str, int]
) -> tuple[dict[str, float], dict[str, int]]:
    """Return the seconds and the operations of each phase; what `counts` has is not counted again."""
    times, operations = {}, {}
    for name, function in phases(trainer).items():
        interval = interval_of(name, trainer.config.loss)
        operations[name] = count = counts[name] if name in counts else _operations(function)
        times[name] = time = seconds(function, trainer.world.device, repeats)
        click.echo(f"{name:<16}{time:>9.4f}{interval:>7}{count / 1e9:>9.0f}{count / time / rate:>13.0%}")
    return times, operations


def _average(of_phases: Mapping[str, float], loss: LossConfig) -> float:
    """Return the sum over the phases of a step, each as often as it runs."""
    return sum(value / interval_of(name, loss) for name, value in of_phases.items())


def _print_step(name: str, time: float, operations: float, rate: float) -> None:
    alone = f"the arithmetic alone {operations / rate:.4f} s"
    click.echo(f"{name:<16}{time:>9.4f}{'':>7}{operations / 1e9:>9.0f}{operations / time / rate:>13.0%}   {alone}")


def _operations(function: Callable[[], object]) -> int:
    """Return the number of operations of a phase; a compiled one is counted in its eager form, as counters require."""
    with Operations() as operations, torch.compiler.set_stance("force_eager"):
        function()
    return operations.count


if __name__ == "__main__":
    main()
