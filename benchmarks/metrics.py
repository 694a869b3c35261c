"""Time a measurement, stage by stage and as a whole: reading, degrading, generating, features, statistics.

python -m benchmarks.metrics --data=afhqcat64-train.zip --network=pretrained/afhqcat64-qc.safetensors --images=2000
"""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import write_text
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from evaluation.choices import QUALITIES
from evaluation.evaluate import Result, Sources, evaluate
from evaluation.job import prepare_device, require_same_format
from evaluation.streams.fakes import FakeOptions, FakeSource, fake_stream
from evaluation.streams.reals import real_stream
from images.datasets.dataset import ImageDataset
from metrics.detector import Detector, load_detector
from metrics.feature_cache import FeatureCache
from metrics.features import extract, read_rows
from metrics.image_stream import ImageStream
from metrics.metric import FeatureSets, Request, known_metrics
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.distributed import World, best_device
from torch_utils.memory import keep_freed_memory
from training.config import DataConfig

HEADINGS = f"{'stage':<30}{'images':>9}{'seconds':>10}{'images/s':>11}{'of the sum':>12}"


@dataclass(frozen=True)
class Stage:
    """A part of the work: how many images went through it, and how long that took."""

    name: str
    images: int
    seconds: float


@click.command(context_settings=SETTINGS)
@click.option("--data", type=PATH, required=True, metavar="PATH", help="Folder or zip of the real images.")
@click.option(
    "--network", type=NetworkFile(), help="Network that generates images.  [default: sharp real images in their place]"
)
@click.option(
    "--images", type=click.IntRange(min=4), help="Number of real images, and of generated ones.  [default: all]"
)
@click.option("--detector", "name", default="cifar", help="Detector of the features; its metrics are timed.")
@click.option("--weights-dir", type=PATH, metavar="DIR", help="Directory of published weights.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=2, help="Number of processes that read; none in the stages."
)
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Number of images in a batch.")
@click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("-o", "--json", "json_path", type=PATH, metavar="FILE", help="JSON file for the numbers.")
@one_sentence_errors
def main(
    data: str,
    network: str | None,
    images: int | None,
    name: str,
    weights_dir: str | None,
    workers: int,
    batch: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print images a second of each stage alone, and of the whole with an empty and with a full cache."""
    world = World(0, 1, best_device(device))
    prepare_device(world.device)
    if world.device.type == "cpu":
        keep_freed_memory()
    detector = load_detector(name, WeightsDirectory.find(weights_dir), world.device)
    dataset = ImageDataset(data, subset=images, degradation=DataConfig().degradation)
    G = None
    if network is not None:
        G = load(network, world.device)
        require_same_format(network, G, data, dataset)
    settings = {
        "machine": describe(world.device),
        "date": time.strftime("%Y-%m-%d"),
        "data": dataset.name,
        "images": dataset.num_images,
        "resolution": dataset.resolution,
        "detector": name,
        "batch": batch,
        "workers": workers,
    }
    click.echo(", ".join(f"{what} {value}" for what, value in settings.items()))
    records = []
    for quality in QUALITIES if G is None or G.q_dim > 0 else QUALITIES[:1]:
        records.append(_measure(world, dataset, G, quality, detector, batch, workers))
        _print(quality, records[-1])
    if json_path:
        write_text(json_path, json.dumps({**settings, "records": records}, indent=2) + "\n")


def _measure(
    world: World,
    dataset: ImageDataset,
    G: Generator | None,
    quality: str,
    detector: Detector,
    batch: int,
    workers: int,
) -> dict[str, Any]:
    """Return seconds of the stages and of the whole, and the metrics' values of both."""
    requests = _requests(detector.name, dataset.num_images)
    names = {
        "reals": "reading" if quality == "sharp" else "reading and degrading",
        "fakes": "reading stand-ins" if G is None else "generating",
    }
    with TemporaryDirectory(prefix="benchmark-") as folder:
        alone = _streams(dataset, G, quality, batch, workers=0)
        stages, values = _alone(world, alone, names, requests, detector, Path(folder))
        fakes, reals = _streams(dataset, G, quality, batch, workers).values()
        cache = FeatureCache(Path(folder) / "cache")
        sources = Sources(lambda count: fakes, reals)
        whole_job = partial(evaluate, world, requests, sources, {detector.name: detector}, cache)
        empty_seconds, from_empty = _measure_time(whole_job)
        full_seconds, from_full = _measure_time(whole_job)
    whole = [
        Stage("evaluate(), empty cache", fakes.count + reals.count, empty_seconds),
        Stage("evaluate(), full cache", fakes.count, full_seconds),
    ]
    return {
        "quality": quality,
        "stages": [dataclasses.asdict(stage) for stage in stages],
        "whole": [dataclasses.asdict(stage) for stage in whole],
        "values": {"stages": values, "empty cache": _values(from_empty), "full cache": _values(from_full)},
    }


def _alone(
    world: World,
    streams: dict[str, ImageStream],
    names: dict[str, str],
    requests: list[Request],
    detector: Detector,
    folder: Path,
) -> tuple[list[Stage], dict[str, float]]:
    """Return the stages one after the other in this process, and the metrics' values.

    Each ends with its numbers in the host's memory, so that its time includes all work of a GPU.
    """
    assert detector.features is not None, f"the metrics of {detector.name} compare features"
    both = sum(stream.count for stream in streams.values())
    stages: list[Stage] = []
    rows: dict[str, np.ndarray] = {}
    total = 0.0
    for side, stream in streams.items():
        next(stream.batches(0, stream.num_batches))  # warms up
        seconds, batches = _measure_time(partial(_load_all, stream))
        stages.append(Stage(names[side], stream.count, seconds))
        detector.features(batches[0].to(world.device)).cpu()  # warms up
        path = folder / f"{side}.npy"
        seconds, rows[side] = _measure_time(partial(_features, world, _replay(stream, batches), detector, path))
        total += seconds
    stages.append(Stage("features", both, total))
    values: dict[str, float] = {}
    sets = FeatureSets(rows["fakes"], rows["reals"], seed=0, device=world.device)
    for request in requests:
        seconds, outcome = _measure_time(partial(request.metric.compute, sets))
        stages.append(Stage(request.name, both, seconds))
        values |= {request.name + suffix: value for suffix, value in outcome.values.items()}
    return stages, values


def _requests(name: str, count: int) -> list[Request]:
    """Return the metrics of a detector's features that compare with all real images."""
    metrics = known_metrics().values()
    chosen = [m for m in metrics if (m.detector, m.output, m.reals) == (name, "features", "all")]
    if not chosen:
        raise UserError(f"no metric compares features of --detector={name}; take cifar, inception or vgg16")
    return [Request(metric, count) for metric in chosen]


def _streams(
    dataset: ImageDataset, G: Generator | None, quality: str, batch: int, workers: int
) -> dict[str, ImageStream]:
    """Return generated images (sharp real ones without a network) and as many real ones of one quality."""
    if G is None:
        fakes = real_stream(dataset, "sharp", batch=batch, workers=workers)
    else:
        fakes = fake_stream(FakeSource(G, quality, FakeOptions(batch=batch)), dataset.num_images)
    return {"fakes": fakes, "reals": real_stream(dataset, quality, batch=batch, workers=workers)}


def _load_all(stream: ImageStream) -> list[Tensor]:
    """Return all batches of a stream, on the CPU."""
    return [images.cpu() for images in stream.batches(0, 1)]


def _replay(stream: ImageStream, batches: list[Tensor]) -> ImageStream:
    """Return the stream with its batches from memory."""
    return dataclasses.replace(stream, batches=lambda first, step: iter(batches[first::step]))


def _features(world: World, stream: ImageStream, detector: Detector, path: Path) -> np.ndarray:
    """Return features `[N, D]` on disk."""
    assert detector.features is not None, f"the metrics of {detector.name} compare features"
    extract(world, stream, {"features": detector.features}, {"features": path})
    return read_rows(path)


def _values(results: list[Result]) -> dict[str, float]:
    return {name: value for result in results for name, value in result.values.items()}


def _measure_time(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    with torch.no_grad():
        result = function()
    return time.perf_counter() - start, result


def _print(quality: str, record: dict[str, Any]) -> None:
    total = sum(stage["seconds"] for stage in record["stages"])
    click.echo(f"\n{quality}\n{HEADINGS}")
    for stage in record["stages"] + record["whole"]:
        seconds, images = stage["seconds"], stage["images"]
        click.echo(f"{stage['name']:<30}{images:>9}{seconds:>10.2f}{images / seconds:>11.0f}{seconds / total:>12.1%}")


if __name__ == "__main__":
    main()
