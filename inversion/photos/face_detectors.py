"""Where the faces in a photo are: OpenCV's cascades, which come with it, and YuNet from an ONNX file."""

import os
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dnnlib.errors import UserError, unknown_name
from dnnlib.parsing import existing

# Tried in this order, each also on the mirrored photo, until one finds a face.
CASCADES = {
    "human": ("haarcascade_frontalface_default.xml",),
    "cat": ("haarcascade_frontalcatface.xml", "haarcascade_frontalcatface_extended.xml"),
}
WORKING_SIZE = 720  # px of the longer side in which faces are searched: below it, small faces are lost, above it, time
SMALLEST_FACE = 1 / 10  # of the shorter side; what is smaller would be a blur in the network's resolution
SCALE_STEP = 1.05  # between the sizes that a cascade looks for
MIN_NEIGHBORS = 3  # overlapping hits that make a face
YUNET_SCORE = 0.6  # 0 to 1; faces of lower confidence are dropped
YUNET_OVERLAP = 0.3  # of two boxes; above it they are one face


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo, in pixels of it.

    Attributes:
        x, y: centre of the detector's box.
        size: mean of the box's width and height.
        landmarks: `[5, 2]`, x and y: the eye at the photo's left, the other eye, the nose, the corners of the mouth in
            the same order (as an upright face is seen); None where the detector knows only boxes.
    """

    x: float
    y: float
    size: float
    landmarks: np.ndarray | None = None


class Detector(Protocol):
    """Finds faces; `name` is what people call it."""

    name: str

    def __call__(self, photo: np.ndarray) -> list[Face]:
        """Return the faces in a photo, uint8 RGB `[H, W, 3]`, the largest first."""
        ...


def find_detector(name: str) -> Detector:
    """Return the detector `human` or `cat`, or YuNet from the path of its ONNX file.

    Raises UserError for any other name, and for a file that is missing or no such network.
    """
    if name in CASCADES:
        return CascadeDetector(name)
    if name.lower().endswith(".onnx"):
        return YuNetDetector(name)
    raise unknown_name("face detector", name, [*CASCADES, "a YuNet .onnx file"])


class CascadeDetector:
    """OpenCV's cascade of Haar features (Viola and Jones 2001) for faces seen from the front, about upright."""

    def __init__(self, name: str):
        self.name = name
        self.cascades = [cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, file)) for file in CASCADES[name]]
        if any(cascade.empty() for cascade in self.cascades):
            raise UserError(f"OpenCV {cv2.__version__} lacks its cascade for {name} faces; install a version below 5")

    def __call__(self, photo: np.ndarray) -> list[Face]:
        small, scale = _shrunk(photo)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        for cascade in self.cascades:
            for is_mirrored in (False, True):
                if faces := _detect(cascade, gray, is_mirrored):
                    return _largest_first([_scaled(face, scale) for face in faces])
        return []


class YuNetDetector:
    """YuNet (Wu et al. 2023) by OpenCV's `FaceDetectorYN`: human faces, with landmarks, also turned ones."""

    name = "yunet"

    def __init__(self, path: str | os.PathLike):
        path = existing(path, "face detector")
        try:
            self.network = cv2.FaceDetectorYN.create(
                str(path), "", (320, 320), score_threshold=YUNET_SCORE, nms_threshold=YUNET_OVERLAP
            )
        except cv2.error as error:
            raise UserError(f"{path} is not a network that OpenCV can read; give the ONNX file of YuNet") from error
        self.path = path

    def __call__(self, photo: np.ndarray) -> list[Face]:
        small, scale = _shrunk(photo)
        self.network.setInputSize((small.shape[1], small.shape[0]))
        try:
            _, rows = self.network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise UserError(f"{self.path} is another network than YuNet; give the ONNX file of YuNet") from error
        rows = np.empty((0, 15)) if rows is None else np.asarray(rows, np.float64)  # box, landmarks, score
        return _largest_first([_scaled(_face_of_row(row), scale) for row in rows])


def _shrunk(photo):
    """Return the photo with a longer side of at most WORKING_SIZE, and the factor back to its own pixels."""
    height, width = photo.shape[:2]
    scale = max(height, width) / WORKING_SIZE
    if scale <= 1:
        return np.ascontiguousarray(photo), 1.0
    size = max(1, round(width / scale)), max(1, round(height / scale))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA), scale


def _face_of_row(row):
    left, top, width, height = (float(number) for number in row[:4])
    return Face(left + width / 2, top + height / 2, (width + height) / 2, landmarks=row[4:14].reshape(5, 2))


def _detect(cascade, gray, is_mirrored):
    """Return the faces in uint8 `[H, W]`."""
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


def _scaled(face, scale):
    landmarks = None if face.landmarks is None else face.landmarks * scale
    return Face(face.x * scale, face.y * scale, face.size * scale, landmarks)


def _largest_first(faces):
    return sorted(faces, key=lambda face: face.size, reverse=True)
