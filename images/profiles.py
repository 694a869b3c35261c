"""Colour profiles: images in other colour spaces than sRGB, converted or only noticed."""

import functools
import io
from typing import Any

import PIL.Image
import PIL.ImageCms

PROFILED_MODES = ("RGB", "RGBA", "CMYK")
_UNUSABLE = (PIL.ImageCms.PyCMSError, OSError, TypeError, ValueError)


def to_srgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image in sRGB where it has a usable profile of another colour space, else unchanged."""
    content = image.info.get("icc_profile")
    if image.mode not in PROFILED_MODES or content is None or is_srgb(content):
        return image
    try:
        mode = "RGB" if image.mode == "CMYK" else image.mode
        profile, srgb = PIL.ImageCms.ImageCmsProfile(io.BytesIO(content)), PIL.ImageCms.createProfile("sRGB")
        converted = PIL.ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
    except _UNUSABLE:
        return image
    assert converted is not None, "a conversion in place"
    converted.info.update({key: value for key, value in image.info.items() if key != "icc_profile"})
    return converted


@functools.lru_cache(maxsize=16)  # the photos of a camera have one profile
def is_srgb(content: Any) -> bool:
    """Return whether pixels are sRGB by the profile in a file, bytes or None: so they are where none is usable."""
    if not content:
        return True
    try:
        profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(content))
        return PIL.ImageCms.getProfileDescription(profile).startswith("sRGB")
    except _UNUSABLE:
        return True
