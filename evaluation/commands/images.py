"""Commands for images without a network: `calc_metrics.py pairs`, `niqe`, `fit-niqe`, `identity-consistency`."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import tqdm

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.files import sha256, write_text
from dnnlib.flags import PATH
from evaluation.commands.options import device_option
from evaluation.tables.table import Table
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option

if TYPE_CHECKING:
    import torch

    from metrics.detector import Detector

batch_option = click.option("--batch", type=click.IntRange(min=1), default=16, help="Number of images in a batch.")
output_option = click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="JSON file for the numbers of every image."
)


@commands.command("pairs")
@click.argument("a", type=PATH, metavar="IMAGES")
@click.argument("b", type=PATH, metavar="REFERENCES")
@click.option(
    "--metrics",
    "names",
    default="psnr,ssim,pd_cifar",
    help="Names of measures, with commas; also lpips_alex, lpips_vgg, identity, ...",
)
@weights_dir_option
@batch_option
@device_option
@output_option
@one_sentence_errors
def pairs_command(
    a: str, b: str, names: str, weights_dir: str | None, batch: int, device: str | None, output: str | None
) -> None:
    """Compare images with references of the same names: PSNR, SSIM, LPIPS, identity."""
    import torch

    from evaluation.streams.files import pair_batches
    from images.files import ImageFiles
    from metrics.pairs import load_measure
    from torch_utils.distributed import best_device
    from torch_utils.precision import with_float64

    chosen = with_float64(best_device(device))
    weights = WeightsDirectory.find(weights_dir)
    measures = {name.strip(): load_measure(name.strip(), weights, chosen) for name in names.split(",")}
    files = ImageFiles(a)
    numbers: dict[str, dict[str, float]] = {}
    with torch.no_grad(), tqdm.tqdm(total=len(files), unit="img", disable=None) as bar:
        for batch_names, images, references in pair_batches(files, ImageFiles(b), batch):
            images, references = images.to(chosen), references.to(chosen)
            columns = [measure.compare(images, references).tolist() for measure in measures.values()]
            for name, row in zip(batch_names, zip(*columns, strict=True), strict=True):
                numbers[name] = dict(zip(measures, row, strict=True))
            bar.update(len(batch_names))
    detectors = {name: measure.detector.record() for name, measure in measures.items() if measure.detector is not None}
    _report(numbers, {"images": a, "references": b, "detectors": detectors}, output)


@commands.command("niqe")
@click.argument("images", type=PATH, metavar="IMAGES")
@click.option(
    "--pristine", type=PATH, metavar="FILE", help="Model of sharp photos (.mat or .npz).  [default: the published one]"
)
@weights_dir_option
@batch_option
@device_option
@output_option
@one_sentence_errors
def niqe_command(
    images: str, pristine: str | None, weights_dir: str | None, batch: int, device: str | None, output: str | None
) -> None:
    """Rate images without any reference; lower is better (Mittal et al. 2013)."""
    import torch

    from evaluation.streams.files import image_batches
    from images.files import ImageFiles
    from metrics.niqe.distance import niqe
    from metrics.niqe.pristine import read_pristine
    from torch_utils.distributed import best_device
    from torch_utils.precision import with_float64

    chosen = with_float64(best_device(device))
    path = pristine or WeightsDirectory.find(weights_dir).path("niqe")
    model = read_pristine(path)
    files = ImageFiles(images)
    numbers: dict[str, dict[str, float]] = {}
    with torch.no_grad(), tqdm.tqdm(total=len(files), unit="img", disable=None) as bar:
        for names, batch_of_images in image_batches(files, batch):
            values = niqe(batch_of_images.to(chosen), model).tolist()
            numbers |= {name: {"niqe": value} for name, value in zip(names, values, strict=True)}
            bar.update(len(names))
    record = {"images": images, "pristine": str(path), "sha256": sha256(path), "block": model.block}
    _report(numbers, record, output)


@commands.command("fit-niqe")
@click.argument("photos", type=PATH, metavar="PHOTOS")
@click.option(
    "-o", "--output", type=PATH, default="niqe.npz", metavar="FILE", help="File of the model, for niqe --pristine."
)
@click.option(
    "--block", type=int, default=96, help="Side of the blocks in pixels; a photo needs at least one, better many."
)
@batch_option
@device_option
@one_sentence_errors
def fit_niqe_command(photos: str, output: str, block: int, batch: int, device: str | None) -> None:
    """Fit NIQE's model of pristine images to a folder of sharp photos."""
    import torch

    from evaluation.streams.files import image_batches
    from images.files import ImageFiles
    from metrics.niqe.pristine import fit_pristine, write_pristine
    from torch_utils.distributed import best_device
    from torch_utils.precision import with_float64

    chosen = with_float64(best_device(device))
    files = ImageFiles(photos)
    batches = tqdm.tqdm(image_batches(files, batch), unit="batch", disable=None)
    with torch.no_grad():
        model = fit_pristine((images.to(chosen) for _, images in batches), block)
    write_pristine(Path(output), model)
    click.echo(f"{output}: {counted(len(files), 'photo')}, blocks of {block}x{block}")


