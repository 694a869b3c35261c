"""Numbers for a set of images: what a metric needs, and the names that people type."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dnnlib.errors import UserError, unknown_name
from dnnlib.registry import Registry

METRICS = Registry("metrics.families", "metric family")
FIELD_COUNT = 50_000  # of generated images, wherever nothing else is said


@dataclass(frozen=True)
class Rows:
    """What a detector says of two sets of images.

    Attributes:
        fakes: float32 `[N, D]`, perhaps on disk.
        reals: the same of real images, or None where the metric needs none.
        seed: of subsets that are drawn.
        device: for large products.
    """

    fakes: np.ndarray
    reals: np.ndarray | None
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Outcome:
    """Numbers by name, which follows the metric's own (`""`, `_mean`, `_recall`), and what to know about them."""

    values: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Path:
    """Of a path length: where the latents are interpolated, and which part of the way counts.

    Attributes:
        space: `z` (spherical) or `w` (linear).
        sampling: `full` (anywhere between two latents) or `end` (at the first).
        crop: only the middle of the image, as for aligned faces.
        epsilon: length of a step.
    """

    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    crop: bool
    epsilon: float = 1e-4


@dataclass(frozen=True)
class Metric:
    """A metric, by any number of images.

    Attributes:
        name: with `{}` where the number of images stands, such as `fid{}_full`.
        detector: whose opinion it is.
        output: of the detector: `features`, `probabilities`, or `distances` (for which `path` says of what).
        reals: `all` images of the data, as `many` as there are fakes, or `none`.
        minimum: fewest images of each set.
        compute: rows -> numbers; of distances, the rows are `[N, 1]`.
        path: the pairs of generated images whose distance is asked for.
        field_name: what stands for `{}` at 50,000 images.
        larger_is_better: of the first of its numbers.
    """

    name: str
    detector: str
    output: Literal["features", "probabilities", "distances"]
    reals: Literal["all", "many", "none"]
    minimum: int
    compute: Callable[[Rows], Outcome]
    path: Path | None = None
    field_name: str = "50k"
    larger_is_better: bool = False


@dataclass(frozen=True)
class Request:
    """A metric of so many generated images."""

    metric: Metric
    count: int

    @property
    def name(self) -> str:
        """What the result is called; a number of images other than 50,000 is part of it."""
        shown = self.metric.field_name if self.count == FIELD_COUNT else _short(self.count)
        return self.metric.name.format(shown)


def known_metrics() -> dict[str, Metric]:
    """Return all metrics by the names that they have at 50,000 images."""
    metrics = [metric for family in METRICS.names() for metric in METRICS.get(family).METRICS]
    return {Request(metric, FIELD_COUNT).name: metric for metric in metrics}


def parse_requests(text: str, count: int | None = None) -> list[Request]:
    """Return what a list such as `fid50k_full,fd_cifar,kid5k_full` asks for.

    Args:
        text: names, separated by commas; the number of images may be any, or left out.
        count: of images wherever a name has none; None: 50,000.

    Raises UserError for an unknown name, a repeated one, and a number of images below 1.
    """
    if count is not None and count < 1:
        raise UserError(f"--samples={count} is too few; ask for at least 1")
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


def _parse(text, default):
    for metric in known_metrics().values():
        before, after = (re.escape(part) for part in metric.name.split("{}"))
        match = re.fullmatch(f"{before}(\\d+k?)?{after}", text)
        if match:
            count = _count(match[1]) if match[1] else default
            if count < 1:
                raise UserError(f"the metric {text} asks for {count} images; ask for at least 1")
            return Request(metric, count)
    raise unknown_name("metric", text, known_metrics())


def _count(text):
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)


def _short(count):
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
