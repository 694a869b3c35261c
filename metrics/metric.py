"""The interface of metrics (fid, kid, pr, is, ppl), and the names that people type, such as `fid50k_full`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dnnlib.errors import UserError, unknown_name
from dnnlib.registry import Registry

METRICS = Registry("metrics.families", "metric family")
FIELD_COUNT = 50_000  # usual number of generated images, and the default
LARGEST_COUNT = 100_000_000  # images; their seeds are numbers of 32 bits


@dataclass(frozen=True)
class FeatureSets:
    """A detector's output for generated and for real images.

    Attributes:
        fakes: rows of the generated images, float32 `[N, D]`, in memory or on disk.
        reals: rows of the real images, float32 `[M, D]`; None where the metric needs none.
        seed: seed of random subsets.
        device: device of large products.
    """

    fakes: np.ndarray
    reals: np.ndarray | None
    seed: int
    device: torch.device

    def require_reals(self) -> np.ndarray:
        """Return the rows of the real images, for a metric that needs them."""
        assert self.reals is not None, "the metric needs real images"
        return self.reals


@dataclass(frozen=True)
class Outcome:
    """The numbers of a metric.

    Attributes:
        values: numbers by the suffix of the metric's name, such as `""`, `_mean` or `_recall`.
        notes: remarks on the numbers, for people.
    """

    values: dict[str, float]
    notes: tuple[str, ...] = ()


def note_of_few(least: int, meaning: str, **counts: int) -> tuple[str, ...]:
    """Return a note where a statistic is of too few images to mean what it usually does.

    Args:
        least: number of images from which on there is none.
        meaning: what fewer images do to the numbers.
        counts: number of images of each set, by name.
    """
    few = [f"{count} {name}" for name, count in counts.items() if count < least]
    return (f"only {' and '.join(few)}, fewer than {least}: {meaning}",) if few else ()


@dataclass(frozen=True)
class LatentPath:
    """The pairs of images that a path length compares: where latents are interpolated, and by which step.

    Attributes:
        space: space of the interpolation: `z` (spherical) or `w` (linear).
        sampling: position of the step: `full` (anywhere between two latents) or `end` (at the first).
        crop: whether only the middle of the image is compared, as for aligned faces.
        epsilon: length of the step, as a share of the way between two latents.
    """

    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    crop: bool
    epsilon: float = 1e-4


@dataclass(frozen=True)
class Metric:
    """A metric, which can be computed from any number of images.

    Attributes:
        name: name of the metric, with `{}` in place of the number of images, such as `fid{}_full`.
        detector: name of the detector.
        output: output of the detector: `features`, `probabilities`, or `distances` between the images of `path`.
        reals: real images to compare with: `all` images of the data, as `many` as there are fakes, or `none`.
        minimum: smallest number of images of each set.
        compute: function from the detector's output to numbers; with `distances`, the rows are `[N, 1]`.
        path: the pairs of generated images whose distances are computed.
        field_name: text in place of `{}` at 50,000 images.
        larger_is_better: whether larger values of the metric's first number are better.
    """

    name: str
    detector: str
    output: Literal["features", "probabilities", "distances"]
    reals: Literal["all", "many", "none"]
    minimum: int
    compute: Callable[[FeatureSets], Outcome]
    path: LatentPath | None = None
    field_name: str = "50k"
    larger_is_better: bool = False


@dataclass(frozen=True)
class Request:
    """A metric to compute, and the number of generated images."""

    metric: Metric
    count: int

    @property
    def name(self) -> str:
        """The name of the result; a number of images other than 50,000 is part of it."""
        count = self.metric.field_name if self.count == FIELD_COUNT else _short(self.count)
        return self.metric.name.format(count)


def known_metrics() -> dict[str, Metric]:
    """Return all metrics by the names that they have at 50,000 images."""
    metrics = [metric for family in METRICS.names() for metric in METRICS.get(family).METRICS]
    return {Request(metric, FIELD_COUNT).name: metric for metric in metrics}


def parse_requests(text: str, count: int | None = None) -> list[Request]:
    """Return the requests of a list such as `fid50k_full,fd_cifar,kid5k_full`.

    Args:
        text: names, separated by commas; the number of images may be any, or left out.
        count: number of images where a name has none; None: 50,000.

    Raises UserError for an unknown name, a repeated one, and a number of images below 1 or above LARGEST_COUNT.
    """
    if count is not None and not 1 <= count <= LARGEST_COUNT:
        few_or_many = "few" if count < 1 else "many"
        raise UserError(f"--samples={count} is too {few_or_many}; ask for at least 1, and at most {LARGEST_COUNT:,}")
    requests = [_parse(name.strip(), count or FIELD_COUNT) for name in text.split(",")]
    names = [request.name for request in requests]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the metric {name} is asked for twice; leave one out")
    return requests


def check_counts(request: Request, fakes: int, reals: int | None) -> None:
    """Raise UserError when a set has too few images for the metric."""
    for count, what in ((fakes, "generated images"), (reals, "real images")):
        if count is not None and count < request.metric.minimum:
            raise UserError(
                f"{request.name} needs at least {request.metric.minimum} {what}, here are {count}; "
                "give more or choose another metric"
            )


def detectors_of(requests: Sequence[Request]) -> list[str]:
    """Return the names of the detectors that the requests need, each once."""
    return sorted({request.metric.detector for request in requests})


def _parse(text: str, default: int) -> Request:
    """Return the request of a name; `default` is the number of images where it has none."""
    for metric in known_metrics().values():
        before, after = (re.escape(part) for part in metric.name.split("{}"))
        match = re.fullmatch(f"{before}([0-9]+k?)?{after}", text)
        if match:
            count = _count(match[1]) if match[1] else default
            if not 1 <= count <= LARGEST_COUNT:
                what = f"{match[1][:20]} images; ask for at least 1, and at most {LARGEST_COUNT:,}"
                raise UserError(f"the metric {text[:60]} asks for {what}")
            return Request(metric, count)
    raise unknown_name("metric", text, known_metrics())


def _count(text: str) -> int:
    """Return the number of images that `50k` or `500` stands for; of more than LARGEST_COUNT, some larger one."""
    digits = text.removesuffix("k").lstrip("0") or "0"
    if len(digits) > len(str(LARGEST_COUNT)):  # Python itself refuses some thousand
        return LARGEST_COUNT + 1
    return int(digits) * (1000 if text.endswith("k") else 1)


def _short(count: int) -> str:
    """Return a number of images as part of a name, such as `50k` or `500`."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
