"""Face alignment: cut a face from a photo as the faces of AFHQ and FFHQ were cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnnlib.errors import UserError
from images.squares import Square, cut
from inversion.photos.face_detectors import Detector, Face

# AFHQ's originals of 512 px: in the median of 24 of them the cat cascade's box has 0.637 of the side and its centre at
# 0.503, 0.574; in 125 of 150 others at 128 px, enlarged, 0.633 and 0.497, 0.573.
AFHQ_SCALE = 1 / 0.635
AFHQ_UP = (0.574 - 0.5) / 0.635
# Not measured: eyes lie at about 0.39 of the human cascade's box and 0.41 of its width apart, and an aligned face of
# FFHQ has four times this distance as its side and the eyes a tenth of the way to the mouth above its centre.
FFHQ_SCALE = 4 * 0.41
FFHQ_UP = 0.5 - 0.39 - 0.1 * 0.42
# Karras et al. 2018, appendix C: sides in distances between the eyes, and from eyes to mouth; where the centre lies.
EYE_DISTANCES = 4.0
MOUTH_DISTANCES = 3.6
TOWARDS_MOUTH = 0.1
MOST_SHARED = 0.5  # part of a face's box that may lie within a larger face's; a muzzle's lies there whole


class NoFaceError(UserError):
    """The error for one photo without a face; other photos may have one."""


@dataclass(frozen=True)
class CropRule:
    """How the training data were cropped, relative to the detected face.

    Attributes:
        scale: side of the square, in sizes of the face.
        up: height of the square's centre above the face's centre, in sizes of the face.
        by_landmarks: whether a detector's landmarks are used where it has them: the square is then placed and rotated
            by eyes and mouth as in FFHQ, and the box has no effect.
    """

    scale: float
    up: float
    by_landmarks: bool = False

    def square(self, face: Face) -> Square:
        """Return the square around a face."""
        if self.by_landmarks and face.landmarks is not None:
            return landmark_square(face.landmarks)
        return Square(face.x, face.y - self.up * face.size, self.scale * face.size)


AFHQ = CropRule(AFHQ_SCALE, AFHQ_UP)
FFHQ = CropRule(FFHQ_SCALE, FFHQ_UP, by_landmarks=True)
CROP_RULES = {"cat": AFHQ, "human": FFHQ, "yunet": FFHQ}  # crop rule by name of the detector


@dataclass(frozen=True, eq=False)
class Aligned:
    """A face cut from a photo.

    Attributes:
        image: the face, uint8 `[R, R, 3]`.
        square: square of the photo that the image shows.
    """

    image: np.ndarray
    square: Square


def align(
    photo: np.ndarray, detector: Detector, name: str, resolution: int | None = None, rule: CropRule | None = None
) -> Aligned:
    """Find the largest face and cut it as the training data were cut, mirrored where the square leaves the photo.

    Args:
        photo: photo, uint8 `[H, W, 3]`.
        detector: detector that finds the faces.
        name: name of the photo, for the error.
        resolution: side R of the image; None: the side of the square.
        rule: crop rule of the training data; None: the rule for the detector.

    Raises NoFaceError.
    """
    return align_all(photo, detector, name, resolution, rule)[0]


def align_all(
    photo: np.ndarray, detector: Detector, name: str, resolution: int | None = None, rule: CropRule | None = None
) -> list[Aligned]:
    """Find all faces, and cut each as `align` cuts the largest, which is the first.

    Raises NoFaceError.
    """
    faces = distinct(detector(photo))
    if not faces:
        cure = "" if detector.name == "yunet" else ", or name a YuNet .onnx file as the detector"
        raise NoFaceError(
            f"no face in {name} by the detector '{detector.name}'; crop the photo and pass --no-align{cure}"
        )
    squares = [(rule or CROP_RULES[detector.name]).square(face) for face in faces]
    return [Aligned(cut(photo, square, resolution), square) for square in squares]


def distinct(faces: Sequence[Face]) -> list[Face]:
    """Return the faces without those whose box lies mostly within that of an earlier one.

    Cascades find a muzzle, or a face within a face, where they have found the face itself.
    """
    kept: list[Face] = []
    for face in faces:
        if all(_share_within(face, other) <= MOST_SHARED for other in kept):
            kept.append(face)
    return kept


def _share_within(face: Face, other: Face) -> float:
    """Return the part of a face's box that lies within another's."""
    reach = (face.size + other.size) / 2
    sides = (min(face.size, max(0.0, reach - abs(gap))) for gap in (face.x - other.x, face.y - other.y))
    return math.prod(sides) / face.size**2


def landmark_square(landmarks: np.ndarray) -> Square:
    """Return the square that FFHQ shows of a face with landmarks `[5, 2]` (Karras et al. 2018, appendix C)."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    eyes = (left_eye + right_eye) / 2  # [2]
    mouth = (left_mouth + right_mouth) / 2  # [2]
    across = right_eye - left_eye  # [2]
    down = mouth - eyes  # [2]
    x_axis = across + (down[1], -down[0])  # both point along the face's width; their sum is steadier than either
    side = max(EYE_DISTANCES * np.hypot(*across), MOUTH_DISTANCES * np.hypot(*down))
    x, y = eyes + TOWARDS_MOUTH * down
    return Square(float(x), float(y), float(side), math.atan2(x_axis[1], x_axis[0]))
