"""Photos: files of any kind to upright RGB pixels, and square crops of them to the network and back."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.limits import IMAGE_BYTES
from dnnlib.parsing import existing
from dnnlib.reading import open_file
from images.convert import to_gray_or_rgb
from images.decoding import UnreadableImageError, decode, image_errors
from images.files import EXTENSIONS
from images.ranges import from_levels, to_uint8
from images.squares import Square, centre_square, cut

# Cameras also write the last ones; files that Pillow cannot open are reported, not skipped silently.
PHOTO_EXTENSIONS = (*EXTENSIONS, ".gif", ".jfif", ".mpo", ".avif", ".heic", ".heif")
WHITE = (255, 255, 255)
MAX_SIDE = 32_766  # px; OpenCV's warps count in 16 bits
PROFILED_MODES = ("RGB", "RGBA", "CMYK")


def photo_files(path: str | os.PathLike) -> list[Path]:
    """Return the path of a photo, or all photos below a folder in sorted order, without hidden files and folders.

    Raises UserError when `path` does not exist, and for a folder without photos.
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

    Of several frames the first is read; 16 bits become 8, gray becomes RGB, and transparent pixels get a white
    background. A colour profile is converted to sRGB where Pillow can, and otherwise ignored.

    Raises UnreadableImageError, a UserError of one sentence, for unreadable files, for more pixels than
    `dnnlib.limits.PIXELS` and for sides above MAX_SIDE.
    """
    path = existing(path, "photo")
    cure = "save it again as PNG or JPEG, or smaller"
    with image_errors(lambda: str(path), cure), open_file(path, IMAGE_BYTES, cure, UnreadableImageError) as file:
        image = to_gray_or_rgb(_to_srgb(decode(file.read())), WHITE).convert("RGB")
    if max(image.size) > MAX_SIDE:
        raise UnreadableImageError(f"{path} has a side of {max(image.size)} pixels, at most {MAX_SIDE} work; crop it")
    return np.array(image)


def to_network(photo: np.ndarray, resolution: int, channels: int = 3, square: Square | None = None) -> Tensor:
    """Return a square crop of a photo as input of the network: float32 `[1, C, R, R]` in [-1, 1].

    Args:
        photo: uint8 `[H, W, 3]`.
        resolution: resolution R of the network.
        channels: 3, or 1 for a network of gray images, whose input is the luma of ITU-R 601.
        square: part of the photo to cut out; None means `centre_square`.
    """
    image = cut(photo, centre_square(photo) if square is None else square, resolution)
    return network_input(image, channels)


def network_input(image: np.ndarray, channels: int = 3) -> Tensor:
    """Return uint8 `[R, R, 3]` as float32 `[1, C, R, R]` in [-1, 1]."""
    if channels not in (1, 3):
        raise UserError(f"the network has images of {channels} channels, photos need 1 or 3; give another network")
    if channels == 1:
        image = np.array(PIL.Image.fromarray(image).convert("L"))[:, :, np.newaxis]
    return from_levels(torch.from_numpy(image).permute(2, 0, 1)[None])


def from_network(images: Tensor) -> np.ndarray:
    """Return float images `[N, 1 or 3, R, R]` in [-1, 1] as uint8 `[N, R, R, 3]`; values outside are clipped."""
    pixels = to_uint8(images.detach())
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _to_srgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image in sRGB where it has a usable profile of another colour space, else unchanged."""
    if image.mode not in PROFILED_MODES or not image.info.get("icc_profile"):
        return image
    try:
        profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        if PIL.ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return image
        srgb = PIL.ImageCms.createProfile("sRGB")
        mode = "RGB" if image.mode == "CMYK" else image.mode
        converted = PIL.ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
        assert converted is not None, "a conversion in place"
        _copy_exif(image, converted)
        return converted
    except (PIL.ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image


def _copy_exif(image: PIL.Image.Image, converted: PIL.Image.Image) -> None:
    """Copy the EXIF data, which hold the orientation, and all other information except the colour profile."""
    converted.info.update({key: value for key, value in image.info.items() if key != "icc_profile"})
    if "exif" not in image.info and (exif := image.getexif()):
        converted.info["exif"] = exif.tobytes()


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        yield from (Path(parent) / name for name in files if not name.startswith("."))
