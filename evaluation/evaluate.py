"""Compute metrics of generated images against real ones; each image is generated, and each real one read, only once."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metrics.detector import Detector
from metrics.feature_cache import FeatureCache, cached_rows
from metrics.features import Extractor, extract, read_rows
from metrics.image_stream import ImageStream
from metrics.metric import FeatureSets, LatentPath, Outcome, Request, check_counts
from torch_utils.distributed import World


@dataclass(frozen=True)
class Sources:
    """The images of one quality.

    Attributes:
        fakes: function of a count to the stream of the first so many generated images.
        reals: stream of real images of that quality, or None.
        paths: function of a count and a path to the stream of so many pairs along it; None where no network generates
            the images.
    """

    fakes: Callable[[int], ImageStream]
    reals: ImageStream | None = None
    paths: Callable[[int, LatentPath], ImageStream] | None = None


@dataclass(frozen=True)
class Result:
    """The result of a metric.

    Attributes:
        name: name of the request, such as `fid50k_full`.
        values: numbers by name.
        record: the numbers and all that they depend on, as JSON.
    """

    name: str
    values: dict[str, float]
    record: dict[str, Any]


def evaluate(
    world: World,
    requests: Sequence[Request],
    sources: Sources,
    detectors: dict[str, Detector],
    cache: FeatureCache,
    seed: int = 0,
) -> list[Result]:
    """Return the results of all requests, in the first process; the others get an empty list.

    Args:
        world: the processes that share the work; all of them call.
        requests: metrics and numbers of images.
        sources: streams of generated and real images.
        detectors: the detectors that the requests need, by name.
        cache: cache of the real images' features.
        seed: seed of random subsets.

    Raises UserError for sets that are too small, before any image is made.
    """
    for request in requests:
        reals = sources.reals if _needs_reals(request) else None
        assert reals is not None or not _needs_reals(request), f"{request.name} needs real images"
        check_counts(request, request.count, None if reals is None else reals.count)
    of_images = [request for request in requests if request.metric.path is None]
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="features-") as folder:
        if of_images:
            results |= _evaluate_images(world, of_images, sources, detectors, cache, seed, Path(folder))
        for path in dict.fromkeys(request.metric.path for request in requests if request.metric.path is not None):
            of_path = [request for request in requests if request.metric.path == path]
            results |= _evaluate_path(world, of_path, path, sources, detectors, seed, Path(folder))
    return [results[request.name] for request in requests] if world.is_first else []


def _evaluate_images(
    world: World,
    requests: Sequence[Request],
    sources: Sources,
    detectors: dict[str, Detector],
    cache: FeatureCache,
    seed: int,
    folder: Path,
) -> dict[str, Result]:
    """Return results by name for metrics of sets of images, in the first process; the others get none."""
    started = time.perf_counter()
    stream = sources.fakes(max(request.count for request in requests))
    extractors = {_extractor_name(request): _extractor(request, detectors) for request in requests}
    paths = {name: folder / f"{name}.npy" for name in extractors}
    extract(world, stream, extractors, paths)
    reals = _rows_of_reals(world, requests, sources, detectors, cache)
    if not world.is_first:
        return {}
    fakes = {name: read_rows(path) for name, path in paths.items()}
    results = {}
    for request in requests:
        name = _extractor_name(request)
        sets = FeatureSets(fakes[name][: request.count], _select_reals(request, reals.get(name)), seed, world.device)
        outcome = request.metric.compute(sets)
        record: dict[str, Any] = {"num_reals": 0 if sets.reals is None else len(sets.reals), "subset_seed": seed}
        if sets.reals is not None and sources.reals is not None:
            record["reals"] = sources.reals.identity()
        results[request.name] = _result(request, outcome, stream, detectors, started, record)
    return results


def _rows_of_reals(
    world: World,
    requests: Sequence[Request],
    sources: Sources,
    detectors: dict[str, Detector],
    cache: FeatureCache,
) -> dict[str, np.ndarray]:
    """Return the real images' rows by the extractor's name, in the first process; the others get none."""
    reals = sources.reals
    extractors = {_extractor_name(r): _extractor(r, detectors) for r in requests if _needs_reals(r)}
    if reals is None or not extractors:
        return {}
    keys = {name: _cache_key(name, detectors, reals) for name in extractors} if world.is_first else {}
    return cached_rows(world, cache, reals, extractors, keys) or {}


def _evaluate_path(
    world: World,
    requests: Sequence[Request],
    path: LatentPath,
    sources: Sources,
    detectors: dict[str, Detector],
    seed: int,
    folder: Path,
) -> dict[str, Result]:
    """Return results by name for path lengths (PPL), in the first process; the others get none."""
    assert sources.paths is not None, "path lengths need a network"
    started = time.perf_counter()
    stream = sources.paths(max(request.count for request in requests), path)
    names = [request.metric.detector for request in requests]
    extractors = {name: _distance_extractor(detectors[name], path) for name in names}
    files = {name: folder / f"path {name}.npy" for name in extractors}
    extract(world, stream, extractors, files)
    if not world.is_first:
        return {}
    results = {}
    for request in requests:
        rows = read_rows(files[request.metric.detector])[: request.count]  # [count, 1]
        outcome = request.metric.compute(FeatureSets(rows, None, seed, world.device))
        results[request.name] = _result(request, outcome, stream, detectors, started, {})
    return results


def _result(
    request: Request,
    outcome: Outcome,
    stream: ImageStream,
    detectors: dict[str, Detector],
    started: float,
    more: dict[str, Any],
) -> Result:
    detector = detectors[request.metric.detector]
    values = {request.name + suffix: value for suffix, value in outcome.values.items()}
    record = {
        "metric": request.name,
        "values": values,
        "notes": list(outcome.notes),
        "num_fakes": request.count,
        "fakes": stream.identity(),
        "detector": detector.record(),
        **more,
        "seconds": round(time.perf_counter() - started, 3),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return Result(request.name, values, record)


def _needs_reals(request: Request) -> bool:
    return request.metric.reals != "none"


def _extractor_name(request: Request) -> str:
    return f"{request.metric.detector} {request.metric.output}"


def _extractor(request: Request, detectors: dict[str, Detector]) -> Extractor:
    return getattr(detectors[request.metric.detector], request.metric.output)


def _distance_extractor(detector: Detector, path: LatentPath) -> Extractor:
    """Return the function from pairs `[N, 2 C, H, W]` to distances over squared steps `[N, 1]`."""
    distances = detector.distances
    assert distances is not None, f"{detector.name} has no distances"
    return lambda pairs: distances(*pairs.chunk(2, dim=1))[:, None] / path.epsilon**2


def _cache_key(extractor_name: str, detectors: dict[str, Detector], stream: ImageStream) -> dict[str, Any]:
    """Return all that the features of real images depend on."""
    detector = detectors[extractor_name.split()[0]]
    return {"look": extractor_name, "sha256": detector.sha256, "resize": detector.resize, **stream.identity()}


def _select_reals(request: Request, rows: np.ndarray | None) -> np.ndarray | None:
    """Return the rows of the real images that a metric compares with; None where it needs none."""
    if rows is None or not _needs_reals(request):
        return None
    return rows[: request.count] if request.metric.reals == "many" else rows


def fit_to(requests: Sequence[Request], available: int) -> list[Request]:
    """Return the requests for no more images than are available; those that become equal appear once."""
    return list(dict.fromkeys(replace(request, count=min(request.count, available)) for request in requests))
