"""Photos as people have them: files of any kind to upright RGB pixels, and a square of them to the network and back."""

import io
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.parsing import existing
from images.convert import to_gray_or_rgb
from images.files import EXTENSIONS, UnreadableImageError, decode
from images.sheets import to_uint8

# Cameras also write these; those that Pillow cannot open are reported, not passed over in silence.
PHOTO_EXTENSIONS = (*EXTENSIONS, ".gif", ".jfif", ".mpo", ".avif", ".heic", ".heif")
WHITE = (255, 255, 255)
MAX_PIXELS = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 89_478_485)  # above it Pillow suspects a decompression bomb
MAX_SIDE = 32_766  # px; OpenCV's warps count in 16 bits
PROFILED_MODES = ("RGB", "RGBA", "CMYK")


def photo_files(path: str | os.PathLike) -> list[Path]:
    """Return a photo, or all below a folder in sorted order; hidden files and folders are left out.

    Raises UserError where there is nothing, and for a folder without photos.
    """
    path = existing(path, "photo")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in _visible_files(path) if file.suffix.lower() in PHOTO_EXTENSIONS)
    if not files:
        raise UserError(f"no photos in {path}; it needs files that end in {', '.join(PHOTO_EXTENSIONS)}")
    return files


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Return a photo as uint8 `[H, W, 3]`, sRGB, upright.

    The first frame of several; 16 bits become 8, gray becomes RGB, and what is transparent is seen before white. A
    colour profile is converted to sRGB where Pillow can, and otherwise ignored.

    Raises UnreadableImageError, a UserError of one sentence, for what cannot be read, for more than MAX_PIXELS pixels
    and for sides above MAX_SIDE.
    """
    path = existing(path, "photo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            image = to_gray_or_rgb(_to_srgb(decode(path.read_bytes())), WHITE).convert("RGB")
    except PIL.Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{path} has more than {MAX_PIXELS / 1e6:.0f} megapixels, the most that is read; make it smaller"
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{path} is not an image of a known kind, or damaged; save it again as PNG or JPEG"
        ) from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(reason.split()) or type(error).__name__
        raise UnreadableImageError(f"{path} cannot be read: {reason}; replace the file") from error
    if max(image.size) > MAX_SIDE:
        raise UnreadableImageError(f"{path} has a side of {max(image.size)} pixels, at most {MAX_SIDE} work; crop it")
    return np.array(image)


@dataclass(frozen=True)
class Square:
    """A square in a photo, in pixels; pixel i covers i to i + 1, so the photo spans 0 to W and 0 to H.

    Attributes:
        x, y: of the centre.
        side: length; the square may leave the photo.
        angle: radians by which its top edge is turned clockwise, as the photo is seen.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self, size: float) -> np.ndarray:
        """Return the affine map `[2, 3]`, float64, from an image of this square with `size` pixels to the photo."""
        cos, sin = (self.side / size * part for part in (math.cos(self.angle), math.sin(self.angle)))
        middle = size / 2
        return np.array(
            [
                [cos, -sin, self.x - middle * (cos - sin)],
                [sin, cos, self.y - middle * (sin + cos)],
            ]
        )

    def corners(self) -> np.ndarray:
        """Return `[4, 2]`, x and y: top left, top right, bottom right, bottom left of what the square shows."""
        unit = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
        return unit @ self.matrix(1).T


def centre_square(photo: np.ndarray) -> Square:
    """Return the largest square in the middle of a photo `[H, W, 3]`, on whole pixels."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return Square((width - side) // 2 + side / 2, (height - side) // 2 + side / 2, side)


def cut(photo: np.ndarray, square: Square, resolution: int | None = None) -> np.ndarray:
    """Return what the square shows, uint8 `[R, R, 3]`; R is the square's own side when `resolution` is None.

    The photo is mirrored beyond its borders. Turned and moved at the photo's own scale by cubic interpolation, then
    resized by Lanczos, which averages where it shrinks. An upright square on whole pixels is copied.
    """
    own = max(1, math.ceil(square.side - 1e-6))
    image = cv2.warpAffine(
        photo,
        between_pixel_centres(square.matrix(own)),
        (own, own),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return resize(image, own if resolution is None else resolution)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 `[size, size, 3]` of uint8 `[H, W, 3]` by Lanczos filtering; an equal size is a copy."""
    return np.array(PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.LANCZOS))


def between_pixel_centres(matrix: np.ndarray) -> np.ndarray:
    """Return an affine map `[2, 3]` of positions, where pixel i has its centre at i + 0.5, for the pixels' numbers."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return shifted


def to_network(photo: np.ndarray, resolution: int, channels: int = 3, square: Square | None = None) -> Tensor:
    """Return a photo as the network sees it: float32 `[1, C, R, R]` in [-1, 1].

    Args:
        photo: uint8 `[H, W, 3]`.
        resolution: R, the network's.
        channels: 3, or 1 for a network of gray images, which sees the luma of ITU-R 601.
        square: the part that is shown; `centre_square` when None.
    """
    image = cut(photo, centre_square(photo) if square is None else square, resolution)
    return network_input(image, channels)


def network_input(image: np.ndarray, channels: int = 3) -> Tensor:
    """Return uint8 `[R, R, 3]` as float32 `[1, C, R, R]` in [-1, 1]."""
    if channels not in (1, 3):
        raise UserError(f"the network has images of {channels} channels, photos need 1 or 3; give another network")
    if channels == 1:
        image = np.array(PIL.Image.fromarray(image).convert("L"))[:, :, np.newaxis]
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def from_network(images: Tensor) -> np.ndarray:
    """Return float images `[N, 1 or 3, R, R]` in [-1, 1] as uint8 `[N, R, R, 3]`; what lies outside is clipped."""
    pixels = to_uint8(images.detach())
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _to_srgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image in sRGB where it has a usable profile of another colour space, else as it is."""
    if image.mode not in PROFILED_MODES or not image.info.get("icc_profile"):
        return image
    try:
        profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        if PIL.ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return image
        srgb = PIL.ImageCms.createProfile("sRGB")
        mode = "RGB" if image.mode == "CMYK" else image.mode
        return _with_orientation(PIL.ImageCms.profileToProfile(image, profile, srgb, outputMode=mode), image)
    except (PIL.ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image


def _with_orientation(converted, image):
    """Return `converted` with the EXIF data of `image`, which say which way is up."""
    converted.info.update({key: value for key, value in image.info.items() if key != "icc_profile"})
    if "exif" not in image.info and (exif := image.getexif()):
        converted.info["exif"] = exif.tobytes()
    return converted


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        yield from (Path(parent) / name for name in files if not name.startswith("."))
