"""Reading of photos: the part that is inverted, aligned to the face or the middle, as input of the network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from images.photos import network_input, read_photo
from images.squares import Square, centre_square, cut
from inversion.photos.alignment import align
from inversion.photos.face_detectors import find_detector
from networks.generators.interface import Generator


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
        detector: detector whose largest face is cut out, `cat`, `human` or a YuNet file; None: the middle square.

    Raises UserError for an unknown detector; on reading, for a damaged photo and one without a face.
    """

    def __init__(self, G: Generator, detector: str | None = None) -> None:
        self.resolution = G.img_resolution
        self.channels = G.img_channels
        self.detector_name = detector
        self.detector = None if detector is None else find_detector(detector)

    def read(self, path: Path, name: str | None = None) -> PreparedPhoto:
        """Return a photo, ready to be inverted; errors about what it shows call it `name`, or by its path."""
        return self.prepare(read_photo(path, name), name or str(path))

    def prepare(self, photo: np.ndarray, name: str) -> PreparedPhoto:
        """Return a photo, uint8 `[H, W, 3]`, ready to be inverted; errors call it `name`."""
        if self.detector is None:
            square = centre_square(photo)
            image = cut(photo, square, self.resolution)
        else:
            aligned = align(photo, self.detector, name, self.resolution)
            square = aligned.square
            image = aligned.image
        return PreparedPhoto(photo, square, image, network_input(image, self.channels))
