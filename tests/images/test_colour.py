"""Colours as JPEG has them are those of OpenCV, and come back."""

import cv2
import numpy as np
import pytest
import torch

from images.colour import from_planes, to_planes
from tests.support.tolerance import assert_close


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back(channels):
    images = torch.rand(2, channels, 5, 7) * 2 - 1
    assert_close(from_planes(to_planes(images)), images)


def test_planes_are_those_of_opencv():
    """Which orders them Y, Cr, Cb, and has the differences of the range 0 to 1 around a half."""
    images = torch.rand(1, 3, 6, 4) * 2 - 1
    pixels = ((images[0].permute(1, 2, 0) + 1) / 2).numpy()
    y, cr, cb = np.moveaxis(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb), 2, 0)
    expected = np.stack([255 * y - 128, 255 * (cb - 0.5), 255 * (cr - 0.5)])
    assert np.abs(to_planes(images)[0].numpy() - expected).max() < 0.1


def test_gray_has_no_differences():
    gray = torch.rand(1, 1, 4, 4) * 2 - 1
    planes = to_planes(gray.expand(-1, 3, -1, -1))
    assert_close(planes[:, :1], to_planes(gray))
    assert planes[:, 1:].abs().max() < 1e-3
