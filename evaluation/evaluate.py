"""Metrics of one source of images against one set of real ones: each image is made, and each real one read, once."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metrics.detector import Detector
from metrics.feature_cache import FeatureCache, cached_rows
from metrics.features import Look, extract, read_rows
from metrics.image_stream import ImageStream
from metrics.metric import Outcome, Request, Rows, check_counts
from metrics.metric import Path as LatentPath
from torch_utils.distributed import World


@dataclass(frozen=True)
class Sources:
    """Where images come from, for one quality.

    Attributes:
        fakes: the stream of the first so many generated images.
        reals: of real images of that quality, or None.
        paths: the stream of so many pairs along a path, or None where the fakes are no network's.
    """

    fakes: Callable[[int], ImageStream]
    reals: ImageStream | None = None
    paths: Callable[[int, LatentPath], ImageStream] | None = None


@dataclass(frozen=True)
class Result:
    """A metric's numbers, by name, and all that they depend on; `record` is JSON."""

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
        requests: what to measure.
        sources: of images.
        detectors: by name, each that a request needs.
        cache: of the real images' features.
        seed: of random subsets.

    Raises UserError for sets that are too small, before any image is made.
    """
    for request in requests:
        needs_reals = request.metric.reals != "none"
        assert not needs_reals or sources.reals is not None, f"{request.name} needs real images"
        check_counts(request, request.count, sources.reals.count if needs_reals else None)
    images = [request for request in requests if request.metric.path is None]
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="features-") as folder:
        if images:
            results |= _of_images(world, images, sources, detectors, cache, seed, Path(folder))
        for path in dict.fromkeys(request.metric.path for request in requests if request.metric.path is not None):
            along = [request for request in requests if request.metric.path == path]
            results |= _of_path(world, along, path, sources, detectors, seed, Path(folder))
    return [results[request.name] for request in requests] if world.is_first else []


def _of_images(world, requests, sources, detectors, cache, seed, folder):
    """Return results by name for metrics of sets of images."""
    started = time.perf_counter()
    stream = sources.fakes(max(request.count for request in requests))
    looks = {_look_name(request): _look(request, detectors) for request in requests}
    paths = {name: folder / f"{name}.npy" for name in looks}
    extract(world, stream, looks, paths)
    reals = {}
    comparing = [request for request in requests if request.metric.reals != "none"]
    compared = {_look_name(request): _look(request, detectors) for request in comparing}
    if compared:
        keys = {name: _key(name, detectors, sources.reals) for name in compared} if world.is_first else {}
        reals = cached_rows(world, cache, sources.reals, compared, keys) or {}
    if not world.is_first:
        return {}
    fakes = {name: read_rows(path) for name, path in paths.items()}
    results = {}
    for request in requests:
        name = _look_name(request)
        rows = Rows(fakes[name][: request.count], _real_rows(request, reals.get(name)), seed, world.device)
        outcome = request.metric.compute(rows)
        record = {"num_reals": 0 if rows.reals is None else len(rows.reals), "subset_seed": seed}
        if rows.reals is not None:
            record["reals"] = sources.reals.identity()
        results[request.name] = _result(request, outcome, stream, detectors, started, record)
    return results


def _of_path(world, requests, path, sources, detectors, seed, folder):
    """Return results by name for path lengths."""
    assert sources.paths is not None, "path lengths need a network"
    started = time.perf_counter()
    stream = sources.paths(max(request.count for request in requests), path)
    looks = {request.metric.detector: _pair_look(detectors[request.metric.detector], path) for request in requests}
    files = {name: folder / f"path {name}.npy" for name in looks}
    extract(world, stream, looks, files)
    if not world.is_first:
        return {}
    results = {}
    for request in requests:
        rows = Rows(read_rows(files[request.metric.detector])[: request.count], None, seed, world.device)
        results[request.name] = _result(request, request.metric.compute(rows), stream, detectors, started, {})
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


def _look_name(request):
    return f"{request.metric.detector} {request.metric.output}"


def _look(request: Request, detectors: dict[str, Detector]) -> Look:
    return getattr(detectors[request.metric.detector], request.metric.output)


def _pair_look(detector: Detector, path: LatentPath) -> Look:
    return lambda pairs: detector.distances(*pairs.chunk(2, dim=1))[:, None] / path.epsilon**2


def _key(look_name: str, detectors: dict[str, Detector], stream: ImageStream) -> dict[str, Any]:
    """Return all that the features of real images depend on."""
    detector = detectors[look_name.split()[0]]
    return {"look": look_name, "sha256": detector.sha256, "resize": detector.resize, **stream.identity()}


def _real_rows(request: Request, rows: np.ndarray | None) -> np.ndarray | None:
    if request.metric.reals == "none":
        return None
    return rows[: request.count] if request.metric.reals == "many" else rows


def fit_to(requests: Sequence[Request], available: int) -> list[Request]:
    """Return the requests for no more images than there are; those that become the same appear once."""
    return list(dict.fromkeys(replace(request, count=min(request.count, available)) for request in requests))
