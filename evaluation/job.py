"""Measurements of a network or a folder of images, against data, by metrics, for each quality."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from dnnlib.errors import UserError, counted
from dnnlib.files import sha256
from evaluation.evaluate import Result, Sources, evaluate, fit_to
from evaluation.streams.fakes import FakeOptions, FakeSource, fake_stream, scaled_side
from evaluation.streams.latent_paths import path_stream
from evaluation.streams.reals import real_stream
from generation.framing import MAX_DEGRADED_PIXELS, MAX_PIXELS
from generation.quality_codes import MAX_SEED
from generation.sampling import check_class
from images.datasets.dataset import ImageDataset, dataset_cures
from metrics.detector import Detector, load_detector
from metrics.feature_cache import FeatureCache
from metrics.image_stream import ImageStream
from metrics.metric import Request, detectors_of
from metrics.weights.directory import WeightsDirectory
from networks.config import Dtype
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World
from training.config import DataConfig


@dataclass(frozen=True)
class Job:
    """A measurement.

    Attributes:
        requests: metrics and numbers of images.
        qualities: qualities of the generated images, some of `sharp` and `degraded`.
        network: file of the network whose images are measured; None: those of `images` are.
        images: folder or zip of the images that are measured; None: those of `network` are.
        data: folder or zip of the real images; None where no metric needs them.
        degradation: recipe for the real images of quality degraded; None: that of the network's training.
        options: how images are generated.
        precision: precision of the network, as `networks.files.load` takes it.
        weights: directory of the detectors' weights.
        cache_dir: folder of the cache of the real images' features.
        workers: number of processes that read real images.
        seed: seed of degradations and subsets.
        real_quality: quality of the real images; None: that of the generated ones.
        on_bad_image: what happens to real images that cannot be read: `fail` or `skip`.
    """

    requests: tuple[Request, ...]
    qualities: tuple[str, ...] = ("sharp",)
    network: str | None = None
    images: str | None = None
    data: str | None = None
    degradation: str | None = None
    options: FakeOptions = field(default_factory=FakeOptions)
    precision: Dtype | Literal["stored"] = "stored"
    weights: WeightsDirectory = field(default_factory=lambda: WeightsDirectory(None))
    cache_dir: Path = Path()
    workers: int = 0
    seed: int = 0
    real_quality: str | None = None
    on_bad_image: str = "fail"

    def quality_of_reals(self, quality: str) -> str:
        """Return the quality of the real images that generated ones of `quality` are compared with."""
        return self.real_quality or quality


def measure(world: World, job: Job) -> list[Result]:
    """Return the results of a job, for each quality and request, in the first process; [] in the others.

    Raises UserError for anything that does not fit together, before any image is generated.
    """
    prepare_device(world.device)
    detectors = load_detectors(world, job.requests, job.weights)
    if job.network is not None:
        return _measure_network(world, job, job.network, detectors)
    assert job.images is not None, "a job measures a network or images"
    return _measure_images(world, job, job.images, detectors)


def _measure_network(world: World, job: Job, network: str, detectors: dict[str, Detector]) -> list[Result]:
    """Return the results for the images of a network."""
    header = read_header(network)
    G = load(network, world.device, job.precision)
    check_qualities(G, job.qualities, network)
    check_seeds(job)
    check_scale(G, job)
    if job.options.class_index is not None:
        check_class(G, job.options.class_index)
    draws_labels = G.c_dim > 0 and job.options.class_index is None
    reals = open_reals(job, job.degradation or header.get("degradation"), draws_labels)
    if reals is not None:
        require_same_format(network, G, job.data, reals, scaled_side(G, job.options.scale))
        if draws_labels and reals.label_dim != G.c_dim:
            raise UserError(
                f"{network} has {G.c_dim} classes, {job.data} has {reals.label_dim}; choose other data, or one "
                "class with --class"
            )
    labels = reals if draws_labels else None

    def sources_of(quality: str, compared: ImageStream | None) -> Sources:
        return network_sources(FakeSource(G, quality, job.options, labels, Path(network).stem), compared)

    results = _evaluate_qualities(world, job, job.requests, sources_of, reals, detectors)
    facts = {"file": network, "sha256": sha256(network), "kimg": header.get("kimg")}
    return [dataclasses.replace(result, record={**result.record, "network": facts}) for result in results]


def _measure_images(world: World, job: Job, images: str, detectors: dict[str, Detector]) -> list[Result]:
    """Return the results for a folder or zip of images in place of a network's."""
    for request in job.requests:
        if request.metric.path is not None:
            raise UserError(f"{request.name} is measured along a network's latents; give --network=FILE")
    form = "give a folder of nothing but the images to measure, squares of one size"
    cures = dataclasses.replace(dataset_cures(images, job.on_bad_image), form=form, mode="save it as 8-bit gray or RGB")
    fakes = ImageDataset(images, on_bad_image=job.on_bad_image, cures=cures)
    stream = real_stream(fakes, "sharp", batch=job.options.batch, workers=job.workers)
    reals = open_reals(job, job.degradation)
    if reals is not None:
        require_same_format(images, fakes, job.data, reals)
    requests = fit_to(job.requests, fakes.num_images)

    def sources_of(quality: str, compared: ImageStream | None) -> Sources:
        return Sources(lambda count: dataclasses.replace(stream, count=count), compared)

    return _evaluate_qualities(world, job, requests, sources_of, reals, detectors)


