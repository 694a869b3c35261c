"""Masks of faces: the parts of photos that a measure of pairs is taken over."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError
from evaluation.photo_sets import DegradedPhotos
from images.files import ImageFiles
from inversion.photos.alignment import AFHQ
from metrics.distances.pixels import psnr
from metrics.pairs import PairMeasure

AUTO = "auto"
# The detector's box ends at the brows and within the cheeks; the paper keeps the hair, so the ellipse goes around it.
AROUND_BOX = 1.25
WHITE = 128  # least gray level that belongs to a mask
BLANK = 128.0  # gray level of what a mask leaves out


class Masks:
    """The masks of the photos of a table.

    Args:
        source: `auto` for an ellipse where aligned faces are, or a folder or zip of masks with the photos' names, white
            where the face is.
        photos: the photos.

    Raises UserError for a photo without mask, and for a mask of another size or without white.
    """

    def __init__(self, source: str, photos: DegradedPhotos) -> None:
        side = photos.dataset.resolution
        if source == AUTO:
            self.masks = [face_ellipse(side)] * len(photos)
            self.settings: Any = AUTO
            self.description = "the ellipse where aligned faces are"
            return
        files = ImageFiles(source)
        by_stem = {Path(name).stem: name for name in files.names}
        for name in photos.names:
            if name not in by_stem:
                raise UserError(f"{source} has no mask for the photo {name}; add one of that name, or give --mask=auto")
        self.masks = [_read(files, by_stem[name], source, side) for name in photos.names]
        self.settings = files.fingerprint()
        self.description = f"the masks of {source}"

    def __getitem__(self, number: int) -> Tensor:
        """Return the mask of a photo, bool `[R, R]`."""
        return self.masks[number]


def face_ellipse(side: int) -> Tensor:
    """Return where the face is in aligned photos, bool `[side, side]`: an ellipse around the detector's box.

    The box has 0.635 of the side of AFHQ's photos (`inversion.photos.alignment`), and nearly the same of FFHQ's.
    """
    half = AROUND_BOX * side / AFHQ.scale / 2
    middle = side * (0.5 + AFHQ.up / AFHQ.scale)
    places = torch.arange(side, dtype=torch.float64) + 0.5
    x, y = (places - side / 2) / half, (places - middle) / half
    return x.square()[None, :] + y.square()[:, None] <= 1


def compare_within(measure: PairMeasure, name: str, a: Tensor, b: Tensor, mask: Tensor) -> list[float]:
    """Return a measure of pairs of images uint8 `[N, C, R, R]` over a mask bool `[R, R]`.

    PSNR is that of the pixels of the mask; other measures compare images that are gray outside.
    """
    mask = mask.to(a.device)
    if name == "psnr":
        return psnr(a[:, :, mask][:, :, None], b[:, :, mask][:, :, None]).tolist()
    blank = torch.full((), BLANK, device=a.device)
    return measure.compare(*(torch.where(mask, images.float(), blank) for images in (a, b))).tolist()


def _read(files: ImageFiles, name: str, source: str, side: int) -> Tensor:
    """Return a mask, bool `[side, side]`."""
    mask = np.asarray(files.picture(name))[:, :, 0] >= WHITE  # [H, W]
    if mask.shape != (side, side):
        height, width = mask.shape
        raise UserError(f"the mask {name} of {source} is {width}x{height}, not {side}x{side} as the photos; resize it")
    if not mask.any():
        raise UserError(f"the mask {name} of {source} has no white pixel, where the face would be; draw one")
    return torch.from_numpy(mask)