@commands.command("identity-consistency")
@click.argument("videos", type=PATH, metavar="VIDEO...", nargs=-1, required=True)
@click.option(
    "--source",
    "sources",
    type=PATH,
    multiple=True,
    metavar="VIDEO",
    help="What a video was made of, to be compared; repeated, one for each video in their order.",
)
@weights_dir_option
@batch_option
@device_option
@output_option
@one_sentence_errors
def identity_consistency_command(
    videos: tuple[str, ...],
    sources: tuple[str, ...],
    weights_dir: str | None,
    batch: int,
    device: str | None,
    output: str | None,
) -> None:
    """How alike the face stays to that of the first frame, for videos or folders of frames (Yao et al. 2022, Eq. 1).

    With --source, source and result stand side by side: good is what is close to the source's, not what is high.

    \b
    python calc_metrics.py identity-consistency restored.mp4 edited.mp4 --source=clip.mp4 --source=clip.mp4
    """
    from metrics.detector import load_detector
    from torch_utils.distributed import best_device

    if len(set(videos)) < len(videos):
        raise UserError(f"{max(videos, key=videos.count)} is given twice; give each video once")
    if sources and len(sources) != len(videos):
        raise UserError(
            f"--source is given {counted(len(sources), 'time')} for {counted(len(videos), 'video')}; "
            "give --source once for each video"
        )
    chosen = best_device(device)
    detector = load_detector("arcface", WeightsDirectory.find(weights_dir), chosen)
    consistency = {path: _consistency(path, detector, batch, chosen) for path in dict.fromkeys([*videos, *sources])}
    numbers = {video: {"identity_consistency": consistency[video]} for video in videos}
    if not sources:
        _report(numbers, {"detector": detector.record()}, output)
        return
    for video, source in zip(videos, sources, strict=True):
        numbers[video]["source"] = consistency[source]
    table = _consistency_table(numbers)
    click.echo(table.markdown())
    if output is not None:
        named = dict(zip(videos, sources, strict=True))
        record = {"detector": detector.record(), "sources": named, "values": numbers}
        write_text(output, json.dumps(record, indent=2) + "\n")


def _consistency(video: str, detector: Detector, batch: int, device: torch.device) -> float:
    import torch

    from evaluation.streams.files import frame_batches
    from metrics.distances.face_similarity import identity_consistency

    assert detector.features is not None, "ArcFace has features"
    with torch.no_grad():
        embeddings = [detector.features(frames.to(device)) for frames in frame_batches(video, batch)]
    if not embeddings:
        raise UserError(f"{video} has no frames that can be read; give a video file or a folder of images")
    return identity_consistency(torch.cat(embeddings))


def _consistency_table(numbers: dict[str, dict[str, float]]) -> Table:
    """Return a row for each video from the numbers of it and of its source, and one of their means."""
    pairs = {video: (values["source"], values["identity_consistency"]) for video, values in numbers.items()}
    rows = [[video, *map(_four_digits, (source, own, own - source))] for video, (source, own) in pairs.items()]
    if len(pairs) > 1:
        source, own = (statistics.fmean(side) for side in zip(*pairs.values(), strict=True))
        distance = statistics.fmean(abs(own - source) for source, own in pairs.values())
        rows.append(["mean, of differences without sign", *map(_four_digits, (source, own, distance))])
    columns = ["video", "source", "result", "difference"]
    return Table("identity-consistency", "Identity consistency of videos (Yao et al. 2022, Eq. 1)", columns, rows)


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


def _report(numbers: dict[str, dict[str, float]], record: dict[str, Any], output: str | None) -> None:
    """Print mean and standard deviation of each measure; write the numbers of every image to `output`, if any.

    Args:
        numbers: numbers by image and measure.
        record: all that the numbers depend on, as JSON.
        output: path of the JSON file, or None.
    """
    for name in next(iter(numbers.values())):
        values = [row[name] for row in numbers.values()]
        click.echo(f"{name:<22} {_mean(values)}   ({len(values)} in all)")
    if output is not None:
        write_text(output, json.dumps({**record, "values": numbers}, indent=2) + "\n")


def _mean(values: list[float]) -> str:
    """Return `mean ± standard deviation`; where some values are infinite, as of equal images, that of the others."""
    finite = [value for value in values if math.isfinite(value)]
    infinite = len(values) - len(finite)
    if not finite:
        return f"{statistics.fmean(values):g} for all"
    others = f", without {infinite} that are infinite" if infinite else ""
    return f"{statistics.fmean(finite):.4f} ± {statistics.pstdev(finite):.4f}{others}"
