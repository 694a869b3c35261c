"""Bends of the plane: where an image shows what, beyond windows and turns."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from networks.generators.coordinates import Coordinates

# Each maps the places [H, W, 2] of pixels within the window, from (0, 0) top left to (1, 1), and a strength, to the
# places that are shown there. Corners stay.
Warp = Callable[[Tensor, float], Tensor]


def warp_points(coords: Coordinates, warp: str, strength: float) -> Coordinates:
    """Return the coordinates of an image that is bent by one of `WARPS`, point by point; 0 leaves it as it is."""
    points = coords.points()  # [H, W, 2]
    first, last = points[0, 0], points[-1, -1]
    span = torch.where(last == first, 1.0, last - first)
    return Coordinates.of_points(first + span * WARPS[warp]((points - first) / span, strength))


def _bend(places: Tensor, strength: float) -> Tensor:
    """Arch the rows: the middle column moves by `strength` windows, the outer ones not at all."""
    down, right = places.unbind(2)
    return torch.stack([down + 4 * strength * right * (1 - right), right], dim=2)


def _swirl(places: Tensor, strength: float) -> Tensor:
    """Turn the middle by `strength` turns, and what lies on the circle within the window not at all."""
    offset = places - 0.5
    down, right = offset.unbind(2)
    angle = 2 * math.pi * strength * (1 - 2 * offset.norm(dim=2)).clamp(min=0).square()
    turned = [angle.cos() * down + angle.sin() * right, angle.cos() * right - angle.sin() * down]
    return 0.5 + torch.stack(turned, dim=2)


def _bulge(places: Tensor, strength: float) -> Tensor:
    """Magnify the middle as a lens does, up to the circle within the window; below 0 it shrinks."""
    offset = places - 0.5
    radius = (2 * offset.norm(dim=2, keepdim=True)).clamp(1e-6, 1)
    return 0.5 + offset * radius.pow(strength)


WARPS: dict[str, Warp] = {"bend": _bend, "bulge": _bulge, "swirl": _swirl}
