"""One reader of photos: orientation, transparency, colour profiles and 16 bits come out alike in every command."""

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from dnnlib.errors import UserError
from images.convert import to_gray_or_rgb
from images.datasets.dataset import ImageDataset
from images.files import ImageFiles
from images.photos import read_gray_or_colour, read_photo
from images.profiles import is_srgb

SIZE = 16
ROWS = np.repeat(np.linspace(10, 240, SIZE).astype(np.uint8)[:, None], SIZE, axis=1)  # dark above, bright below

COLOURS = np.dstack([ROWS, ROWS // 2, 255 - ROWS])


def turned(path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # upside down
    PIL.Image.fromarray(ROWS[::-1]).save(path, exif=exif)
    return ROWS[..., None]


def transparent(path):
    pixels = np.dstack([ROWS, ROWS, ROWS, np.full_like(ROWS, 0)])
    PIL.Image.fromarray(pixels).save(path)
    return np.full((SIZE, SIZE, 3), 255)


def deep(path):
    PIL.Image.fromarray(ROWS.astype(np.uint16) * 257).save(path)
    return ROWS[..., None]


def swapped(path):
    """Write colours with a profile in which red and blue have changed places."""
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmpX", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmpX", b"bXYZ", 1)
    profile = profile.replace("sRGB".encode("utf-16-be"), "BRGx".encode("utf-16-be"))
    PIL.Image.fromarray(COLOURS).save(path, icc_profile=profile)
    return np.array(to_gray_or_rgb(PIL.Image.open(path)))


WRITERS = {"orientation": turned, "alpha": transparent, "16 bit": deep, "profile": swapped}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_command_sees_the_same_pixels(tmp_path, kind):
    path = tmp_path / "a.png"
    expected = WRITERS[kind](path)
    seen = ImageFiles(tmp_path).picture("a.png")
    assert np.array_equal(seen, expected)
    assert np.array_equal(read_gray_or_colour(path), expected)
    assert np.array_equal(read_photo(path), np.broadcast_to(expected, (SIZE, SIZE, 3)))


@pytest.mark.parametrize("kind", WRITERS)
def test_training_refuses_what_it_would_see_otherwise(tmp_path, kind):
    WRITERS[kind](tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png in .*; run `python dataset_tool.py"):
        ImageDataset(tmp_path)


def test_a_profile_changes_pixels_and_unusable_ones_do_not(tmp_path):
    assert np.abs(swapped(tmp_path / "a.png").astype(int) - COLOURS[..., ::-1]).max() <= 3
    PIL.Image.fromarray(COLOURS).save(tmp_path / "b.png", icc_profile=b"no profile")
    assert np.array_equal(read_photo(tmp_path / "b.png"), COLOURS)


def test_srgb_by_name_needs_no_conversion():
    assert is_srgb(None) and is_srgb(b"") and is_srgb(b"no profile")
    assert is_srgb(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
