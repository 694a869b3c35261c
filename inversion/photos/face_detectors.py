"""Face detectors: the cascades that come with OpenCV, for human and cat faces, and YuNet from an ONNX file."""

import os
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dnnlib.errors import UserError, unknown_name
from dnnlib.limits import VECTOR_BYTES
from dnnlib.parsing import existing
from dnnlib.reading import open_file

# Files of the cascades by name of the detector; they are tried in this order, each also on the mirrored photo.
CASCADES = {
    "human": ("haarcascade_frontalface_default.xml",),
    "cat": ("haarcascade_frontalcatface.xml", "haarcascade_frontalcatface_extended.xml"),
}
WORKING_SIZE = 720  # pixels of the longer side of searched photos: smaller ones lose small faces, larger ones take time
SMALLEST_FACE = 1 / 10  # least size of a face in shorter sides of the photo; smaller ones would be blurs when enlarged
SCALE_STEP = 1.05  # ratio of neighbouring sizes that a cascade searches for
MIN_NEIGHBORS = 3  # overlapping hits that make a face
YUNET_SCORE = 0.6  # least confidence of a face, from 0 to 1
YUNET_OVERLAP = 0.3  # overlap of two boxes above which they are one face


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo; all numbers are in pixels of the photo.

    Attributes:
        x, y: centre of the detector's box.
        size: mean of the box's width and height.
        landmarks: x and y of five points, `[5, 2]`: left eye, right eye, nose, left and right corner of the mouth, with
            left and right as in the photo of an upright face; None where the detector finds only boxes.
    """

    x: float
    y: float
    size: float
    landmarks: np.ndarray | None = None


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: name of the detector on the command line and in files.
    """

    name: str

    def __call__(self, photo: np.ndarray) -> list[Face]:
        """Return the faces in a photo, uint8 RGB `[H, W, 3]`, the largest first."""
        ...


def find_detector(name: str) -> Detector:
    """Return the detector `human` or `cat`, or YuNet from the path of its ONNX file.

    Raises UserError for any other name, and for a file that is missing or another network.
    """
    if name in CASCADES:
        return CascadeDetector(name)
    if name.lower().endswith(".onnx"):
        return YuNetDetector(name)
    raise unknown_name("face detector", name, [*CASCADES, "a YuNet .onnx file"])


class CascadeDetector:
    """OpenCV's cascade of Haar features (Viola and Jones 2001) for faces seen from the front, about upright."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cascades = _cascades(name)
        if not self.cascades or any(cascade.empty() for cascade in self.cascades):
            raise UserError(f"OpenCV {cv2.__version__} lacks its cascade for {name} faces; install a version below 5")

    def __call__(self, photo: np.ndarray) -> list[Face]:
        small, scale = _shrink(photo)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        for cascade in self.cascades:
            for is_mirrored in (False, True):
                if faces := _detect(cascade, gray, is_mirrored):
                    return _largest_first([_scale(face, scale) for face in faces])
        return []


class YuNetDetector:
    """YuNet (Wu et al. 2023) by OpenCV's `FaceDetectorYN`: human faces, with landmarks, also turned ones."""

    name = "yunet"

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = existing(path, "face detector")
        open_file(self.path, VECTOR_BYTES, "give the ONNX file of YuNet").close()
        try:
            self.network = cv2.FaceDetectorYN.create(
                str(self.path), "", (320, 320), score_threshold=YUNET_SCORE, nms_threshold=YUNET_OVERLAP
            )
        except cv2.error as error:
            raise UserError(
                f"{self.path} is not a network that OpenCV can read; give the ONNX file of YuNet"
            ) from error

    def __call__(self, photo: np.ndarray) -> list[Face]:
        small, scale = _shrink(photo)
        self.network.setInputSize((small.shape[1], small.shape[0]))
        try:
            _, rows = self.network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise UserError(f"{self.path} is another network than YuNet; give the ONNX file of YuNet") from error
        rows = np.empty((0, 15)) if rows is None else np.asarray(rows, np.float64)  # [N, 15]: box, landmarks, score
        return _largest_first([_scale(_face_of_row(row), scale) for row in rows])


def _shrink(photo: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the photo with a longer side of at most WORKING_SIZE, and the factor back to the photo's pixels."""
    height, width = photo.shape[:2]
    scale = max(height, width) / WORKING_SIZE
    if scale <= 1:
        return np.ascontiguousarray(photo), 1.0
    size = max(1, round(width / scale)), max(1, round(height / scale))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA), scale


def _face_of_row(row: np.ndarray) -> Face:
    """Return the face in a row `[15]` of YuNet: box, landmarks, score."""
    left, top, width, height = (float(number) for number in row[:4])
    return Face(left + width / 2, top + height / 2, (width + height) / 2, landmarks=row[4:14].reshape(5, 2))


def _cascades(name: str) -> list["cv2.CascadeClassifier"]:
    """Return OpenCV's cascades for faces of a kind; none where OpenCV has no cascades any more."""
    if not hasattr(cv2, "CascadeClassifier"):
        return []
    folder = cv2.data.haarcascades  # type: ignore[attr-defined]  # missing in the stubs
    return [cv2.CascadeClassifier(os.path.join(folder, file)) for file in CASCADES[name]]


def _detect(cascade: "cv2.CascadeClassifier", gray: np.ndarray, is_mirrored: bool) -> list[Face]:
    """Return the faces that a cascade finds in a gray photo, uint8 `[H, W]`, or in its mirror image."""
    image = np.ascontiguousarray(gray[:, ::-1]) if is_mirrored else gray
    smallest = max(1, round(min(gray.shape) * SMALLEST_FACE))
    boxes = cascade.detectMultiScale(
        image, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBORS, minSize=(smallest, smallest)
    )
    faces = []
    for left, top, width, height in boxes:
        x = float(left + width / 2)
        x = gray.shape[1] - x if is_mirrored else x
        faces.append(Face(x, float(top + height / 2), float(width + height) / 2))
    return faces


def _scale(face: Face, scale: float) -> Face:
    """Return a face in pixels of a photo that is `scale` times as large."""
    landmarks = None if face.landmarks is None else face.landmarks * scale
    return Face(face.x * scale, face.y * scale, face.size * scale, landmarks)


def _largest_first(faces: list[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: face.size, reverse=True)
