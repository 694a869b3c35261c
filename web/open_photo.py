"""A photo that somebody works on: its faces, and what was found for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inversion.photos.paste_back import enlarge, paste_all, scale_square
from inversion.photos.reader import PreparedPhoto
from networks.latents import Latents

WHOLE_SIDE = 2048  # px of the longer side of whole photos on the page; larger ones are shown, and kept, that large


@dataclass(frozen=True, eq=False)
class OpenPhoto:
    """A photo and what was found for it.

    Attributes:
        name: name of the file, without folders.
        parts: faces of the photo, the largest first, or the middle square; each with the whole photo where there are
            several, and with itself alone otherwise: what lies around it is not kept.
        latents: codes of the parts, on the CPU.
        notes: what somebody should know about results, as sentences; None: nothing is known yet.
        left: numbers of the parts that stay as they are.
    """

    name: str
    parts: tuple[PreparedPhoto, ...]
    latents: Latents
    notes: tuple[str, ...] | None = None
    left: tuple[int, ...] = ()

    @property
    def part(self) -> PreparedPhoto:
        """The largest face, or the middle square."""
        return self.parts[0]

    @property
    def image(self) -> np.ndarray:
        """The photo as the page shows it: its only part, uint8 `[R, R, 3]`, or all of it, uint8 `[H, W, 3]`."""
        return self.part.image if len(self.parts) == 1 else self.part.photo

    def with_results(self, images: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return the photo with the results of its parts in their places; None for those that stay as they are."""
        if len(self.parts) == 1:
            assert images[0] is not None, "the only part has a result"
            return images[0]
        found = [(image, part.square) for image, part in zip(images, self.parts, strict=True) if image is not None]
        return paste_all(self.image, [image for image, _ in found], [square for _, square in found])


def kept_of(parts: Sequence[PreparedPhoto], name: str) -> tuple[PreparedPhoto, ...]:
    """Return the parts of a photo with as much of the photo as is kept of it."""
    if len(parts) == 1:
        return (replace(parts[0], photo=parts[0].image),)
    photo = parts[0].photo
    factor = WHOLE_SIDE / max(photo.shape[:2])
    if factor >= 1:
        return tuple(parts)
    shown = enlarge(photo, factor, name)
    return tuple(replace(part, photo=shown, square=scale_square(part.square, photo, shown)) for part in parts)
