"""Where the pixels of an image lie: coordinates from 0 (top, left) to 1 (bottom, right), and what moves them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Coordinates(NamedTuple):
    """The places of an image's pixels: a grid of two lines, or points one by one. Beyond [0, 1] lies extrapolation.

    Attributes:
        rows: float32 `[H]`, from the top; of points `[P]`.
        columns: float32 `[W]`, from the left; of points `[P]`.
        width: width of the image that the points make, row by row; None: a grid, whose pixel (i, j) is at
            (rows[i], columns[j]).
    """

    rows: Tensor
    columns: Tensor
    width: int | None = None

    @classmethod
    def of_points(cls, points: Tensor) -> "Coordinates":
        """Return the coordinates of an image whose pixels are anywhere.

        Args:
            points: `[H, W, 2]`, or `[P, 2]` for an image of one row; from the top, and then from the left.
        """
        assert points.ndim in (2, 3) and points.shape[-1] == 2, f"points are {list(points.shape)}, not [P, 2]"
        rows, columns = points.reshape(-1, 2).unbind(1)
        return cls(rows, columns, points.shape[-2])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        if self.width is None:
            return self.rows.shape[0], self.columns.shape[0]
        return self.rows.shape[0] // self.width, self.width

    @property
    def pixels(self) -> int:
        """How many pixels the image has."""
        return self.size[0] * self.size[1]

    def points(self) -> Tensor:
        """Return where each pixel is, `[H, W, 2]`."""
        height, width = self.size
        if self.width is not None:
            return torch.stack([self.rows, self.columns], dim=1).unflatten(0, (height, width))
        return torch.stack(torch.meshgrid(self.rows, self.columns, indexing="ij"), dim=2)

    def strips(self, pixels: int) -> Iterator[slice]:
        """Yield slices of consecutive rows of the image that have at most `pixels` pixels, or one row."""
        height, width = self.size
        step = max(1, pixels // width)
        yield from (slice(first, min(first + step, height)) for first in range(0, height, step))

    def strip(self, rows: slice) -> "Coordinates":
        """Return the coordinates of some rows of the image."""
        if self.width is None:
            return self._replace(rows=self.rows[rows])
        places = slice(rows.start * self.width, rows.stop * self.width)
        return self._replace(rows=self.rows[places], columns=self.columns[places])

    def shifted(self, down: float, right: float) -> "Coordinates":
        """Return the coordinates of a window that lies lower and further right, in sides of the image."""
        return self._replace(rows=self.rows + down, columns=self.columns + right)

    def flipped(self) -> "Coordinates":
        """Return those of the mirror image."""
        if self.width is None:
            return self._replace(columns=self.columns.flip(0))
        return Coordinates.of_points(self.points().flip(1))

    def rotated(self, degrees: float) -> "Coordinates":
        """Return those of an image turned counter-clockwise about its centre, point by point."""
        points = self.points()  # [H, W, 2]
        centre = (points[0, 0] + points[-1, -1]) / 2
        sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        down, right = (points - centre).unbind(2)  # [H, W]
        turned = torch.stack([cosine * down + sine * right, cosine * right - sine * down], dim=2)
        return Coordinates.of_points(turned + centre)


def line(
    count: int, start: float = 0.0, end: float = 1.0, pixel_centred: bool = False, device: torch.device | None = None
) -> Tensor:
    """Return the coordinates of `count` pixels from `start` to `end`, float32 `[count]`.

    The first and last pixel lie on the ends, as in the published networks, or with `pixel_centred` half a pixel within:
    then a pixel covers the same place whatever the size of the image.
    """
    half = (end - start) / (2 * count) if pixel_centred else 0.0
    return torch.linspace(start + half, end - half, count, device=device)
