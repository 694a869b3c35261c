"""What is measured: a network or a folder of images, against which data, by which metrics."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dnnlib.errors import UserError
from dnnlib.files import sha256
from evaluation.evaluate import Result, Sources, evaluate, fit_to
from evaluation.streams.fakes import FakeOptions, fake_stream
from evaluation.streams.latent_paths import path_stream
from evaluation.streams.reals import real_stream
from generation.quality_codes import MAX_SEED
from generation.sampling import check_class
from images.datasets.dataset import ImageDataset
from metrics.detector import Detector, load_detector
from metrics.feature_cache import FeatureCache
from metrics.image_stream import ImageStream
from metrics.metric import Request, detectors_of
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World
from training.config import DataConfig

QUALITIES = ("sharp", "degraded")


@dataclass(frozen=True)
class Job:
    """A measurement.

    Attributes:
        requests: metrics.
        qualities: of `sharp` and `degraded`.
        network: file whose images are measured; None: those of `images`.
        images: folder or zip whose images are measured; None: those of `network`.
        data: folder or zip of the real images; None where no metric needs them.
        degradation: recipe for the real images of quality degraded; None: what the network was trained on.
        options: how images are generated.
        precision: of the network, as `networks.files.load` takes it.
        weights: of the detectors.
        cache_dir: of the real images' features.
        workers: processes that read real images.
        seed: of degradations and subsets.
        real_quality: of the real images; None: that of the generated ones.
        on_bad_image: `fail` or `skip`.
    """

    requests: tuple[Request, ...]
    qualities: tuple[str, ...] = ("sharp",)
    network: str | None = None
    images: str | None = None
    data: str | None = None
    degradation: str | None = None
    options: FakeOptions = field(default_factory=FakeOptions)
    precision: str = "stored"
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

    Raises UserError for whatever does not fit together, before any image is made.
    """
    prepare_device(world.device)
    detectors = load_detectors(world, job.requests, job.weights)
    cache = FeatureCache(job.cache_dir)
    if job.network is None:
        return _measure_images(world, job, detectors, cache)
    header = read_header(job.network)
    G = load(job.network, world.device, job.precision)
    check_qualities(G, job.qualities, job.network)
    check_seeds(job)
    if job.options.class_index is not None:
        check_class(G, job.options.class_index)
    draws_labels = G.c_dim > 0 and job.options.class_index is None
    reals = open_reals(job, job.degradation or header.get("degradation"), draws_labels)
    if reals is not None:
        require_same_format(job.network, G, job.data, reals)
        if draws_labels and reals.label_dim != G.c_dim:
            raise UserError(
                f"{job.network} has {G.c_dim} classes, {job.data} has {reals.label_dim}; choose other data, or one "
                "class with --class"
            )
    results = []
    for quality in job.qualities:
        compared = None
        if reals is not None:
            compared = real_stream(reals, job.quality_of_reals(quality), job.seed, job.options.batch, job.workers)
        labels = reals if draws_labels else None
        sources = network_sources(G, quality, job.options, compared, labels, Path(job.network).stem)
        results += _named(evaluate(world, job.requests, sources, detectors, cache, job.seed), quality)
    return _with(results, network={"file": job.network, "sha256": sha256(job.network), "kimg": header.get("kimg")})


def network_sources(
    G: Generator,
    quality: str,
    options: FakeOptions,
    reals: ImageStream | None,
    labels: ImageDataset | None,
    name: str,
) -> Sources:
    """Return a network's images of one quality, with the real ones to compare them with."""
    return Sources(
        fakes=lambda count: fake_stream(G, count, quality, options, labels, name),
        reals=reals,
        paths=lambda count, path: path_stream(G, count, quality, path, options, labels, name),
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
    """Return the real images, or None where there are none and no metric looks at them.

    Args:
        job: names them.
        recipe: of their degraded versions; None: the one that networks are trained on by default.
        with_labels: for a conditional network, whose classes are drawn from them.
    """
    if job.data is None:
        for request in job.requests:
            if request.metric.reals != "none":
                raise UserError(f"{request.name} compares with real images; give them with --data=FOLDER_OR_ZIP")
        return None
    degrades = "degraded" in [job.quality_of_reals(quality) for quality in job.qualities]
    recipe = (recipe or DataConfig().degradation) if degrades else None
    return ImageDataset(job.data, degradation=recipe, use_labels=with_labels, on_bad_image=job.on_bad_image)


def require_same_format(what: str, images: Generator | ImageDataset, data: str, reals: ImageDataset) -> None:
    """Raise UserError when generated and real images differ in size or channels."""
    is_network = isinstance(images, Generator)
    side = images.img_resolution if is_network else images.resolution
    channels = images.img_channels if is_network else images.channels
    if (side, channels) != (reals.resolution, reals.channels):
        raise UserError(
            f"{what} has images of {side}x{side} with {channels} channels, {data} has {reals.resolution}x"
            f"{reals.resolution} with {reals.channels}; "
            f"run `python dataset_tool.py --source={data} --dest=... --resolution={side}` or choose other data"
        )


def check_seeds(job: Job) -> None:
    """Raise UserError when the last image would have a seed that there isn't."""
    first, count = job.options.first_seed, max(request.count for request in job.requests)
    if first + count - 1 > MAX_SEED:
        raise UserError(f"--first-seed={first} leaves no seeds up to {MAX_SEED} for {count} images; begin lower")


def check_qualities(G: Generator, qualities: Sequence[str], network: str) -> None:
    """Raise UserError when a plain network is asked for degraded images."""
    if "degraded" in qualities and G.q_dim == 0:
        raise UserError(f"--quality=degraded needs a QC network, and {network} is plain; use --quality=sharp")


def prepare_device(device: torch.device) -> None:
    """Compute in full float32 on GPUs, as the reference numbers were."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _measure_images(world, job, detectors, cache):
    """Return the results for a folder of images in place of a network's."""
    for request in job.requests:
        if request.metric.path is not None:
            raise UserError(f"{request.name} is measured along a network's latents; give --network=FILE")
    fakes = ImageDataset(job.images, on_bad_image=job.on_bad_image)
    stream = real_stream(fakes, "sharp", batch=job.options.batch, workers=job.workers)
    reals = open_reals(job, job.degradation)
    if reals is not None:
        require_same_format(job.images, fakes, job.data, reals)
    requests = fit_to(job.requests, fakes.num_images)
    results = []
    for quality in job.qualities:
        compared = None
        if reals is not None:
            compared = real_stream(reals, job.quality_of_reals(quality), job.seed, job.options.batch, job.workers)
        sources = Sources(lambda count: dataclasses.replace(stream, count=count), compared)
        results += _named(evaluate(world, requests, sources, detectors, cache, job.seed), quality)
    return results


def _named(results, quality):
    return [dataclasses.replace(r, record={"quality": quality, **r.record}) for r in results]


def _with(results, **more):
    return [dataclasses.replace(r, record={**r.record, **more}) for r in results]
