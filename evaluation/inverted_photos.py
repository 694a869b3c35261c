"""Inversion of photos for tables: invert and measure batches, render the results, describe the method."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tqdm
from torch import Tensor

from dnnlib.errors import counted
from dnnlib.files import sha256
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos
from images.ranges import from_levels, to_uint8
from inversion.inverter import Inverter
from inversion.photos.invert import step_bar
from inversion.tuned_weights import Inversion
from metrics.detectors.cifar import WEIGHTS
from networks.latents import Latents

PhotoRecords = list[dict[str, Any]]  # one for each photo, as JSON


def inversion_settings(inverter: Inverter) -> dict[str, Any]:
    """Return all that inversions depend on, as JSON; the embedded weights are part of losses and of tables."""
    return {"inversion": inverter.settings, "embedded": sha256(WEIGHTS)}


def measure_photos(
    photos: DegradedPhotos,
    parts: PartCache,
    measure: Callable[[range, Tensor, Tensor], PhotoRecords],
    files: Callable[[range], Sequence[Path]] = lambda numbers: (),
) -> PhotoRecords:
    """Return the record of each photo; each batch is a part.

    Args:
        photos: the photos.
        parts: cache of the finished parts.
        measure: function of the numbers of photos, and of them sharp and degraded, uint8 `[N, C, R, R]`, to records.
        files: function of the numbers to the files that `measure` writes beside; a part whose files are gone is remade.
    """
    records: PhotoRecords = []

    def make(numbers: range) -> PhotoRecords:
        return measure(numbers, *photos.pairs(numbers))

    with tqdm.tqdm(total=len(photos), desc="photos", unit="photo", disable=None) as bar:
        for numbers in photos.batches():
            part = {"first": numbers.start, "last": numbers.stop - 1}
            records += parts.get(part, partial(make, numbers), files(numbers))
            bar.update(len(numbers))
    return records


def invert_photos(inverter: Inverter, photos: Tensor) -> list[Inversion]:
    """Return the inversions of photos uint8 `[N, C, R, R]`, with bars that show the steps."""
    with step_bar() as on_step:
        return inverter.invert(from_levels(photos), on_step)


def quantize(images: Tensor) -> Tensor:
    """Return float images `[N, C, H, W]` in [-1, 1] as uint8, rounded as in image files, on the CPU."""
    return torch.from_numpy(to_uint8(images)).permute(0, 3, 1, 2)


def render_photo(inverter: Inverter, inversion: Inversion, latents: Latents) -> Tensor:
    """Return the images uint8 `[N, C, R, R]` of codes by the generator of one photo, on the CPU."""
    return quantize(inverter.images(inversion, latents))


def describe_encoder(path: str, kind: str) -> str:
    """Return in words which encoder a file is; with its folder, since runs name their encoders alike."""
    return f"encoder {Path(*Path(path).parts[-2:])} ({kind})"


def describe_inverter(inverter: Inverter) -> str:
    """Return in words how photos are inverted: by which encoder, of which kind, and in how many steps."""
    options = inverter.options
    words = []
    if options.encoder is not None:
        words.append(describe_encoder(options.encoder, inverter.kind))
    words += [f"projector of {counted(options.projector.steps, 'step')}"] if options.projector is not None else []
    words += [f"tuning of at most {counted(options.tuning.steps, 'step')}"] if options.tuning is not None else []
    return ", ".join(words)
