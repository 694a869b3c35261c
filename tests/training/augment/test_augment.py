"""Augmentation equals the reference numbers, does what its names say, and can be differentiated twice."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import UserError
from tests.support.tolerance import assert_close
from torch_utils.ops.grid_sample import grid_sample
from torch_utils.seeding import BatchRandom
from training.augment.adaptive import AdaptiveStrength
from training.augment.color import color_matrix
from training.augment.corruptions import cut_out, equalize
from training.augment.filters import band_matrices
from training.augment.geometry import warp
from training.augment.pipe import PIPES, AugmentPipe, AugmentPipeConfig

# Augmentations that change every image for which their gate is open.
CONTINUOUS = ["xint", "scale", "rotate", "aniso", "xfrac", "brightness", "contrast", "hue", "saturation"]
CONTINUOUS += ["imgfilter", "noise", "cutout"]
INSIDE = (..., slice(8, -8), slice(8, -8))  # what the borders don't reach


def make_pipe(p, **config):
    pipe = AugmentPipe(AugmentPipeConfig(**config))
    pipe.p.fill_(p)
    return pipe


def random_images(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype) * 0.4


def smooth_images(size):
    """A few slow waves, which resampling leaves alone."""
    y, x = torch.meshgrid(*[torch.arange(size) * (math.pi / (size - 1))] * 2, indexing="ij")
    return torch.stack([(x + 0.5 * y).cos(), (x - 1.5 * y).cos(), (2 * x + y).sin()])[None]


def mirrored(positions, size):
    """Pixels that the continued image shows at integer positions, up to 50 beyond its borders."""
    return np.pad(np.arange(size), 50, mode="reflect")[positions + 50]


# Reference numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden(golden, dtype):
    arrays, cases = golden("augment")
    images = torch.tensor(arrays["images"], dtype=dtype)
    for case in cases:
        pipe = AugmentPipe(AugmentPipeConfig(**case["kwargs"]))
        augmented = pipe(images, BatchRandom([0], len(images)), case["debug_percentile"])
        assert augmented.dtype == dtype
        assert_close(augmented, arrays[f"y{case['i']}"], what=str(case))


# Sampling


def grid_and_images():
    images = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    return images, torch.rand(2, 4, 6, 2, dtype=torch.float64) * 2.6 - 1.3  # some of it outside


def test_grid_sample_is_torchs():
    images, grid = grid_and_images()
    direction = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    results = []
    for op in (grid_sample, lambda images, grid: F.grid_sample(images, grid, align_corners=False)):
        sampled = op(images, grid)
        results.append((sampled, *torch.autograd.grad(sampled, images, direction)))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=1e-12)


def test_grid_sample_derivatives():
    images, grid = grid_and_images()
    assert gradcheck(lambda x: grid_sample(x, grid), [images])
    assert gradgradcheck(lambda x: grid_sample(x, grid).sin(), [images], fast_mode=True)


def test_grid_sample_refuses_gradient_of_grid():
    images, grid = grid_and_images()
    with pytest.raises(AssertionError, match="detach"):
        grid_sample(images, grid.requires_grad_())


# Geometry


@settings(max_examples=20)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(-30, 30), st.integers(-30, 30))
def test_warp_by_whole_pixels_moves_the_mirrored_image(height, width, dx, dy):
    images = random_images(1, 2, height, width, dtype=torch.float64)
    lookup = torch.tensor([[[1, 0, dx], [0, 1, dy], [0, 0, 1]]], dtype=torch.float64)
    rows, columns = mirrored(np.arange(height) + dy, height), mirrored(np.arange(width) + dx, width)
    assert_close(warp(images, lookup), images[:, :, rows][..., columns], rtol=1e-9)


def test_xflip_and_rotate90():
    """The wavelet isn't symmetric: turned content comes to lie a tenth of a pixel off, as in the published method."""
    images = smooth_images(48)
    rng = BatchRandom([0], 1)
    assert_close(make_pipe(1, xflip=1)(images, rng, 0.2), images, rtol=0)
    assert_close(make_pipe(1, xflip=1)(images, rng, 0.7)[INSIDE], images.flip(3)[INSIDE], rtol=0.02)
    for quarters in range(4):
        turned = make_pipe(1, rotate90=1)(images, rng, (quarters + 0.5) / 4)
        expected = torch.rot90(images, quarters, (2, 3))
        assert_close(turned[INSIDE], expected[INSIDE], rtol=0.02, what=f"{quarters} quarters")