def _evaluate_qualities(
    world: World,
    job: Job,
    requests: Sequence[Request],
    sources_of: Callable[[str, ImageStream | None], Sources],
    reals: ImageDataset | None,
    detectors: dict[str, Detector],
) -> list[Result]:
    """Return the results of all requests for each quality of a job, which is part of their records.

    Args:
        world: the processes that share the work; all of them call.
        job: the measurement.
        requests: metrics and numbers of images.
        sources_of: function of a quality, and of the real images to compare with, to the images.
        reals: the real images, or None.
        detectors: the detectors that the requests need, by name.
    """
    cache = FeatureCache(job.cache_dir)
    results = []
    for quality in job.qualities:
        compared = None
        if reals is not None:
            compared = real_stream(reals, job.quality_of_reals(quality), job.seed, job.options.batch, job.workers)
        for result in evaluate(world, requests, sources_of(quality, compared), detectors, cache, job.seed):
            results.append(dataclasses.replace(result, record={"quality": quality, **result.record}))
    return results


def network_sources(source: FakeSource, reals: ImageStream | None) -> Sources:
    """Return a network's images of one quality, with the real ones to compare them with."""
    return Sources(
        fakes=lambda count: fake_stream(source, count),
        reals=reals,
        paths=lambda count, path: path_stream(source, count, path),
    )


def load_detectors(world: World, requests: Sequence[Request], weights: WeightsDirectory) -> dict[str, Detector]:
    """Return the detectors that the requests need, by name."""
    detectors = {name: load_detector(name, weights, world.device) for name in detectors_of(requests)}
    for request in requests:
        if getattr(detectors[request.metric.detector], request.metric.output) is None:
            raise UserError(
                f"{request.name} needs {request.metric.output}, which these weights of {request.metric.detector} do "
                "not give; `python calc_metrics.py weights` shows what is missing"
            )
    return detectors


def open_reals(job: Job, recipe: str | None, with_labels: bool = False) -> ImageDataset | None:
    """Return the real images, or None where there are none and no metric needs them.

    Args:
        job: the measurement.
        recipe: recipe of their degraded versions; None: the default of training.
        with_labels: whether their labels are read, for a conditional network whose classes are drawn from them.

    Raises UserError where a metric needs real images and the job has none.
    """
    if job.data is None:
        for request in job.requests:
            if request.metric.reals != "none":
                raise UserError(f"{request.name} compares with real images; give them with --data=FOLDER_OR_ZIP")
        return None
    degrades = "degraded" in [job.quality_of_reals(quality) for quality in job.qualities]
    recipe = (recipe or DataConfig().degradation) if degrades else None
    cures = dataset_cures(job.data, job.on_bad_image)
    cures = dataclasses.replace(cures, labels="draw the images of one class with --class=N, or give data with labels")
    return ImageDataset(
        job.data, degradation=recipe, use_labels=with_labels, on_bad_image=job.on_bad_image, cures=cures
    )


def require_same_format(
    what: str, images: Generator | ImageDataset, data: str | None, reals: ImageDataset, side: int | None = None
) -> None:
    """Raise UserError when generated and real images differ in size or channels.

    Args:
        what: name of the network or of the images, for the message.
        images: the network, or images in place of its own.
        data: name of the real images, for the message.
        reals: the real images.
        side: side of the network's images in pixels; None: as trained.
    """
    if isinstance(images, Generator):
        side, channels = side or images.img_resolution, images.img_channels
    else:
        side, channels = images.resolution, images.channels
    if (side, channels) != (reals.resolution, reals.channels):
        raise UserError(
            f"{what} has images of {side}x{side} with {counted(channels, 'channel')}, {data} has {reals.resolution}x"
            f"{reals.resolution} with {reals.channels}; "
            f"run `python dataset_tool.py --input={data} --output=... --resolution={side}` or choose other data"
        )


def check_seeds(job: Job) -> None:
    """Raise UserError when the last image's seed would exceed the largest seed."""
    first, count = job.options.first_seed, max(request.count for request in job.requests)
    if first + count - 1 > MAX_SEED:
        raise UserError(
            f"--first-seed={first} leaves no seeds up to {MAX_SEED} for {counted(count, 'image')}; begin lower"
        )


def check_scale(G: Generator, job: Job) -> None:
    """Raise UserError for a size that no image has, and for one where a metric follows the latents at the trained."""
    scale, degrades = job.options.scale, "degraded" in job.qualities
    side = scaled_side(G, scale)
    limit = math.isqrt(MAX_DEGRADED_PIXELS if degrades else MAX_PIXELS)
    if not 1 <= side <= limit:
        raise UserError(f"--scale={scale} makes {side}x{side} pixels, must be at least 1 and at most {limit} a side")
    for request in job.requests:
        if request.metric.path is not None and scale != 1:
            raise UserError(f"{request.name} is measured at the trained size; leave out --scale={scale}")


def check_qualities(G: Generator, qualities: Sequence[str], network: str) -> None:
    """Raise UserError when a plain network is asked for degraded images."""
    if "degraded" in qualities and G.q_dim == 0:
        raise UserError(f"--quality=degraded needs a QC network, and {network} is plain; use --quality=sharp")


def prepare_device(device: torch.device) -> None:
    """Compute in full float32 on GPUs, as the reference numbers were."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
