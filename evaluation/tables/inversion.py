"""Section 4.3 of the paper: PSNR of the reconstructions of multiple-degraded photos."""

import os
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import counted
from evaluation.inverted_photos import (
    PhotoRecords,
    describe_inverter,
    inversion_settings,
    invert_photos,
    measure_photos,
    render_photo,
)
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos
from evaluation.tables.table import EMPTY, Table, mean_and_deviation
from inversion.inverter import Inverter
from metrics.distances.pixels import psnr

PAPER = {"CelebA-HQ": 29.47, "AFHQ Cat": 28.91}  # dB
BASE = "reconstruction by the plain network"


def inversion_table(
    inverter: Inverter, photos: DegradedPhotos, outdir: str | os.PathLike, base: Inverter | None = None
) -> Table:
    """Return the PSNR of reconstructions of multiple-degraded photos; continue where an earlier call was stopped.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        outdir: folder of the finished parts.
        base: inverter into a plain network, for another row (supplement, C.1).
    """
    inverters = {"reconstruction": inverter} | ({} if base is None else {BASE: base})
    values = {name: _reconstruction_psnr(each, photos, outdir) for name, each in inverters.items()}
    title = "Section 4.3. PSNR in dB of the reconstructions of multiple-degraded photos"
    columns = ["", "here", *(f"paper, {data}" for data in PAPER)]
    papers = {"reconstruction": [f"{value:.2f}" for value in PAPER.values()]}
    empty = [EMPTY] * len(PAPER)
    rows = [[name, mean_and_deviation(each), *papers.get(name, empty)] for name, each in values.items()]
    notes = [f"{counted(len(photos), 'photo')}, mean ± standard deviation; {describe_inverter(inverter)}."]
    numbers: dict[str, Any] = {"psnr": values["reconstruction"], "names": photos.names, "paper": PAPER}
    numbers["settings"] = {**inversion_settings(inverter), **photos.settings}
    if base is not None:
        notes.append(f"{BASE}: {describe_inverter(base)}.")
        numbers["base"] = {"psnr": values[BASE], "settings": inversion_settings(base)}
    return Table("inversion", title, columns, rows, notes, numbers)


def _reconstruction_psnr(inverter: Inverter, photos: DegradedPhotos, outdir: str | os.PathLike) -> list[float]:
    """Return the PSNR of each photo's reconstruction, in dB."""

    def measure(numbers: range, sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        inversions = invert_photos(inverter, degraded)
        images = torch.cat([render_photo(inverter, inversion, inversion.latents) for inversion in inversions])
        return [{"psnr": value} for value in psnr(images, degraded).tolist()]

    settings = {**inversion_settings(inverter), **photos.settings}
    return [record["psnr"] for record in measure_photos(photos, PartCache(outdir, "inversion", settings), measure)]