def test_xint_moves_right_and_down():
    images = random_images(1, 3, 16, 32)
    moved = make_pipe(1, xint=1)(images, BatchRandom([0], 1), 1.0)
    assert_close(moved[:, :, 2:, 4:], images[:, :, :-2, :-4], rtol=1e-5)


def test_scale_enlarges():
    """A wave over an image scaled by 2^(erfinv(2q - 1) * 0.2) is longer by that factor."""
    x = torch.arange(64, dtype=torch.float64) - 31.5
    factor = 2 ** (torch.erfinv(torch.tensor(0.6)).item() * 0.2)
    image = (x * 0.2).cos().expand(1, 1, 64, 64)
    scaled = make_pipe(1, scale=1)(image, BatchRandom([0], 1), 0.8)
    assert_close(scaled[..., 8:-8], (x * (0.2 / factor)).cos().expand(1, 1, 64, 64)[..., 8:-8], rtol=5e-3)


# Colour


def color_case(percentile, channels=3, **config):
    images = random_images(2, channels, 6, 5, dtype=torch.float64)
    augmented = make_pipe(1, **config)(images, BatchRandom([0], 2), percentile)
    return images.numpy(), augmented.numpy(), float(torch.erfinv(torch.tensor(2 * percentile - 1).double()))


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_contrast_lumaflip(channels):
    x, y, normal = color_case(0.7, channels, brightness=1)
    assert_close(y, x + 0.2 * normal, rtol=1e-6)
    x, y, normal = color_case(0.7, channels, contrast=1)
    assert_close(y, x * 2 ** (0.5 * normal), rtol=1e-6)
    x, y, _ = color_case(0.7, channels, lumaflip=1)
    assert_close(y, x - 2 * x.mean(1, keepdims=True), rtol=1e-6)
    x, y, normal = color_case(0.7, channels, brightness=1, contrast=1, lumaflip=1)
    changed = (x + 0.2 * normal) * 2 ** (0.5 * normal)
    assert_close(y, changed - 2 * changed.mean(1, keepdims=True), rtol=1e-6)


def test_saturation_scales_what_is_not_gray():
    x, y, normal = color_case(0.3, saturation=1)
    gray = x.mean(1, keepdims=True)
    assert_close(y, gray + (x - gray) * 2**normal, rtol=1e-6)


def test_hue_turns_about_the_gray_axis():
    x, y, _ = color_case(0.8, hue=1)
    axis, angle = np.full(3, 3**-0.5), (2 * 0.8 - 1) * math.pi
    x, y = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)
    along = axis * (x @ axis)[..., None]
    assert_close(y, along + (x - along) * np.cos(angle) + np.cross(axis, x) * np.sin(angle), rtol=1e-6)
    third = torch.full([1], 2 * math.pi / 3, dtype=torch.float64)
    one = torch.ones_like(third)
    assert_close(color_matrix(one, one, third)[0], torch.eye(3).roll(1, 0), rtol=1e-12)  # red to green to blue


def test_hue_and_saturation_leave_gray_images():
    x, y, _ = color_case(0.8, 1, hue=1, saturation=1)
    assert np.array_equal(x, y)


def test_color_needs_one_or_three_channels():
    with pytest.raises(UserError, match="images have 4 channels.*needs 1 or 3"):
        make_pipe(1, hue=1)(torch.zeros(1, 4, 8, 8), BatchRandom([0], 1))


# Filtering and corruptions


def test_bands_add_up_to_identity_and_separate_tones():
    size = 128
    bands = band_matrices(size, torch.float64, torch.device("cpu"))
    assert_close(bands.sum(0), np.eye(size), rtol=1e-12)
    for band, frequency in enumerate([math.pi / 20, math.pi / 6, 0.38 * math.pi, 0.8 * math.pi]):
        tone = (torch.arange(size, dtype=torch.float64) * frequency).cos()
        power = (bands @ tone)[:, 24:-24].square().mean(1)
        assert power.argmax() == band


def test_equalize_keeps_images_at_unit_gains():
    images = random_images(2, 3, 9, 16, dtype=torch.float64)
    assert_close(equalize(images, torch.ones(2, 4, dtype=torch.float64)), images, rtol=1e-12)
    assert_close(equalize(images, torch.full([2, 4], 3.0, dtype=torch.float64)), 9 * images, rtol=1e-12)


