"""Metrics during training, computed at each snapshot: `train.py --metrics`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import UserError
from evaluation.evaluate import Result, evaluate
from evaluation.job import load_detectors, network_sources
from evaluation.results import append_records, result_line
from evaluation.streams.fakes import FakeSource
from evaluation.streams.reals import real_stream
from metrics.feature_cache import FeatureCache
from metrics.metric import Request, check_counts, parse_requests
from metrics.weights.directory import WeightsDirectory
from networks.generators.interface import Generator
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.distributed import World
from torch_utils.precision import full_float32
from training import records
from training.config import TrainConfig
from training.loop import SnapshotReport, open_dataset
from training.run_directory import RunDirectory


@dataclass(frozen=True)
class SnapshotMetrics:
    """A hook that measures each snapshot, writes `metric-<name>.jsonl`, and keeps the best network.

    Attributes:
        config: configuration of the run, whose images are the real ones, without mirrored copies.
        outdir: folder of the run.
        requests: metrics and numbers of images.
        best: name of the metric, and quality, that decide which network is the best.
        weights: directory of the detectors' weights.
        cache_dir: folder of the cache of the real images' features.
    """

    config: TrainConfig
    outdir: str
    requests: tuple[Request, ...]
    best: tuple[str, str]
    weights: WeightsDirectory
    cache_dir: Path

    @property
    def qualities(self) -> tuple[str, ...]:
        """The qualities that are measured."""
        return ("sharp", "degraded") if self.config.mode == "qc" else ("sharp",)

    def __call__(self, world: World, path: Path, G_ema: Generator, images_seen: int) -> SnapshotReport:
        """Measure a snapshot; every process calls. Training goes on in the precision that it had before."""
        with full_float32():
            results = self._measure(world, path, G_ema, images_seen)
        if not world.is_first:
            return SnapshotReport([], {})
        lines = [line for result in results.values() for line in result_line(result).splitlines()]
        lines += self._keep_best(path, results[self.best])
        self._record(list(results.values()), images_seen)
        scalars = {f"Metrics/{name}/{q}": v for (_, q), r in results.items() for name, v in r.values.items()}
        return SnapshotReport(lines, scalars)

    def _measure(self, world: World, path: Path, G_ema: Generator, images_seen: int) -> dict[tuple[str, str], Result]:
        """Return the results by metric and quality."""
        detectors = load_detectors(world, self.requests, self.weights)
        cache, reals = FeatureCache(self.cache_dir), open_dataset(self.config)
        results: dict[tuple[str, str], Result] = {}
        for quality in self.qualities:
            real_quality = "degraded" if self.config.data.reals == "degraded" else quality
            compared = real_stream(reals, real_quality, self.config.seed, workers=self.config.run.workers)
            labels = reals if G_ema.c_dim > 0 else None
            sources = network_sources(FakeSource(G_ema, quality, labels=labels, name=path.stem), compared)
            for result in evaluate(world, self.requests, sources, detectors, cache, self.config.seed):
                result.record.update(images_seen=images_seen, quality=quality, network=path.name)
                results[result.name, quality] = result
        return results

    def check(self) -> None:
        """Raise UserError, before training begins, for too few images and missing weights."""
        reals = open_dataset(self.config)
        for request in self.requests:
            check_counts(request, request.count, None if request.metric.reals == "none" else reals.num_images)
        load_detectors(World(0, 1, torch.device("cpu")), self.requests, self.weights)

    def _record(self, results: list[Result], images_seen: int) -> None:
        """Append the results to their files, instead of what a measurement that was killed has left there."""
        for request in self.requests:
            records.forget_moment(Path(self.outdir) / f"metric-{request.name}.jsonl", images_seen)
        append_records(self.outdir, results)

    def _keep_best(self, path: Path, result: Result) -> list[str]:
        """Store a network as the best one where it is better than that before; return lines for the log.

        The header of the stored network holds the number that decided.
        """
        name, quality = self.best
        value = next(iter(result.values.values()))
        best_path = RunDirectory(self.outdir).best_path
        previous = _stored_best(best_path)
        sign = -1 if next(r for r in self.requests if r.name == name).metric.larger_is_better else 1
        same_measure = (previous.get("metric"), previous.get("quality")) == self.best
        is_better = not same_measure or sign * value < sign * previous["value"]
        if not (is_better and math.isfinite(value)):
            return []
        best = {"metric": name, "quality": quality, "value": value}
        save_tensors(best_path, load_tensors(path), {**read_header(path), "best": best})
        return [f"{best_path.name} is now {path.name}: {name} {quality} {value:.5g}"]


def _stored_best(path: Path) -> dict[str, Any]:
    """Return the metric, quality and value of the stored best network; {} where there is none, or a damaged one."""
    if not path.exists():
        return {}
    try:
        return read_header(path).get("best", {})
    except UserError:
        return {}


def snapshot_metrics(
    config: TrainConfig, outdir: str, names: str, best: str | None, weights_dir: str | None, cache_dir: Path
) -> SnapshotMetrics:
    """Return the hook of `train.py --metrics=NAMES --best=NAME/QUALITY`.

    Args:
        config: configuration of the run.
        outdir: folder of the run.
        names: names of the metrics, separated by commas.
        best: metric and quality that decide which network is the best; None: the first metric, sharp.
        weights_dir: directory of the detectors' weights; None: the default.
        cache_dir: folder of the cache of the real images' features.

    Raises UserError for unknown names, for missing weights, and for too few images.
    """
    requests = tuple(parse_requests(names))
    known = [request.name for request in requests]
    name, _, quality = (best or f"{known[0]}/sharp").partition("/")
    name = ",".join(request.name for request in parse_requests(name))
    hook = SnapshotMetrics(
        config, outdir, requests, (name, quality or "sharp"), WeightsDirectory.find(weights_dir), cache_dir
    )
    if name not in known or hook.best[1] not in hook.qualities:
        choices = ", ".join(f"{n}/{q}" for n in known for q in hook.qualities)
        raise UserError(f"--best={best} is not among what is measured; choose one of {choices}")
    hook.check()
    return hook
