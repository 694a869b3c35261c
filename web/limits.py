"""Limits of what one request to the page may take: bytes and pixels of a photo, and time."""

import math
import time
from dataclasses import dataclass

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.limits import IMAGE_BYTES, MIB, PIXELS


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        megabytes: size of a photo's file, in units of 2**20 bytes.
        megapixels: width times height of a photo, in millions.
        seconds: time from the moment that the work on a request begins.
    """

    megabytes: float = 20.0
    megapixels: float = 50.0
    seconds: float = 120.0

    def __post_init__(self) -> None:
        most_bytes, most_pixels = IMAGE_BYTES / MIB, PIXELS / 1e6
        require(0 < self.megabytes <= most_bytes, "--max-mb", self.megabytes, f"above 0 and at most {most_bytes:g}")
        bound = f"above 0 and at most {most_pixels:.0f}"
        require(0 < self.megapixels <= most_pixels, "--max-megapixels", self.megapixels, bound)
        require(0 < self.seconds < math.inf, "--max-seconds", self.seconds, "above 0 and finite")

    @property
    def bytes(self) -> int:
        """Bytes of a photo's file."""
        return int(self.megabytes * MIB)

    @property
    def pixels(self) -> int:
        """Width times height of a photo."""
        return int(self.megapixels * 1e6)


class Deadline:
    """The end of the time that a request may take; the time begins when this is made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise UserError when the time is over."""
        if time.monotonic() > self.end:
            raise UserError(
                f"this has taken longer than the {self.seconds:g} seconds that a request may",
                "ask for less at once, or let whoever runs this page raise --max-seconds",
            )