def test_imgfilter_keeps_expected_power():
    """A constant image lies in the lowest band, which is scaled by t / sqrt((10 t^2 + 3) / 13) along each axis."""
    image = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    filtered = make_pipe(1, imgfilter=1, imgfilter_bands=(1, 0, 0, 0))(image, BatchRandom([0], 1), 0.8)
    amplitude = 2 ** torch.erfinv(torch.tensor(0.6)).item()
    assert_close(filtered, image * amplitude**2 / ((10 * amplitude**2 + 3) / 13), rtol=1e-6)


def test_noise_is_half_normal_in_strength_and_white():
    images = torch.zeros(500, 1, 16, 16)
    strengths = make_pipe(1, noise=1)(images, BatchRandom([1], 500)).flatten(1).std(1)
    assert strengths.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.1)
    assert (strengths < 0.6745 * 0.1).float().mean().item() == pytest.approx(0.5, abs=0.07)  # median of |N(0, 1)|


def test_cutout_rectangle():
    images = torch.ones(1, 2, 16, 8)
    expected = images.clone()
    expected[:, :, 2:10, 3:7] = 0
    assert torch.equal(cut_out(images, torch.tensor([[5 / 8, 6 / 16]]), torch.tensor([0.5])), expected)
    assert torch.equal(cut_out(images, torch.tensor([[0.5, 0.5]]), torch.tensor([0.0])), images)


# Gates and draws


def test_zero_p_returns_the_images():
    images = random_images(4, 3, 16, 16)
    assert torch.equal(make_pipe(0, **dataclasses.asdict(PIPES["bgcfnc"]))(images, BatchRandom([0], 4)), images)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_half_of_the_images_change_at_half_p(name):
    count = 1000
    images = random_images(1, 3, 8, 8).expand(count, 3, 8, 8)
    chances = {"imgfilter": 1 - 0.5**4}  # of any of its four bands
    strengths = {"xint_max": 4.0, "cutout_size": 1.0}  # so that an open gate always shows
    changed = (make_pipe(0.5, **{name: 1.0}, **strengths)(images, BatchRandom([2], count)) != images).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(chances.get(name, 0.5), abs=0.06)


@pytest.mark.parametrize(("name", "chance"), [("xflip", 0.25), ("rotate90", 0.375), ("lumaflip", 0.25)])
def test_discrete_choices_include_no_change(name, chance):
    images = random_images(1, 3, 8, 8).expand(1000, 3, 8, 8)
    changed = (make_pipe(0.5, **{name: 1.0})(images, BatchRandom([3], 1000)) != images).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(chance, abs=0.06)


def test_multiplier_scales_p():
    images = torch.zeros(1000, 1, 2, 2)
    changed = make_pipe(0.5, brightness=0.4)(images, BatchRandom([4], 1000))[:, 0, 0, 0] != 0
    assert changed.float().mean().item() == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("pipe", PIPES)
def test_draws_do_not_depend_on_p(pipe):
    states = []
    for p in (0, 0.3, 1):
        rng = BatchRandom([5], 4)
        make_pipe(p, **dataclasses.asdict(PIPES[pipe]))(torch.zeros(4, 3, 8, 8), rng)
        states.append(rng.generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_rows_do_not_depend_on_the_split():
    images = random_images(6, 3, 16, 16)
    pipe = make_pipe(0.4, **dataclasses.asdict(PIPES["bgcfnc"]))
    whole = pipe(images, BatchRandom([6], 6))
    parts = [pipe(images[rows], BatchRandom([6], 6, rows)) for rows in (slice(0, 2), slice(2, 6))]
    assert_close(torch.cat(parts), whole, rtol=1e-6)
    assert torch.equal(pipe(images, BatchRandom([6], 6)), whole)


def test_nothing_but_the_cpu_path_reads_values():
    """Tensors of the meta device have none, so a branch on one, or a copy to the host, would raise."""
    pipe = make_pipe(0.5, **dataclasses.asdict(PIPES["bgcfnc"])).to("meta")
    images = torch.empty(4, 3, 16, 12, device="meta", requires_grad=True)
    augmented = pipe(images, BatchRandom([9], 4))
    ada = AdaptiveStrength(pipe.p, target=0.6, batch_size=4, interval=1)
    ada.observe(augmented)
    ada.step()
    (slope,) = torch.autograd.grad(augmented.sum(), images)
    assert augmented.shape == slope.shape == images.shape


@pytest.mark.parametrize(("shape", "pipe", "p"), [((1, 3, 5, 4), "bgcfnc", 1), ((3, 1, 4, 3), "bgcfnc", 0.2)])
def test_derivatives(shape, pipe, p):
    pipe = make_pipe(p, **dataclasses.asdict(PIPES[pipe]))
    images = random_images(*shape, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: pipe(x, BatchRandom([7], len(x))), [images])
    assert gradgradcheck(lambda x: pipe(x, BatchRandom([7], len(x))).sin(), [images], fast_mode=True)


def test_r1_through_the_pipe_reaches_the_discriminator():
    pipe = make_pipe(0.8, **dataclasses.asdict(PIPES["bgc"]))
    weight = torch.randn(3, 3, 3, 3, requires_grad=True)
    images = random_images(4, 3, 16, 16).requires_grad_()
    logits = F.conv2d(pipe(images, BatchRandom([8], 4)), weight).square().sum()
    (slope,) = torch.autograd.grad(logits, images, create_graph=True)
    (gradient,) = torch.autograd.grad(slope.square().sum(), weight)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"xflip": 2.0}, "xflip is 2.0, must be from 0 to 1"),
        ({"noise_std": -1.0}, "noise_std is -1.0, must be at least 0"),
        ({"imgfilter_bands": (1.0, 1.0)}, "must be four numbers"),
        ({"imgfilter_bands": (1.0, 1.0, 1.0, 3.0)}, "must be four numbers from 0 to 1"),
    ],
)
def test_config_errors(config, message):
    with pytest.raises(UserError, match=message):
        AugmentPipeConfig(**config)


