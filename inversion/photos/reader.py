"""Reading of photos: the part that is inverted, aligned to the face or the middle, as input of the network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from images.photos import network_input, read_photo
from images.squares import Square, centre_square, cut
from inversion.photos.alignment import Aligned, align, align_all
from inversion.photos.face_detectors import find_detector
from networks.generators.interface import Generator

ALL: Final = "all"  # faces of a photo
LARGEST: Final = "largest"  # face of a photo, alone


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photo and the part of it that is inverted.

    Attributes:
        photo: whole photo, uint8 `[H, W, 3]`.
        square: square of the photo that is inverted.
        image: image of the square, uint8 `[R, R, 3]`.
        target: image of the square, float32 `[1, C, R, R]` in [-1, 1].
    """

    photo: np.ndarray
    square: Square
    image: np.ndarray
    target: Tensor


class PhotoReader:
    """Reads photos and cuts them as the training data was cut.

    Args:
        G: generator whose resolution and channels the parts get.
        detector: detector whose faces are cut out, `cat`, `human` or a YuNet file; None: the middle square.
        faces: which of a photo's faces `read_faces` cuts out: `all`, or the `largest`.

    Raises UserError for an unknown detector; on reading, for a damaged photo and one without a face.
    """

    def __init__(self, G: Generator, detector: str | None = None, faces: str = LARGEST) -> None:
        self.resolution = G.img_resolution
        self.channels = G.img_channels
        self.faces = faces
        self.detector_name = detector
        self.detector = None if detector is None else find_detector(detector)

    def read(self, path: Path, name: str | None = None) -> PreparedPhoto:
        """Return a photo with its largest face, or its middle square, ready to be inverted.

        Errors about what it shows call it `name`, or by its path.
        """
        return self.prepare(read_photo(path, name), name or str(path))

    def prepare(self, photo: np.ndarray, name: str) -> PreparedPhoto:
        """Return a photo, uint8 `[H, W, 3]`, ready to be inverted; errors call it `name`."""
        if self.detector is None:
            square = centre_square(photo)
            return self._prepared(photo, Aligned(cut(photo, square, self.resolution), square))
        return self._prepared(photo, align(photo, self.detector, name, self.resolution))

    def read_faces(self, path: Path, name: str | None = None) -> list[PreparedPhoto]:
        """Return a photo once for each of its faces, the largest first; without a detector for its middle square.

        Errors call it `name`, or by its path.
        """
        return self.prepare_faces(read_photo(path, name), name or str(path))

    def prepare_faces(self, photo: np.ndarray, name: str) -> list[PreparedPhoto]:
        """Return a photo, uint8 `[H, W, 3]`, as `read_faces` does; errors call it `name`."""
        if self.detector is None or self.faces == LARGEST:
            return [self.prepare(photo, name)]
        return [self._prepared(photo, face) for face in align_all(photo, self.detector, name, self.resolution)]

    def _prepared(self, photo: np.ndarray, part: Aligned) -> PreparedPhoto:
        return PreparedPhoto(photo, part.square, part.image, network_input(part.image, self.channels))
