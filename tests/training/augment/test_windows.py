"""Windows: parts of the images, at every place of the grid, that can be differentiated twice."""

import dataclasses

import pytest
import torch

from networks.config import DiscriminatorConfig
from networks.discriminator import Discriminator
from torch_utils.seeding import BatchRandom
from training.augment.windows import random_windows


@pytest.mark.parametrize(("side", "step"), [(8, 8), (8, 1), (16, 8), (16, 1)])
def test_a_window_is_a_part_of_its_own_image_at_a_place_of_the_grid(side, step):
    images = torch.randn(3, 2, 16, 16)
    windows = random_windows(images, side, step, BatchRandom((1, 2), 3))
    assert windows.shape == (3, 2, side, side)
    for image, window in zip(images, windows, strict=True):
        parts = image.unfold(1, side, step).unfold(2, side, step)  # [C, places, places, side, side]
        assert ((parts == window[:, None, None]).flatten(3).all(3).all(0)).sum() == 1


def test_all_places_are_drawn():
    coordinates = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")).expand(
        400, -1, -1, -1
    )
    corners = random_windows(coordinates, 8, 4, BatchRandom((3,), 400))[:, :, 0, 0]
    assert {tuple(corner) for corner in corners.tolist()} == {
        (down, right) for down in (0, 4, 8) for right in (0, 4, 8)
    }


def test_each_process_draws_the_windows_of_its_rows():
    images = torch.randn(4, 3, 16, 16)
    whole = random_windows(images, 8, 1, BatchRandom((5,), 4))
    part = random_windows(images[1:3], 8, 1, BatchRandom((5,), 4, slice(1, 3)))
    assert torch.equal(whole[1:3], part)


def test_gradients_reach_the_pixels_that_are_seen():
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    windows = random_windows(images, 8, 8, BatchRandom((6,), 2))
    (gradient,) = torch.autograd.grad(windows.pow(3).sum(), images, create_graph=True)
    assert torch.equal((gradient != 0).sum((1, 2, 3)), torch.tensor([3 * 64, 3 * 64]))
    (second,) = torch.autograd.grad(gradient.sum(), images)
    assert torch.allclose(second[gradient != 0], 6 * images.detach()[gradient != 0])


@pytest.mark.parametrize("window", [8, 16, 32])
@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_a_discriminator_of_windows_has_the_first_blocks_of_one_of_whole_images(window, architecture):
    """And the last layers, of the same widths, which grow to the end here."""
    config = DiscriminatorConfig(channel_base=256, channel_max=64, architecture=architecture, grid=8)
    whole = Discriminator(config, 0, 32, 3)
    D = Discriminator(dataclasses.replace(config, window=window), 0, 32, 3)
    assert D.block_resolutions == whole.block_resolutions[: len(D.block_resolutions)]
    assert D.b4.conv.weight.shape == whole.b4.conv.weight.shape
    assert D(torch.randn(4, 3, window, window)).shape == (4, 1)
