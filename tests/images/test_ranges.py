"""Conversions between [-1, 1], 0..255 and uint8."""

import numpy as np
import pytest
import torch

from images.ranges import from_levels, round_levels, to_levels, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS.float()])
def test_levels_span_minus_one_to_one(levels):
    images = from_levels(levels)
    assert images.dtype == torch.float32
    assert images[0] == -1 and images[255] == 1
    assert torch.equal(images, levels.float() / 127.5 - 1)


@pytest.mark.parametrize("shift_first", [False, True])
def test_ends_are_exact_both_ways(shift_first):
    levels = to_levels(torch.tensor([-1.0, 0.0, 1.0]), shift_first)
    assert levels.tolist() == [0.0, 127.5, 255.0]


@pytest.mark.parametrize("shift_first", [False, True])
def test_all_levels_survive_the_round_trip(shift_first):
    assert torch.equal(round_levels(to_levels(from_levels(LEVELS), shift_first)), LEVELS)


def test_orders_of_scaling_and_shifting_are_kept_apart():
    images = torch.linspace(-1, 1, 9999)
    assert torch.equal(to_levels(images), images * 127.5 + 127.5)
    assert torch.equal(to_levels(images, shift_first=True), (images + 1) * 127.5)
    assert not torch.equal(to_levels(images), to_levels(images, shift_first=True))


def test_floats_keep_their_type_and_what_lies_outside():
    for dtype in (torch.float64, torch.bfloat16):
        assert from_levels(LEVELS.to(dtype)).dtype == to_levels(LEVELS.to(dtype)).dtype == dtype
    assert to_levels(torch.tensor([-3.0, 3.0])).tolist() == [-255.0, 510.0]


def test_rounding_goes_to_the_nearest_then_clips():
    levels = torch.tensor([-7.0, -0.4, 0.5, 1.5, 2.51, 254.6, 255.4, 300.0])
    assert round_levels(levels).tolist() == [0, 0, 0, 2, 3, 255, 255, 255]


def test_arrays_have_channels_last_and_are_clipped():
    images = from_levels(torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator()))
    pixels = to_uint8(images)
    assert pixels.dtype == np.uint8 and pixels.shape == (2, 4, 5, 3)
    assert np.array_equal(from_levels(torch.from_numpy(pixels)).permute(0, 3, 1, 2), images)
    beyond = np.clip(np.rint(to_levels(images * 3).numpy()), 0, 255)
    assert np.array_equal(to_uint8(images * 3), beyond.transpose(0, 2, 3, 1))


def test_arrays_of_half_precision_are_rounded_in_float32():
    images = from_levels(LEVELS).to(torch.bfloat16).view(1, 1, 16, 16)
    assert np.array_equal(to_uint8(images), to_uint8(images.float()))
