"""Section 4.3 of the paper: how close inversion comes to degraded photos; and the photos that other tables share."""

import hashlib
import json
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, sha256, write_text
from evaluation.tables.table import Table
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels, to_uint8
from inversion.inverter import Inverter
from inversion.photos.invert import step_bar
from inversion.tuned_weights import Inversion
from metrics.detectors.cifar import WEIGHTS
from metrics.distances.pixels import psnr
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.purposes import FOR_METRICS

RECIPE = "multiple"  # the paper's "multiple-degraded" images
PAPER = {"CelebA-HQ": 29.47, "AFHQ Cat": 28.91}  # dB

Rows = list[dict[str, Any]]  # of each photo: JSON


@dataclass(frozen=True)
class PhotoOptions:
    """The photos of a table.

    Attributes:
        data: folder or zip of sharp photos, of the network's resolution.
        images: the first so many; None: all.
        batch: photos inverted at once.
        seed: of the degradations.
    """

    data: str
    images: int | None = None
    batch: int = 4
    seed: int = 0

    def __post_init__(self):
        require(self.images is None or self.images >= 1, "--images", self.images, "at least 1")
        require(self.batch >= 1, "--batch", self.batch, "at least 1")


class DegradedPhotos:
    """The first photos of a set, each with its degraded version, which depends on the seed and its number alone.

    Raises UserError for photos that the network cannot show, and where there are fewer than asked for.
    """

    def __init__(self, options: PhotoOptions, recipe: str, G: Generator):
        self.dataset = ImageDataset(options.data, G.img_resolution, degradation=recipe)
        if self.dataset.channels != G.img_channels:
            raise UserError(
                f"{options.data} holds images of {self.dataset.channels} channels, and the network's have "
                f"{G.img_channels}; give others"
            )
        self.count = self.dataset.num_images if options.images is None else options.images
        available = self.dataset.num_images
        require(self.count <= available, "--images", self.count, f"at most {available}, as many as {options.data} has")
        self.options = options

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        """What the photos are called."""
        return [Path(name).stem for name in self.dataset.files.names[: self.count]]

    @property
    def settings(self) -> dict[str, Any]:
        """All that photo number i depends on, as JSON."""
        return {
            "photos": self.dataset.fingerprint,
            "recipe": self.dataset.degradation,
            "degradation_seed": self.options.seed,
        }

    def batches(self) -> Iterator[range]:
        """Yield the numbers of photos that are inverted together."""
        for first in range(0, self.count, self.options.batch):
            yield range(first, min(first + self.options.batch, self.count))

    def pairs(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return sharp and degraded photos, both uint8 `[N, C, R, R]`; those that `real_stream` has of this seed."""
        pairs = [self.dataset.pair(number, (self.options.seed, FOR_METRICS, number)) for number in numbers]
        sharp, degraded = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return sharp, degraded


class Parts:
    """The finished parts of a table, in a file beside it: a command that was stopped goes on after the last of them.

    Args:
        outdir: of the table.
        name: of the table.
        settings: all that every part depends on, as JSON. Parts of other settings stay in the file for their own time.
    """

    def __init__(self, outdir: str | os.PathLike, name: str, settings: dict[str, Any]):
        self.path = prepare_directory(outdir) / f"{name}-parts.json"
        self.settings = settings
        self.known = self._read()

    def get(self, part: dict[str, Any], make: Callable[[], Any], files: Sequence[Path] = ()) -> Any:
        """Return the JSON of a part, made now unless it is there, with the files that belong to it."""
        text = json.dumps({**self.settings, **part}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self.known or not all(file.is_file() for file in files):
            self.known[key] = {"part": part, "result": make()}
            write_text(self.path, json.dumps(self.known) + "\n")
        return self.known[key]["result"]

    def _read(self):
        if not self.path.exists():
            return {}
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
            is_ours = all("result" in entry for entry in known.values())
        except (OSError, ValueError, AttributeError, TypeError):
            is_ours = False
        if not is_ours:
            raise UserError(f"{self.path} is damaged; delete it, and the same command begins anew")
        return known


def inversion_settings(inverter: Inverter) -> dict[str, Any]:
    """Return all that inversions depend on, as JSON: with the embedded weights, by which losses and tables judge."""
    return {"inversion": inverter.settings, "embedded": sha256(WEIGHTS)}


def measured(photos: DegradedPhotos, parts: Parts, measure: Callable[[Tensor, Tensor], Rows]) -> Rows:
    """Return what `measure` says of each photo, `sharp, degraded -> one row a photo`; each batch is a part."""
    rows: Rows = []
    with tqdm.tqdm(total=len(photos), desc="photos", unit="photo", disable=None) as bar:
        for numbers in photos.batches():
            part = {"first": numbers.start, "last": numbers.stop - 1}
            rows += parts.get(part, lambda numbers=numbers: measure(*photos.pairs(numbers)))
            bar.update(len(numbers))
    return rows


def inverted(inverter: Inverter, photos: Tensor) -> list[Inversion]:
    """Return the inversions of photos uint8 `[N, C, R, R]`, with bars that show the steps."""
    with step_bar() as on_step:
        return inverter.invert(from_levels(photos), on_step)


def pixels(images: Tensor) -> Tensor:
    """Return float images `[N, C, H, W]` in [-1, 1] as uint8, as files hold them."""
    return torch.from_numpy(to_uint8(images)).permute(0, 3, 1, 2)


def rendered(inverter: Inverter, inversion: Inversion, latents: Latents) -> Tensor:
    """Return the images uint8 `[N, C, R, R]` of codes by the generator of one photo, on the CPU."""
    return pixels(inverter.images(inversion, latents))


def inversion_table(inverter: Inverter, photos: DegradedPhotos, outdir: str | os.PathLike) -> Table:
    """Return the PSNR of reconstructions of multiple-degraded photos; goes on where it was stopped.

    Args:
        inverter: how photos are inverted.
        photos: degraded by `RECIPE`.
        outdir: of what is finished.
    """

    def measure(sharp: Tensor, degraded: Tensor) -> Rows:
        found = inverted(inverter, degraded)
        images = torch.cat([rendered(inverter, inversion, inversion.latents) for inversion in found])
        return [{"psnr": value} for value in psnr(images, degraded).tolist()]

    settings = {**inversion_settings(inverter), **photos.settings}
    values = [row["psnr"] for row in measured(photos, Parts(outdir, "inversion", settings), measure)]
    title = "Section 4.3. PSNR in dB of the reconstructions of multiple-degraded photos"
    columns = ["", "here", *(f"paper, {data}" for data in PAPER)]
    rows = [["reconstruction", mean_and_deviation(values), *(f"{value:.2f}" for value in PAPER.values())]]
    notes = [f"{len(values)} photos, mean ± standard deviation; {described(inverter)}."]
    numbers = {"psnr": values, "names": photos.names, "paper": PAPER, "settings": settings}
    return Table("inversion", title, columns, rows, notes, numbers)


def described(inverter: Inverter) -> str:
    """Return in words how photos are inverted."""
    options = inverter.options
    words = ["encoder"] if options.encoder is not None else []
    words += [f"projector of {options.projector.steps} steps"] if options.projector is not None else []
    words += [f"tuning of at most {options.tuning.steps} steps"] if options.tuning is not None else []
    return ", ".join(words)


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Return `mean ± standard deviation`; equal images have an infinite PSNR, and then there is no deviation."""
    mean = statistics.fmean(values)
    deviation = statistics.pstdev(values) if math.isfinite(mean) else math.nan
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"
