"""Blocks of JPEG: every step is undone by another, and enlarging is a decoder's."""

import cv2
import numpy as np
import pytest
import torch

from inversion.fidelity.jpeg_blocks import (
    FULL,
    Sampling,
    are_whole_blocks,
    cosines,
    decoded,
    enlarged,
    means,
    of_cosines,
)
from tests.support.tolerance import assert_close

SAMPLINGS = [FULL, Sampling(2, 2), Sampling(1, 2)]


def planes(side, seed=0):
    return 40 * torch.randn(2, side, side, generator=torch.Generator().manual_seed(seed))


def test_cosines_are_those_of_opencv_block_by_block():
    plane = planes(24)
    values = cosines(plane)
    assert values.shape == (2, 3, 3, 8, 8)
    expected = cv2.dct(plane[1, 8:16, 16:24].numpy())
    assert_close(values[1, 1, 2], torch.from_numpy(expected), rtol=1e-4)
    assert_close(of_cosines(values), plane, rtol=1e-5)
    assert_close(values.square().sum(), plane.square().sum())


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_what_a_decoder_enlarged_is_found_again(sampling):
    samples = planes(32)[:, :: sampling.down, :: sampling.right]
    assert_close(decoded(enlarged(samples, sampling), sampling), samples, rtol=1e-4)
    even = torch.full_like(samples, 7.0)
    assert_close(means(enlarged(even, sampling), sampling), even)


def test_enlarging_is_that_of_a_decoder():
    """Of an image whose colours alone change: libjpeg interpolates them in levels, and rounds."""
    blue = np.zeros([32, 32, 3], np.uint8)
    blue[...] = 128
    blue[8:24, 8:20, 0] = 160  # OpenCV's first channel is blue
    coded = cv2.imencode(".jpg", blue, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    plane = torch.from_numpy(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2YCrCb)[..., 2])
    plane = plane.float()[None] - 128
    again = enlarged(decoded(plane, Sampling(2, 2)), Sampling(2, 2))
    assert (again - plane).abs().max() < 2.5, "rounded thrice"
    smooth = enlarged(means(plane, Sampling(2, 2)), Sampling(2, 2))
    assert (smooth - plane).square().mean() > 4 * (again - plane).square().mean()


@pytest.mark.parametrize(("side", "expected"), [(8, (True, False, False)), (16, (True,) * 3), (20, (False,) * 3)])
def test_planes_of_whole_blocks_fit(side, expected):
    assert tuple(are_whole_blocks(side, sampling) for sampling in SAMPLINGS) == expected
