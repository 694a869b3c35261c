"""What the table of restoration asks of a method."""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from evaluation.photo_sets import DegradedPhotos


class RestoredPhotos(NamedTuple):
    """Restored photos, uint8 `[N, C, R, R]` on the CPU.

    `reconstruction` shows the degraded photos as the method sees them; None where it has no such thing.
    """

    restored: Tensor
    reconstruction: Tensor | None = None


class Restorer(abc.ABC):
    """A method: it gives a restored photo for each degraded one."""

    @abc.abstractmethod
    def settings(self, photos: DegradedPhotos) -> dict[str, Any]:
        """Return all that the restored photos depend on besides the degraded ones, as JSON."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Return in words how photos are restored."""

    @abc.abstractmethod
    def restore(self, photos: DegradedPhotos, numbers: Sequence[int], degraded: Tensor) -> RestoredPhotos:
        """Return the restored photos of these numbers, whose degraded versions are uint8 `[N, C, R, R]`."""

    def check(self, photos: DegradedPhotos) -> None:
        """Raise UserError where some photo of a track cannot be restored; called before anything is measured."""
        return
