"""Writer of short videos (mp4), complete and readable or absent."""

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import replace_file
from images.figures import enlarge


def write_mp4(path: str | os.PathLike, images: Iterable[np.ndarray], fps: float) -> int:
    """Write uint8 images `[H, W, 1 or 3]` as MPEG-4 video and return their number.

    Small images are enlarged; odd sizes lose a row or column. The file is read again before it replaces `path`. Raises
    UserError when the video cannot be written.
    """
    with replace_file(path) as temporary:
        unchecked = temporary.with_suffix(".mp4")  # OpenCV chooses the container by the ending
        try:
            count = _encode(unchecked, images, fps)
            if count_frames(unchecked) != count:
                raise UserError(f"{path} lost some of its {count} images; check the disk, or write a strip instead")
            os.replace(unchecked, temporary)
        finally:
            unchecked.unlink(missing_ok=True)
    return count


def count_frames(path: str | os.PathLike) -> int:
    """Return the number of decodable frames of a video; 0 when it cannot be opened."""
    video, count = cv2.VideoCapture(str(path)), 0
    while video.grab():
        count += 1
    video.release()
    return count


def _encode(path: Path, images: Iterable[np.ndarray], fps: float) -> int:
    video: cv2.VideoWriter | None = None
    count = 0
    try:
        for image in images:
            frame = _to_bgr(image)
            if video is None:
                video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, frame.shape[1::-1])
                if not video.isOpened():
                    raise UserError("this build of OpenCV cannot write mp4 videos; write a strip instead")
            video.write(frame)
            count += 1
    finally:
        if video is not None:
            video.release()
    return count


def _to_bgr(image: np.ndarray) -> np.ndarray:
    image = enlarge(image)
    height, width = image.shape[0] & ~1, image.shape[1] & ~1  # the codec halves the resolution of colour
    conversion = cv2.COLOR_GRAY2BGR if image.shape[2] == 1 else cv2.COLOR_RGB2BGR
    return cv2.cvtColor(np.ascontiguousarray(image[:height, :width]), conversion)
