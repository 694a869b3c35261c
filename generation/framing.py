"""What part of the plane an image shows, and at how many pixels: for networks that know no grid."""

from dataclasses import asdict, dataclass, replace

import torch

from dnnlib.errors import UserError
from generation.warps import warp_points
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator, ScaleFreeSynthesis

MAX_PIXELS = 2**27  # most pixels of one image, 11585x11585: its file is made in memory
MAX_DEGRADED_PIXELS = 2**22  # most pixels with a quality code, whose DegradBlocks need the whole image at once
ROUNDING = 1e-6  # by which a window may exceed the image that it is to lie within


@dataclass(frozen=True)
class Framing:
    """The frame of an image; sides and places are in those of the trained image, from (0, 0) top left to (1, 1).

    Attributes:
        scale: factor of the trained number of pixels; without it and `size`: 1.
        size: height and width in pixels, or None; then pixels stay square, and the longer side has R * scale of them.
        crop: left, top, right and bottom of the window.
        shift: how far it lies further right, and lower.
        rotate: degrees by which the image is turned counter-clockwise about the centre of the window.
        warp: one of `generation.warps.WARPS` with its strength, or None.
        flip: whether the image is mirrored, left to right.
        strict_crop: whether nothing may be shown that lies beyond the trained image, where the network extrapolates.
    """

    scale: float | None = None
    size: tuple[int, int] | None = None
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    rotate: float = 0.0
    warp: tuple[str, float] | None = None
    flip: bool = False
    strict_crop: bool = False

    def coordinates(self, G: Generator, is_sharp: bool = True) -> Coordinates:
        """Return where the pixels are; raise UserError for a network with one grid, and for too many of them.

        `is_sharp` says whether no image has a quality code.
        """
        synthesis = G.synthesis
        if not isinstance(synthesis, ScaleFreeSynthesis):
            raise UserError(
                f"{self.named()} needs a network that knows no grid, such as one trained with --generator=creps, and "
                f"this one is of kind {G.config.kind}; leave it out"
            )
        height, width = self.image_size(G.img_resolution)
        limit = MAX_PIXELS if is_sharp else MAX_DEGRADED_PIXELS
        if height * width > limit or min(height, width) < 1:
            which = "" if is_sharp else " where a quality code is given"
            bound = f"at least 1 pixel a side and at most {limit:,} altogether{which}"
            raise UserError(f"{self.named()} makes {height}x{width} pixels, must be {bound}; choose another size")
        left, top, right, bottom = self.crop
        coords = Coordinates(synthesis.line(height, top, bottom), synthesis.line(width, left, right))
        coords = coords.shifted(down=self.shift[1], right=self.shift[0])
        coords = coords if self.warp is None else warp_points(coords, *self.warp)
        coords = coords.rotated(self.rotate) if self.rotate % 360 else coords
        if self.strict_crop:
            self._require_within(coords)
        return coords.flipped() if self.flip else coords

    def zoomed(self, share: float, resolution: int) -> "Framing":
        """Return the frame at a share of the way from the whole image to this window, at constant size and speed.

        Windows have the shape of the frame, `size` or a square; this one is enlarged to it, about its centre. A turn
        and a warp grow with the share.
        """
        height, width = self.size or (int(resolution * (self.scale or 1.0) + 1e-6),) * 2
        shape = torch.tensor([width, height]) / max(width, height)  # sides of the first window
        corners = torch.tensor(self.crop).view(2, 2) + torch.tensor(self.shift)
        middle, extent = corners.mean(0), corners[1] - corners[0]
        magnification = float((extent / shape).max())
        size_now = magnification**share
        # So that one point keeps its place in the frame; where nothing is magnified, the window moves.
        moved = share if abs(magnification - 1) < ROUNDING else (1 - size_now) / (1 - magnification)
        centre = 0.5 + (middle - 0.5) * moved
        window = torch.cat([centre - shape * size_now / 2, centre + shape * size_now / 2]).tolist()
        return replace(
            self,
            scale=None,
            size=(height, width),
            crop=(window[0], window[1], window[2], window[3]),
            shift=(0.0, 0.0),
            rotate=self.rotate * share,
            warp=None if self.warp is None else (self.warp[0], self.warp[1] * share),
        )

    def named(self) -> str:
        """Return the flags that differ from an image as it was trained, such as `--scale --flip`."""
        usual = asdict(Framing())
        names = [f"--{name.replace('_', '-')}" for name, value in asdict(self).items() if value != usual[name]]
        return " ".join(names) or "--scale=1"

    def image_size(self, resolution: int) -> tuple[int, int]:
        """Return height and width in pixels of the images of a network trained at this resolution."""
        if self.size is not None:
            return self.size
        left, top, right, bottom = self.crop
        pixels = resolution * (1.0 if self.scale is None else self.scale) / max(right - left, bottom - top)
        if not pixels < 2**31:
            return MAX_PIXELS, 2
        # The published rule for whole images rounds down.
        return int((bottom - top) * pixels + 1e-6), int((right - left) * pixels + 1e-6)

    def _require_within(self, coords: Coordinates) -> None:
        """Raise UserError where a pixel lies beyond the trained image."""
        places = torch.cat([coords.rows, coords.columns])
        beyond = max(-float(places.min()), float(places.max()) - 1)
        if beyond > ROUNDING:
            raise UserError(
                f"{self.named()} shows {beyond:.3g} sides beyond the image, must be 0 with --strict-crop; choose a "
                "window within 0,0,1,1, or leave out --strict-crop"
            )
