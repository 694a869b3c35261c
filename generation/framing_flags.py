"""The flags that say what part of the plane an image shows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import UserError, unknown_name

if TYPE_CHECKING:
    from generation.framing import Framing

FRAMING = ("scale", "size", "crop", "strict_crop", "shift", "rotate", "warp", "flip")  # parameters
WARP_NAMES = ("bend", "bulge", "swirl")  # of `generation.warps`


def framing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of a frame to a click command."""
    options = [
        click.option("--scale", type=float, help="Size of the images, as a factor of the trained size."),
        click.option("--size", metavar="HxW", help="Size of the images in pixels, such as 512x768."),
        click.option(
            "--crop", metavar="X0,Y0,X1,Y1", help="Part to show: left, top, right, bottom, where the image is 0,0,1,1."
        ),
        click.option("--shift", metavar="DX,DY", help="Shift of the part to show, right and down, in sides."),
        click.option("--rotate", type=float, help="Degrees by which the image is turned, counter-clockwise."),
        click.option(
            "--warp", metavar="NAME:STRENGTH", help=f"Bend of the images: {', '.join(WARP_NAMES)}, such as bend:0.2."
        ),
        click.option("--flip", is_flag=True, help="Mirror the images, left to right."),
        click.option("--strict-crop", is_flag=True, help="Refuse to show anything beyond the trained image."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def parse_framing(flags: dict[str, Any]) -> Framing | None:
    """Return the frame of these flags, by name; None where none is given.

    Raises UserError for anything else than numbers, for a window without area, for --scale beside --size, and for an
    unknown warp.
    """
    from generation.framing import Framing

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
    if "warp" in given:
        given["warp"] = _warp_of(given["warp"])
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


def _warp_of(text: str) -> tuple[str, float]:
    name, _, strength = text.partition(":")
    if name not in WARP_NAMES:
        raise unknown_name("warp", name, WARP_NAMES)
    [number] = _numbers("warp", strength or "0.2", f"{name}:0.2")
    return name, number


def _numbers(name: str, text: str, example: str) -> tuple[float, ...]:
    count = example.count(",") + 1
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(abs(value) <= 1e6 for value in values):
        numbers = "a number" if count == 1 else f"{count} numbers"
        raise UserError(f"--{name}={text[:40]!r} is not {numbers}; write for example --{name}={example}")
    return values
