"""What part of the plane an image shows, and at how many pixels: for networks that know no grid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import UserError

if TYPE_CHECKING:
    from networks.generators.coordinates import Coordinates
    from networks.generators.interface import Generator

MAX_PIXELS = 2**27  # of one image, 11585x11585: its file is made in memory
MAX_DEGRADED_PIXELS = 2**22  # with a quality code, whose DegradBlocks need the whole image at once
FLAGS = ("scale", "size", "crop", "shift", "rotate", "flip")


@dataclass(frozen=True)
class Framing:
    """The frame of an image; sides and places are in those of the trained image, from (0, 0) top left to (1, 1).

    Attributes:
        scale: factor of the trained number of pixels; without it and `size`: 1.
        size: height and width in pixels, or None; then pixels stay square, and the longer side has R * scale of them.
        crop: left, top, right and bottom of the window.
        shift: how far it lies further right, and lower.
        rotate: degrees by which the image is turned counter-clockwise about the centre of the window.
        flip: whether the image is mirrored, left to right.
    """

    scale: float | None = None
    size: tuple[int, int] | None = None
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    rotate: float = 0.0
    flip: bool = False

    def coordinates(self, G: Generator, is_sharp: bool = True) -> Coordinates:
        """Return where the pixels are; raise UserError for a network with one grid, and for too many of them.

        `is_sharp` says whether no image has a quality code.
        """
        from networks.generators.coordinates import Coordinates
        from networks.generators.interface import ScaleFreeSynthesis

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
        coords = coords.rotated(self.rotate) if self.rotate % 360 else coords
        return coords.flipped() if self.flip else coords

    def named(self) -> str:
        """Return the flags that differ from an image as it was trained, such as `--scale --flip`."""
        usual = asdict(Framing())
        names = [f"--{name}" for name, value in asdict(self).items() if value != usual[name]]
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


def framing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of `FLAGS` to a click command."""
    options = [
        click.option("--scale", type=float, help="Size of the images, as a factor of the trained size."),
        click.option("--size", metavar="HxW", help="Size of the images in pixels, such as 512x768."),
        click.option(
            "--crop", metavar="X0,Y0,X1,Y1", help="Part to show: left, top, right, bottom, where the image is 0,0,1,1."
        ),
        click.option("--shift", metavar="DX,DY", help="Shift of the part to show, right and down, in sides."),
        click.option("--rotate", type=float, help="Degrees by which the image is turned, counter-clockwise."),
        click.option("--flip", is_flag=True, help="Mirror the images, left to right."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def parse_framing(flags: dict[str, Any]) -> Framing | None:
    """Return the framing of the flags `FLAGS`; None where none is given.

    Raises UserError for anything else than numbers, for a window without area, and for --scale beside --size.
    """
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    if not given:
        return None
    if "scale" in given and "size" in given:
        raise UserError("--scale and --size both say how many pixels there are; leave one of them out")
    for name in ("scale", "rotate"):
        value = given.get(name, 1.0)
        if not math.isfinite(value) or (name == "scale" and value <= 0):
            bound = "a finite number above 0" if name == "scale" else "finite"
            raise UserError(f"--{name}={value} must be {bound}; write for example --{name}=2")
    if "size" in given:
        given["size"] = _size_of(given["size"])
    for name, example in (("crop", "0.25,0.25,0.75,0.75"), ("shift", "0.1,0")):
        if name in given:
            given[name] = _numbers(name, given[name], example)
    framing = Framing(**given)
    left, top, right, bottom = framing.crop
    if left >= right or top >= bottom:
        raise UserError(f"--crop={flags['crop']} has no area; write left,top,right,bottom such as 0.25,0.25,0.75,0.75")
    return framing


def _size_of(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text.strip())
    if not match:
        raise UserError(f"--size={text[:40]!r} is no height and width; write for example --size=512x768")
    return int(match[1]), int(match[2])


def _numbers(name: str, text: str, example: str) -> tuple[float, ...]:
    count = example.count(",") + 1
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(abs(value) <= 1e6 for value in values):
        raise UserError(f"--{name}={text[:40]!r} is not {count} numbers; write for example --{name}={example}")
    return values
