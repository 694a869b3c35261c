"""Compression is told by pixels: the quality, and nothing of photos that were not compressed so."""

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from degradations.primitives import jpeg
from images.ranges import to_uint8
from inversion.fidelity.bands import gaussian
from inversion.fidelity.compression import find_compression
from inversion.fidelity.jpeg_blocks import FULL, Sampling
from tests.inversion.fidelity.images import cats, compressed, noise


@pytest.fixture(name="sharp")
def _sharp():
    return cats()


@pytest.mark.parametrize("quality", [3, 5, 10, 23, 30, 50, 77, 90])
def test_the_quality_is_found(sharp, quality):
    for photo in compressed(sharp, quality):
        found = find_compression(photo)
        assert found is not None and abs(found.quality - quality) <= 1
        assert [code.sampling for code in found.planes] == [FULL, Sampling(2, 2), Sampling(2, 2)]


def test_the_degradation_of_training_is_found(sharp):
    pixels = jpeg.apply(to_uint8(sharp[:1])[0], np.random.default_rng(0), quality=41)
    found = find_compression(torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)
    assert found is not None and found.quality == 41


@pytest.mark.parametrize(("subsampling", "expected"), [(0, FULL), (1, Sampling(1, 2)), (2, Sampling(2, 2))])
def test_colours_have_their_own_resolution(sharp, subsampling, expected):
    found = find_compression(compressed(sharp, 60, subsampling)[0])
    assert [code.sampling for code in found.planes[1:]] == [expected] * 2


def test_gray_photos_do_not_tell_of_colours(sharp):
    gray = compressed(sharp[:, :1], 40)
    assert len(find_compression(gray[0]).planes) == 1
    found = find_compression(gray.expand(-1, 3, -1, -1)[0])
    assert found.quality == 40 and found.planes[1:] == (None, None)


@pytest.mark.parametrize("side", [16, 24, 40, 128])
def test_sides_of_whole_blocks_are_enough(side):
    """Where colours are not of whole blocks of samples, luma alone tells."""
    found = find_compression(compressed(cats().repeat(1, 1, 2, 2)[..., :side, :side], 30)[0])
    assert found is not None and found.quality == 30
    assert (found.planes[1] is None) == (side % 16 != 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda photos: photos.roll(1, dims=3),
        lambda photos: photos.roll(4, dims=2),
        lambda photos: photos + noise(0.1),
        lambda photos: gaussian(photos, 1.5),
        lambda photos: F.interpolate(photos, scale_factor=0.75, mode="bilinear", antialias=True),
        lambda photos: photos[..., :36, :36],
        lambda photos: photos[..., :8, :8],
    ],
)
def test_photos_that_were_changed_since_do_not_tell(sharp, change):
    assert all(find_compression(photo) is None for photo in change(compressed(sharp, 50)))


@pytest.mark.parametrize("name", ["even", "flat", "blurred", "noise", "sharp", "levels"])
def test_photos_that_were_not_compressed_do_not_tell(sharp, name):
    flat = (noise(0.5)[..., :8, :8] * 8).round() / 8
    photos = {
        "even": torch.zeros(2, 3, 64, 64),
        "flat": flat.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3),  # each block of one colour
        "blurred": gaussian(sharp, 3.0),
        "noise": noise(0.3),
        "sharp": sharp,
        "levels": (sharp * 4).round() / 4,
    }
    assert all(find_compression(photo) is None for photo in photos[name])


@pytest.mark.parametrize(("name", "expected"), [("compressed", True), ("blurred", False), ("noisy", False)])
def test_only_the_compressed_example_tells(name, expected):
    with PIL.Image.open(f"examples/bad-cats/{name}.png") as image:
        photo = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 127.5 - 1
    assert (find_compression(photo) is not None) == expected
