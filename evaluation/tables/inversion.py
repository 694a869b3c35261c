"""Section 4.3 of the paper: PSNR of the reconstructions of multiple-degraded photos."""

import os

import torch
from torch import Tensor

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
from evaluation.tables.table import Table, mean_and_deviation
from inversion.inverter import Inverter
from metrics.distances.pixels import psnr

PAPER = {"CelebA-HQ": 29.47, "AFHQ Cat": 28.91}  # dB


def inversion_table(inverter: Inverter, photos: DegradedPhotos, outdir: str | os.PathLike) -> Table:
    """Return the PSNR of reconstructions of multiple-degraded photos; continue where an earlier call was stopped.

    Args:
        inverter: inverter of the photos.
        photos: photos degraded by `RECIPE`.
        outdir: folder of the finished parts.
    """

    def measure(numbers: range, sharp: Tensor, degraded: Tensor) -> PhotoRecords:
        inversions = invert_photos(inverter, degraded)
        images = torch.cat([render_photo(inverter, inversion, inversion.latents) for inversion in inversions])
        return [{"psnr": value} for value in psnr(images, degraded).tolist()]

    settings = {**inversion_settings(inverter), **photos.settings}
    values = [record["psnr"] for record in measure_photos(photos, PartCache(outdir, "inversion", settings), measure)]
    title = "Section 4.3. PSNR in dB of the reconstructions of multiple-degraded photos"
    columns = ["", "here", *(f"paper, {data}" for data in PAPER)]
    rows = [["reconstruction", mean_and_deviation(values), *(f"{value:.2f}" for value in PAPER.values())]]
    notes = [f"{len(values)} photos, mean ± standard deviation; {describe_inverter(inverter)}."]
    numbers = {"psnr": values, "names": photos.names, "paper": PAPER, "settings": settings}
    return Table("inversion", title, columns, rows, notes, numbers)
