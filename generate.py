"""Make images from a network: seeds and quality codes to single images, figures, strips and videos."""

import math
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import click

from dnnlib import commands
from dnnlib.cli import BAD_INPUT, one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, processes_option
from dnnlib.parsing import integers
from dnnlib.remote.locations import NetworkFile
from dnnlib.running.stop import StopNow
from generation.framing_flags import FRAMING, framing_options, parse_framing
from generation.quality_codes import MAX_SEED

WALKS = ("quality", "content", "zoom")
DEFAULT_STEPS = {"strip": 8, "mp4": 60}

SECTIONS = {
    "Images": ("network", "seeds", "outdir", "trunc", "class_index", "noise_mode", "grid", "save_codes"),
    "Quality": ("texts", "quality_scale", "degradations"),
    "Walks": ("interpolate", "steps", "output", "fps"),
    "Framing, for networks that know no grid": FRAMING,
    "Machine": ("gpus", "batch", "device", "precision"),
}


@commands.command(sections=SECTIONS, former={"--output": "--format"})
@click.option("--network", type=NetworkFile(), required=True, help="Network file, such as a network-snapshot.")
@click.option("--seeds", required=True, metavar="LIST", help="Numbers of the images, such as 0-7,12.")
@click.option(
    "-o", "--outdir", type=PATH, default="out", help="Folder of the results; files of the same name are replaced."
)
@click.option("--trunc", type=float, default=1.0, help="Truncation psi; below 1: closer to the mean, less varied.")
@click.option("--class", "class_index", type=int, help="Class of the images, for a conditional network.")
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    help="Noise of the network; random depends on the seed.",
)
@click.option(
    "--quality",
    "texts",
    multiple=True,
    default=["sharp"],
    help="Quality: sharp, random (another for each seed), seed:5, a file (.npy, .npz, .json, .txt), or as many numbers "
    "as the network's code has. Give it several times for several images a seed.",
)
@click.option("--quality-scale", type=float, default=1.0, help="Factor of every quality code; 0: sharp.")
@click.option(
    "--degradations", type=click.IntRange(min=0), default=0, help="Number of additional random codes for each seed."
)
@click.option(
    "--grid", is_flag=True, help="Also write grid.png, a figure with the sharp image beside the degraded ones."
)
@click.option("--save-codes", is_flag=True, help="Also write codes.npz with filename, seed, ws and q.")
@click.option(
    "--interpolate",
    type=click.Choice(WALKS),
    help="Walk to write instead of images. quality: each seed from sharp through all qualities; content: a loop "
    "through all seeds, with quality and noise of the first; zoom: from the whole image into --crop.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps from a quality or seed to the next.  [default: 8; mp4: 60]"
)
@click.option(
    "--format", "output", type=click.Choice(list(DEFAULT_STEPS)), help="Format of an interpolation.  [default: strip]"
)
@click.option("--fps", type=click.IntRange(1, 240), help="Frames a second of an mp4.  [default: 30]")
@framing_options
@click.option("--batch", type=click.IntRange(min=1), help="Number of seeds at once.  [default: 32 on a GPU, else 8]")
@processes_option
@click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option(
    "--precision",
    type=click.Choice(["stored", "fp32", "bf16"]),
    default="stored",
    help="Number type of high resolutions.",
)
@commands.version_option
@one_sentence_errors
def main(
    network: str,
    seeds: str,
    outdir: str,
    trunc: float,
    class_index: int | None,
    noise_mode: Literal["const", "random", "none"],
    texts: tuple[str, ...],
    quality_scale: float,
    degradations: int,
    grid: bool,
    save_codes: bool,
    interpolate: str | None,
    steps: int | None,
    output: str | None,
    fps: int | None,
    batch: int | None,
    gpus: int,
    device: str | None,
    precision: Literal["stored", "fp32", "bf16"],
    **frame: Any,
) -> None:
    """Make images from a network.

    Image number s comes from the latent RandomState(s).randn(1, z_dim), its degradation k from the quality code
    RandomState([s, k]).randn(1, q_dim); --quality=random is k = 0, --degradations=K is k = 0 to K - 1. codes.json says
    how each image of the latest call was made.

    \b
    python generate.py --network=qc.safetensors --seeds=0-7,12 --trunc=0.7 --degradations=3 --grid
    python generate.py --network=qc.safetensors --seeds=0-7 --quality=seed:5 --interpolate=quality --format=mp4
    python generate.py --network=creps.safetensors --seeds=0-7 --scale=4 --crop=0.25,0.25,0.75,0.75 --rotate=10
    python generate.py --network=creps.safetensors --seeds=0 --scale=8 --crop=.4,.3,.5,.4 --interpolate=zoom
    """
    from generation.making import Job, Walk, make
    from generation.sampling import Sampling
    from torch_utils.distributed import planned_processes
    from torch_utils.processes.sharing import divide

    numbers = _seeds(seeds, distinct=interpolate != "content")
    framing = parse_framing(frame)
    of_images = {"grid": grid, "save-codes": save_codes}
    _check_flags(interpolate, of_images, {"steps": steps, "format": output, "fps": fps})
    if fps is not None and output != "mp4":
        raise UserError(f"--fps={fps} belongs to a video; add --format=mp4")
    for name, value in {"--trunc": trunc, "--quality-scale": quality_scale}.items():
        if not math.isfinite(value):
            raise UserError(f"{name}={value} must be finite; write for example {name}=0.7")
    walk = None
    if interpolate is not None:
        output = output or "strip"
        if output != "mp4" and planned_processes(gpus) > 1:
            raise UserError(f"--gpus={gpus} divides images and videos; a strip is made by one process, so leave it out")
        walk = Walk(interpolate, steps or DEFAULT_STEPS[output], (fps or 30) if output == "mp4" else None)
    sampling = Sampling(class_index, trunc, noise_mode, batch or 0, framing)
    flags = list(texts), quality_scale, degradations, grid, save_codes, precision
    outcome = divide(make, gpus, device, Job(network, numbers, outdir, *flags, sampling, walk))
    if outcome is None:
        return
    for loss in outcome.losses:
        click.echo(f"Error: {loss.item or 'nothing'} is lost: {loss.reason}; the same command makes it", err=True)
    click.echo(f"{sum(outcome.results)} {'images' if walk is None else 'files'}; results in {outdir}/")
    if outcome.stopped_by is not None:
        raise StopNow(outcome.stopped_by)
    if outcome.losses or outcome.left:
        sys.exit(BAD_INPUT)


def _seeds(text: str, distinct: bool) -> list[int]:
    seeds = integers(text)
    if max(seeds) > MAX_SEED:
        raise UserError(f"--seeds={text} names {max(seeds)}, must be at most {MAX_SEED}; choose smaller seeds")
    if distinct and len(set(seeds)) < len(seeds):
        twice = Counter(seeds).most_common(1)[0][0]
        raise UserError(f"--seeds={text} names {twice} twice, and its files would have the same names; name it once")
    return seeds


def _check_flags(interpolate: str | None, of_images: Mapping[str, object], of_walks: Mapping[str, object]) -> None:
    """Raise UserError for a flag that has no effect together with, or without, --interpolate."""
    for name, value in (of_walks if interpolate is None else of_images).items():
        if value:
            cure = f"add --interpolate={' or '.join(WALKS)}" if interpolate is None else "leave one of them out"
            other = "without" if interpolate is None else "with"
            raise UserError(f"--{name} has no effect {other} --interpolate; {cure}")


if __name__ == "__main__":
    main()