# The adaptive strength


def toy_logits(p):
    """What an overfitting discriminator says of real images: the mean sign is 0.9 - p, in any order."""
    return torch.where(torch.arange(1000) < 500 * (1.9 - p), 1.0, -1.0)[torch.randperm(1000)]


def run_ada(ada, steps):
    for _ in range(steps):
        ada.observe(toy_logits(ada.p.item()).view(10, 100))
        ada.step()


@pytest.mark.parametrize("start", [0.0, 0.9])
def test_ada_reaches_its_target(start):
    pipe = make_pipe(start, xflip=1)
    ada = AdaptiveStrength(pipe.p, target=0.6, batch_size=32, interval=4, kimg=10)
    run_ada(ada, 400)
    assert pipe.p.item() == pytest.approx(0.9 - 0.6, abs=2 * ada.increment)


def test_ada_moves_by_images_over_kimg_every_interval():
    ada = AdaptiveStrength(torch.zeros([]), target=-1.0, batch_size=8, interval=4, kimg=1)
    run_ada(ada, 3)
    assert ada.p == 0
    run_ada(ada, 1)
    assert ada.p.item() == pytest.approx(8 * 4 / 1000)
    run_ada(ada, 4)
    assert ada.p.item() == pytest.approx(2 * 8 * 4 / 1000)


@pytest.mark.parametrize(("target", "bound"), [(-2.0, 1.0), (2.0, 0.0)])
def test_ada_stays_between_zero_and_one(target, bound):
    ada = AdaptiveStrength(torch.tensor(0.5), target, batch_size=64, interval=1, kimg=1)
    run_ada(ada, 20)
    assert ada.p == bound


def test_ada_rests_when_nothing_was_seen():
    ada = AdaptiveStrength(torch.tensor(0.5), target=0.6, batch_size=64, interval=1, kimg=1)
    ada.step()
    assert ada.p == 0.5


def test_ada_adds_up_processes():
    """One process alone would go down; together with the other's signs the mean is above the target."""
    other = torch.tensor([20.0, 20.0])
    ada = AdaptiveStrength(torch.tensor(0.5), 0.6, batch_size=8, interval=1, kimg=1, reduce=lambda seen: seen + other)
    ada.observe(-torch.ones(2))
    ada.step()
    assert ada.p.item() == pytest.approx(0.508)


@pytest.mark.parametrize("before", [6, 8])
def test_ada_resumes_exactly(before):
    def fresh():
        return AdaptiveStrength(torch.tensor(0.25), target=0.6, batch_size=32, interval=4, kimg=10)

    def observe_and_step(ada, seeds):
        for seed in seeds:
            ada.observe(torch.randn(32, generator=torch.Generator().manual_seed(seed)) + 0.8)
            ada.step()

    uninterrupted, first, second = fresh(), fresh(), fresh()
    observe_and_step(uninterrupted, range(50))
    observe_and_step(first, range(before))
    p = second.p
    second.load_state_dict(first.state_dict())
    observe_and_step(first, range(100, 120))  # what is saved doesn't follow
    observe_and_step(second, range(before, 50))
    assert torch.equal(second.p, uninterrupted.p)
    assert second.p is p
    assert all(isinstance(value, torch.Tensor) for value in second.state_dict().values())
