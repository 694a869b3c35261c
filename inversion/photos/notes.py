"""What somebody should know about the results for a photo: that it shows something else, or loses by its size."""

from dataclasses import dataclass
from typing import Any

from inversion.inverter import Inverter
from inversion.photos.reader import PreparedPhoto
from inversion.tuned_weights import Inversion

STAYS = "it stays as it is in the whole photo"
COARSER = 1.25  # sides of the network's images, from which on a photo is said to lose by its size


@dataclass(frozen=True)
class Notes:
    """What is to be said of a part of a photo.

    Attributes:
        is_strange: whether it shows something else than what the network knows.
        sentences: what somebody should know.
    """

    is_strange: bool
    sentences: tuple[str, ...]

    def leaves(self, face_number: int) -> bool:
        """Whether the face stays as it is in the whole photo, as it is none: detectors see some in fur and curtains.

        Args:
            face_number: number of the face among those of the photo, from 1 for the largest, which is always changed.
        """
        return self.is_strange and face_number > 1


def notes_on(
    inverter: Inverter, inversion: Inversion, part: PreparedPhoto, subject: str, has_result: bool = True
) -> Notes:
    """Return what somebody should know about the results for a part of a photo.

    Args:
        inverter: how it was inverted.
        inversion: codes of the photo.
        part: the part.
        subject: what the network knows, see `subject_of`.
        has_result: whether images are made of the codes.
    """
    is_strange = inverter.is_strange(inversion, part.target)
    sentences = note_on_size(part.square.side, inverter.G.img_resolution) if has_result else []
    if is_strange:
        sentences.insert(
            0, f"this does not look like {subject}, which is all that the network knows; the result shows that instead"
        )
    return Notes(is_strange, tuple(sentences))


def note_on_size(side: float, resolution: int) -> list[str]:
    """Return a sentence where a part of `side` pixels loses by the network's resolution."""
    if side <= COARSER * resolution:
        return []
    return [
        f"the part that is used has {side:.0f} pixels a side and the network makes {resolution}; "
        "the result is coarser than the photo"
    ]


def subject_of(header: dict[str, Any]) -> str:
    """Return what a network knows, in words, as far as the header of its file says."""
    return header.get("subject") or "what it was trained on"
