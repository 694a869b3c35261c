"""Degradations: the contract of every primitive and recipe, the filters' identities, the mixture, the command."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from degradations import Applied, apply_primitive, degrade, plan, primitive_names, recipe_names
from degradations.__main__ import main
from degradations.kernel_sizes import LARGEST_MEDIAN, draw_odd_size, draw_size, size_range, taps_for
from degradations.mixing import FAMILIES, family_members
from degradations.primitive import _REGISTRY as PRIMITIVES
from degradations.primitives.motion_blur import line_kernel
from degradations.statistics import drawn_ranges, plan_shares
from dnnlib.errors import UserError
from images.photos import read_gray_or_colour
from images.sheets import save_png
from tests.support.processes import finish, start

THINGS = [("primitive", name) for name in primitive_names()] + [("recipe", name) for name in recipe_names()]
FLAGS = {"primitive": "primitive", "recipe": "degradation"}  # of the command, by kind
NOT_RANDOM = {("recipe", "super_resolution")}
BLURS = {
    "box_blur": {"size": 7.5},
    "gaussian_blur": {"size": 9.0, "sigma": 1.7},
    "median_blur": {"size": 5},
    "motion_blur": {"size": 9.0, "angle": 30.0},
}


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(height: int = 48, width: int = 48, channels: int = 3) -> np.ndarray:
    """Draw a scene uint8 [H, W, C]: a coloured ramp, a disc and some texture."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    disc = ((x - 0.45) ** 2 + (y - 0.5) ** 2 < 0.06) * 90.0
    texture = seeded(99).normal(0, 8, (height, width))
    planes = [60 + 90 * x + disc, 80 + 60 * y - disc / 2, 150 - 70 * x * y + disc / 3]
    return np.stack([plane + texture for plane in planes[:channels]], axis=2).clip(0, 255).astype(np.uint8)


def run(thing: tuple[str, str], image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    kind, name = thing
    if kind == "recipe":
        return degrade(image, name, rng)
    degraded, applied = apply_primitive(image, name, rng)
    return degraded, [applied]


def parameters_of(name: str, width: int, count: int) -> list[dict]:
    rng = seeded(1)
    return [PRIMITIVES.get(name).sample(rng, width) for _ in range(count)]


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


# The contract that every file meets on arrival.


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
@pytest.mark.parametrize("shape", [(48, 48, 3), (33, 47, 1), (19, 64, 3), (1, 1, 3), (2, 5, 1), (16, 16, 3)], ids=str)
def test_shape_and_type_are_kept_and_the_input_too(thing, shape):
    image = photo(*shape)
    image.setflags(write=False)
    before = image.copy()
    for seed in range(8):
        degraded, record = run(thing, image, seeded(seed))
        assert degraded.shape == shape and degraded.dtype == np.uint8
        assert degraded.flags.c_contiguous and degraded.flags.writeable and not np.shares_memory(degraded, image)
        assert record and all(isinstance(applied, Applied) for applied in record)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
def test_equal_seeds_agree_whatever_ran_before(thing):
    image = photo()
    first = [run(thing, image, seeded(seed)) for seed in range(6)]
    np.random.seed(5)
    cv2.setRNGSeed(7)
    for other in THINGS:
        run(other, photo(40, 30), seeded(1234))
    for seed in reversed(range(6)):
        degraded, record = run(thing, image, seeded(seed))
        assert np.array_equal(degraded, first[seed][0]) and record == first[seed][1]


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
def test_unequal_seeds_differ(thing):
    results = {run(thing, photo(64, 64), seeded(seed))[0].tobytes() for seed in range(12)}
    assert len(results) == 1 if thing in NOT_RANDOM else len(results) > 1


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
def test_the_image_changes(thing):
    image = photo(64, 64)
    assert all(not np.array_equal(run(thing, image, seeded(seed))[0], image) for seed in range(10))


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
def test_record_survives_json_and_names_what_exists(thing):
    for seed in range(6):
        for applied in run(thing, photo(), seeded(seed))[1]:
            entry = json.loads(json.dumps(applied.to_json()))
            assert Applied(**entry) == applied
            assert applied.name in family_members(applied.family) and applied.family in FAMILIES


@pytest.mark.parametrize("name", primitive_names())
def test_recorded_parameters_replay(name):
    image = photo()
    for seed in range(6):
        degraded, applied = apply_primitive(image, name, seeded(seed))
        rng = seeded(seed)
        assert PRIMITIVES.get(name).sample(rng, 48) == applied.parameters
        again, same = apply_primitive(image, name, rng, **applied.parameters)
        assert np.array_equal(again, degraded) and same == applied


@pytest.mark.parametrize("recipe", recipe_names())
def test_recorded_recipe_replays_where_no_noise_is_involved(recipe):
    image, replayed = photo(), 0
    for seed in range(12):
        degraded, record = degrade(image, recipe, seeded(seed))
        if any(applied.family == "noise" for applied in record):
            continue
        again = image
        for applied in record:
            again, _ = apply_primitive(again, applied.name, seeded(), **applied.parameters)
        assert np.array_equal(again, degraded)
        replayed += 1
    assert replayed > 0 or recipe == "noise"


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
@pytest.mark.parametrize("view", [lambda a: a[:, ::-1], lambda a: a.transpose(1, 0, 2), lambda a: a[::2, 1::2]])
def test_views_of_memory_are_taken_like_their_copies(thing, view):
    image = view(photo(40, 40))
    assert np.array_equal(run(thing, image, seeded(2))[0], run(thing, image.copy(), seeded(2))[0])


def apply(name, **parameters):
    return lambda: apply_primitive(photo(), name, seeded(), **parameters)


OTHER_IMAGES = {
    "float": np.zeros((8, 8, 3), np.float32),
    "no channels": np.zeros((8, 8), np.uint8),
    "CHW": np.zeros((3, 8, 8), np.uint8),
    "RGBA": np.zeros((8, 8, 4), np.uint8),
    "empty": np.zeros((0, 8, 3), np.uint8),
    "list": [[[0]]],
}
LONG = np.zeros((1, 65_501, 1), np.uint8)
REFUSALS = [
    (UserError, "65500", lambda: degrade(LONG, "jpeg", seeded())),
    (UserError, "did you mean 'mixture'", lambda: degrade(photo(), "mixtur", seeded())),
    (UserError, "did you mean 'box_blur'", apply("box_blurr")),
    (AssertionError, "Generator", lambda: degrade(photo(), "mixture", np.random.RandomState(0))),
    (AssertionError, "not|negative", apply("gaussian_noise", variance=-1)),
    (AssertionError, "not|negative", apply("gaussian_blur", size=49, sigma=2)),
    (AssertionError, "not|negative", apply("gaussian_blur", size=5, sigma=0)),
    (AssertionError, "not|negative", apply("box_blur", size=0.5)),
    (AssertionError, "not|negative", apply("motion_blur", size=480, angle=0)),
    (AssertionError, "not|negative", apply("median_blur", size=4)),
    (AssertionError, "not|negative", apply("downscale", factor=0, interpolation="area")),
    (AssertionError, "not|negative", apply("jpeg", quality=101)),
]


@pytest.mark.parametrize(("error", "words", "call"), REFUSALS)
def test_refusals(error, words, call):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("kind", OTHER_IMAGES)
def test_other_images_are_refused(kind):
    with pytest.raises(AssertionError, match="image"):
        degrade(OTHER_IMAGES[kind], "mixture", seeded())
    with pytest.raises(AssertionError, match="image"):
        apply_primitive(OTHER_IMAGES[kind], "jpeg", seeded())


# Parameters and kernel sizes.


@pytest.mark.parametrize(
    ("name", "key", "low", "high"),
    [("gaussian_noise", "variance", 10, 650), ("downscale", "factor", 0.1, 0.9), ("jpeg", "quality", 30, 50)],
)
def test_ranges_are_filled_at_every_width(name, key, low, high):
    for width in (16, 64, 512):
        values = [drawn[key] for drawn in parameters_of(name, width, 500)]
        margin = 0.03 * (high - low)
        assert low <= min(values) < low + margin and high - margin < max(values) <= high


@pytest.mark.parametrize("name", sorted(BLURS))
def test_blurs_have_3_to_31_px_at_width_256(name):
    sizes = [drawn["size"] for drawn in parameters_of(name, 256, 500)]
    assert 3 <= min(sizes) <= 4 and 30 <= max(sizes) <= 31
    assert np.mean(sizes) == pytest.approx(17, abs=1.2)


@pytest.mark.parametrize("width", [128, 256, 512, 1024])
def test_sizes_scale_with_the_width(width):
    scale = width / 256
    assert size_range(width) == (3 * scale, 31 * scale)
    for seed in range(20):  # one random state is one degradation, at any width
        assert draw_size(seeded(seed), width) == pytest.approx(scale * draw_size(seeded(seed), 256), abs=0.02 * scale)


def test_small_images_keep_small_blurs():
    assert size_range(64) == (1.5, 7.75)
    assert {draw_odd_size(seeded(seed), 64) for seed in range(60)} == {3, 5, 7}
    assert {draw_odd_size(seeded(seed), 16) for seed in range(20)} == {3}
    assert len({draw_size(seeded(seed), 64) for seed in range(60)}) > 40
    image = photo(64, 64)
    for name in ("box_blur", "gaussian_blur", "motion_blur"):
        smallest = {"size": 1.5} | ({"sigma": 0.575} if name == "gaussian_blur" else {})
        smallest |= {"angle": 90.0} if name == "motion_blur" else {}
        weak, _ = apply_primitive(image, name, seeded(), **smallest)
        strong, _ = apply_primitive(image, name, seeded(), **BLURS[name])
        assert 0.5 < error(weak, image) < 0.8 * error(strong, image)


@given(width=st.integers(1, 5000), seed=st.integers(0, 2**32))
@settings(max_examples=200)
def test_kernels_never_outgrow_the_image(width, seed):
    low, high = size_range(width)
    assert 1 <= low <= high <= width
    assert low <= draw_size(seeded(seed), width) <= high
    odd = draw_odd_size(seeded(seed), width)
    assert odd % 2 == 1 and odd <= min(width, LARGEST_MEDIAN)
    assert odd <= max(high, 3) and odd >= min(low, LARGEST_MEDIAN)


def test_the_shorter_side_sets_the_kernel():
    for seed in range(10):
        tall = apply_primitive(photo(80, 40), "box_blur", seeded(seed))[1]
        assert tall == apply_primitive(photo(40, 40), "box_blur", seeded(seed))[1]


# What each primitive does.


@pytest.mark.parametrize("variance", [10.0, 150.0, 650.0])
def test_noise_has_the_variance_that_it_says(variance):
    gray = np.full((256, 256, 3), 128, np.uint8)
    noise = apply_primitive(gray, "gaussian_noise", seeded(3), variance=variance)[0].astype(float) - 128
    assert noise.var() == pytest.approx(variance + 1 / 12, rel=0.02)  # 1/12 comes from rounding
    assert abs(noise.mean()) < 4 * (variance / noise.size) ** 0.5
    neighbours = [noise[:, 1:] * noise[:, :-1], noise[1:] * noise[:-1], noise[..., 1:] * noise[..., :-1]]
    assert all(abs(product.mean()) < 5 * variance / product.size**0.5 for product in neighbours)


def test_noise_of_variance_zero_changes_nothing():
    assert np.array_equal(apply_primitive(photo(), "gaussian_noise", seeded(), variance=0)[0], photo())


def test_noise_clips_at_black_and_white():
    for level in (0, 255):
        flat = np.full((64, 64, 1), level, np.uint8)
        noisy = apply_primitive(flat, "gaussian_noise", seeded(), variance=650)[0]
        assert 0.45 < (noisy == level).mean() < 0.55 and np.abs(noisy.astype(int) - level).max() < 150


@pytest.mark.parametrize("name", sorted(BLURS))
def test_blur_keeps_constant_images(name):
    for level in (0, 1, 77, 254, 255):
        flat = np.full((40, 41, 3), level, np.uint8)
        assert np.array_equal(apply_primitive(flat, name, seeded(), **BLURS[name])[0], flat)


@pytest.mark.parametrize("name", ["box_blur", "gaussian_blur", "motion_blur"])
def test_linear_blur_keeps_the_mean_and_lowers_the_variance(name):
    image = seeded(4).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    blurred, _ = apply_primitive(image, name, seeded(), **BLURS[name])
    assert blurred.mean() == pytest.approx(image.mean(), abs=0.3)
    assert blurred.std() < 0.5 * image.std()


@pytest.mark.parametrize("name", ["box_blur", "gaussian_blur", "motion_blur"])
def test_linear_blur_stays_in_place(name):
    image = np.zeros((41, 41, 1), np.uint8)
    image[20, 20] = 255
    image = cv2.GaussianBlur(image, (5, 5), 1)[:, :, None] * np.uint8(5)  # bright enough to survive rounding
    blurred, _ = apply_primitive(image, name, seeded(), **BLURS[name])
    assert np.array_equal(blurred, blurred[::-1, ::-1])


def test_box_of_odd_size_is_the_mean_of_the_window():
    image = photo(30, 30)
    blurred, _ = apply_primitive(image, "box_blur", seeded(), size=5)
    windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5), axis=(0, 1))  # [H-4, W-4, C, 5, 5]
    assert np.abs(blurred[2:-2, 2:-2] - windows.mean(axis=(3, 4))).max() <= 0.51


def test_box_of_real_size_lies_between_its_odd_neighbours():
    step = np.repeat(np.array([0, 255], np.uint8), 20)[None, :, None].repeat(40, axis=0)  # an edge [40, 40, 1]
    spread = [int((np.diff(blur_step(step, size)) > 0).sum()) for size in (3, 4, 5)]
    assert spread == [3, 5, 5]
    assert blur_step(step, 4)[20] == pytest.approx(255 * (0.5 + 0.5 / 4), abs=1)  # half a pixel of four past the middle


def blur_step(step: np.ndarray, size: float) -> np.ndarray:
    return apply_primitive(step, "box_blur", seeded(), size=size)[0][20, :, 0].astype(int)


@pytest.mark.parametrize("name", ["box_blur", "motion_blur"])
def test_size_one_changes_nothing(name):
    parameters = {"size": 1} | ({"angle": 0} if name == "motion_blur" else {})
    assert np.array_equal(apply_primitive(photo(), name, seeded(), **parameters)[0], photo())


def test_gaussian_blur_widens_an_edge_by_sigma():
    step = np.repeat(np.array([0, 250], np.uint8), 40)[None, :, None].repeat(80, axis=0)
    edge = apply_primitive(step, "gaussian_blur", seeded(), size=25, sigma=4.0)[0][40, :, 0] / 250
    slope, where = np.diff(edge), np.arange(79) + 0.5
    assert (slope * where**2).sum() - (slope * where).sum() ** 2 == pytest.approx(16, rel=0.05)


def test_median_removes_an_isolated_pixel_and_keeps_an_edge():
    edge = np.repeat(np.array([40, 200], np.uint8), 16)[None, :, None].repeat(32, axis=0)
    spotted = edge.copy()
    spotted[10, 5], spotted[20, 25] = 255, 0
    assert np.array_equal(apply_primitive(spotted, "median_blur", seeded(), size=3)[0], edge)


def test_median_of_a_large_photo_stays_within_its_bound():
    flat = np.full((2400, 2400, 1), 9, np.uint8)
    rng = seeded(0)
    sizes = [draw_odd_size(rng, 8000) for _ in range(50)]
    assert max(sizes) <= LARGEST_MEDIAN
    assert np.array_equal(apply_primitive(flat, "median_blur", rng, size=LARGEST_MEDIAN)[0], flat)


@given(size=st.floats(1, 60), angle=st.floats(0, 180))
@settings(max_examples=100)
def test_motion_kernel_is_a_centred_line(size, angle):
    kernel = line_kernel(size, angle)
    taps = taps_for(size)
    assert kernel.shape == (taps, taps) and taps % 2 == 1 and size <= taps <= size + 2
    assert kernel.min() >= 0 and kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(kernel, kernel[::-1, ::-1])
    rows, columns = np.nonzero(kernel)
    x, y = columns - taps // 2, taps // 2 - rows
    distance = np.abs(y * np.cos(np.deg2rad(angle)) - x * np.sin(np.deg2rad(angle)))
    assert distance.max() <= 0.5**0.5 + 1e-6  # the line crosses every pixel that has a weight


def test_motion_goes_along_its_angle_counter_clockwise():
    assert np.allclose(line_kernel(3, 0), np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3)
    assert np.allclose(line_kernel(3, 90), np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]]) / 3)
    rising = line_kernel(9, 45)
    assert rising[0:3, 6:9].sum() > 0.1 and rising[0:3, 0:3].sum() == 0
    stripes = np.repeat(np.array([0, 200], np.uint8), 2)[None, :, None].repeat(32, axis=0).repeat(8, axis=1)
    assert np.array_equal(apply_primitive(stripes, "motion_blur", seeded(), size=9, angle=90)[0], stripes)


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
def test_downscaling_loses_high_frequencies_and_keeps_low_ones(interpolation):
    wave = np.sin(np.arange(64) * 2 * np.pi / 64)
    low = (128 + 100 * wave)[None, :, None].repeat(64, axis=0).astype(np.uint8)
    noise = seeded(1).integers(0, 256, (64, 64, 1), dtype=np.uint8)
    arguments = {"factor": 0.25, "interpolation": interpolation}
    small_low, small_noise = (apply_primitive(image, "downscale", seeded(), **arguments)[0] for image in (low, noise))
    assert error(small_low, low) < 3
    kept = np.abs(np.fft.fft2(small_noise[:, :, 0]))[24:40, 24:40].sum()
    assert kept < 0.1 * np.abs(np.fft.fft2(noise[:, :, 0]))[24:40, 24:40].sum()


def test_downscaling_more_loses_more_and_by_one_nothing():
    image = photo(64, 64)
    for interpolation in ("area", "bilinear", "nearest"):
        errors = [
            error(apply_primitive(image, "downscale", seeded(), factor=f, interpolation=interpolation)[0], image)
            for f in (1, 0.75, 0.4, 0.1)
        ]
        assert errors[0] == 0 and errors == sorted(errors)


def test_lower_jpeg_quality_has_a_larger_error():
    image = photo(64, 64)
    errors = [error(apply_primitive(image, "jpeg", seeded(), quality=q)[0], image) for q in (98, 75, 50, 30, 10)]
    assert errors == sorted(errors) and errors[0] < 4 < errors[-1]


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (0, 200, 30)])
def test_jpeg_and_every_recipe_keep_pure_colours(colour):
    flat = np.full((32, 32, 3), colour, np.uint8)
    assert np.abs(apply_primitive(flat, "jpeg", seeded(), quality=50)[0].astype(int) - colour).max() <= 4
    for recipe in recipe_names():
        mean = degrade(flat, recipe, seeded(1))[0].mean(axis=(0, 1))
        assert np.abs(mean - colour).max() < 20  # noise is clipped at the ends of the range


def test_jpeg_keeps_red_texture_and_blue_texture_as_true_colour_says():
    # Luma holds 30% of red and 11% of blue, and chroma loses resolution: fine red texture survives better than blue.
    checker = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    survival = []
    for channel in (0, 2):
        image = np.zeros((64, 64, 3), np.uint8)
        image[:, :, channel] = checker
        survival.append(apply_primitive(image, "jpeg", seeded(), quality=90)[0][:, :, channel].std())
    assert survival[0] > 1.5 * survival[1]


# Recipes.


def families_of(recipe: str, count: int) -> list[tuple[str, ...]]:
    rng, image = seeded(11), photo(8, 8, 1)
    return [tuple(applied.family for applied in degrade(image, recipe, rng)[1]) for _ in range(count)]


@pytest.mark.parametrize(("recipe", "chance", "sizes"), [("mixture", 2 / 3, [1, 2, 1]), ("multiple", 5 / 6, [0, 1, 1])])
def test_mixture_frequencies(recipe, chance, sizes):
    count = 3000
    drawn = families_of(recipe, count)
    for family in FAMILIES:  # mixture: 1/3 as the certain one + 2/3 * 1/2
        assert sum(family in families for families in drawn) / count == pytest.approx(chance, abs=0.04)
    lengths = Counter(len(families) for families in drawn)
    expected = np.array(sizes) / sum(sizes)
    assert [lengths[n] / count for n in (1, 2, 3)] == pytest.approx(expected.tolist(), abs=0.04)
    assert all(list(families) == [f for f in FAMILIES if f in families] for families in drawn)


def test_mixture_draws_all_primitives_of_a_family_alike():
    rng, image = seeded(12), photo(8, 8, 1)
    names = Counter(applied.name for _ in range(3000) for applied in degrade(image, "mixture", rng)[1])
    assert set(names) == set(primitive_names())
    for family in FAMILIES:
        members = family_members(family)
        for name in members:
            assert names[name] / 3000 == pytest.approx(2 / 3 / len(members), abs=0.04)


@pytest.mark.parametrize("recipe", ["balanced", "balanced_small"])
def test_balanced_recipes_have_half_of_their_images_with_one_kind_alone(recipe):
    rng, image, count = seeded(13), photo(8, 8, 1), 3000
    records = [degrade(image, recipe, rng)[1] for _ in range(count)]
    singles = [record[0] for record in records if len(record) == 1]
    assert len(singles) / count == pytest.approx(1 / 2, abs=0.04)
    kinds = Counter("blur" if single.family == "blur" else single.name for single in singles)
    assert set(kinds) == {"blur", "gaussian_noise", "downscale", "jpeg"}
    assert all(number / len(singles) == pytest.approx(1 / 4, abs=0.04) for number in kinds.values())


@pytest.mark.parametrize(("recipe", "small"), [("mixture", False), ("mixture_small", True), ("balanced_small", True)])
def test_recipes_of_small_images_have_milder_ranges(recipe, small):
    drawn = [applied for seed in range(600) for applied in plan(recipe, seeded(seed), 64)]
    variances = [applied.parameters["variance"] for applied in drawn if applied.name == "gaussian_noise"]
    factors = [applied.parameters["factor"] for applied in drawn if applied.name == "downscale"]
    assert 10 <= min(variances) < 40 and (260 < max(variances) <= 300 if small else 600 < max(variances) <= 650)
    assert (0.25 <= min(factors) < 0.3 if small else 0.1 <= min(factors) < 0.15) and 0.85 < max(factors) <= 0.9


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("blur", {"box_blur", "gaussian_blur", "median_blur", "motion_blur"}),
        ("noise", {"gaussian_noise"}),
        ("jpeg", {"jpeg"}),
        ("super_resolution", {"downscale"}),
    ],
)
def test_tracks_apply_one_primitive_of_their_kind(recipe, expected):
    records = [degrade(photo(16, 16), recipe, seeded(seed))[1] for seed in range(60)]
    assert all(len(record) == 1 for record in records)
    assert {record[0].name for record in records} == expected


def parameters_drawn(recipe, width, name, parameter):
    drawn = [applied for seed in range(900) for applied in plan(recipe, seeded(seed), width)]
    return [applied.parameters[parameter] for applied in drawn if applied.name == name]


@pytest.mark.parametrize(
    ("width", "box", "gaussian"), [(128, (1.5, 12.5), 15.5), (256, (3, 25), 31), (512, (3, 25), 31)]
)
def test_the_released_mixture_has_its_kernels_and_single_pixels(width, box, gaussian):
    """Box filters of 3 to 25 px, kernels that grow no further beyond 256 px, nearest neighbours."""
    sizes = parameters_drawn("mixture_released", width, "box_blur", "size")
    assert box[0] <= min(sizes) < box[0] + 1 and box[1] - 1 < max(sizes) <= box[1]
    sizes = parameters_drawn("mixture_released", width, "gaussian_blur", "size")
    assert gaussian - 1 < max(sizes) <= gaussian
    assert set(parameters_drawn("mixture_released", width, "downscale", "interpolation")) == {"nearest"}
    assert set(parameters_drawn("mixture", width, "downscale", "interpolation")) == {"area", "bilinear"}


def test_nearest_downscaling_takes_single_pixels():
    image = photo(64, 64)
    coarse = apply_primitive(image, "downscale", seeded(), factor=0.25, interpolation="nearest")[0]
    assert np.array_equal(coarse, image[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))


def test_slight_degradations_are_alone_and_milder_than_the_tracks():
    image = cv2.resize(photo(40, 40), (256, 256), interpolation=cv2.INTER_CUBIC)
    records = [degrade(image, "slight", seeded(seed)) for seed in range(40)]
    assert all(len(record) == 1 for _, record in records)
    assert {record[0].family for _, record in records} == set(FAMILIES)
    for track in ("blur", "noise", "jpeg"):
        mild = [error(found, image) for found, [applied] in records if track in (applied.family, applied.name)]
        full = [error(degrade(image, track, seeded(seed))[0], image) for seed in range(10)]
        assert np.mean(mild) < 0.75 * np.mean(full)


def test_shares_of_plans_are_those_of_the_recipes():
    shares = plan_shares("multiple", 64)
    assert "1 of them" not in shares and shares["3 of them"] == pytest.approx(1 / 2, abs=0.03)
    mixture = plan_shares("mixture", 64)
    assert mixture["blur"] == pytest.approx(2 / 3, abs=0.03)
    assert mixture["1 of them"] == pytest.approx(1 / 4, abs=0.03)
    alone = [mixture[f"{family} alone"] for family in FAMILIES]
    assert sum(alone) == pytest.approx(mixture["1 of them"])
    assert plan_shares("jpeg", 64) == dict.fromkeys(
        ("1 of them", "compression", "compression alone", "compression: jpeg"), 1.0
    )
    assert drawn_ranges("super_resolution", 64) == {"downscale.factor": (0.25, 0.25)}


def test_statistics_by_command():
    result = CliRunner().invoke(main, ["--statistics", "--degradation=jpeg", "--width=64"])
    assert result.exit_code == 0 and "compression: jpeg                100.0 %" in result.output
    assert "jpeg.quality                    30 to 50" in result.output
    refusals = {
        ("--statistics", "a.png"): "leave out a.png",
        ("--statistics", "-o", "a.png"): "--output has no effect with --statistics",
        ("--statistics", "--degradation=mixtrue"): "did you mean 'mixture'",
        ("a.png", "--width=3"): "--width has no effect without --statistics",
        (): "no photo is given; write PHOTO, or --statistics",
    }
    for arguments, sentence in refusals.items():
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 1 and sentence in result.stderr


def test_super_resolution_is_bilinear_by_exactly_four():
    image = photo(64, 64)
    rng = seeded(0)
    degraded, record = degrade(image, "super_resolution", rng)
    assert record[0].parameters == {"factor": 0.25, "interpolation": "bilinear"}
    assert rng.random() == seeded(0).random()
    blocks = image.reshape(16, 4, 16, 4, 3)[:, 1:3, :, 1:3].mean(axis=(1, 3))  # bilinear reads the middle four of 16
    small = np.rint(blocks).astype(np.float32)
    enlarged = cv2.resize(small, (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(degraded - enlarged).max() <= 1.5


def test_one_thread_and_no_torch():
    code = "import sys, cv2, degradations; print(cv2.getNumThreads(), 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository())
    assert result.stdout.split() == ["1", "False"]


def repository() -> Path:
    return Path(__file__).resolve().parents[2]


# The command.


@pytest.fixture
def photo_file(tmp_path):
    path = tmp_path / "Katze é 猫.png"
    save_png(path, photo(40, 52))
    return path


def command(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("thing", THINGS, ids="-".join)
def test_command_writes_what_the_library_gives(thing, photo_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind, name = thing
    code, printed = command(photo_file, f"--{FLAGS[kind]}", name, "--seed", 3)
    report = json.loads(printed)
    expected, record = run(thing, photo(40, 52), seeded(3))
    output = f"{photo_file.stem}-{name}-3.png"  # in the folder where the command runs
    assert code == 0 and np.array_equal(read_gray_or_colour(output), expected)
    assert report == {"output": output, kind: name, "seed": 3, "applied": [a.to_json() for a in record]}


def test_command_defaults_to_the_mixture_and_keeps_gray_photos_gray(tmp_path):
    gray = tmp_path / "gray.png"
    save_png(gray, photo(40, 40, 1))
    output = tmp_path / "out.PNG"
    code, printed = command(gray, "-o", output)
    assert code == 0 and json.loads(printed)["recipe"] == "mixture"
    assert np.array_equal(read_gray_or_colour(output), degrade(photo(40, 40, 1), "mixture", seeded(0))[0])
    assert sorted(os.listdir(tmp_path)) == ["gray.png", "out.PNG"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_command_reads_16_bit_and_transparent_photos(tmp_path, channels):
    path = tmp_path / "deep.png"
    deep = np.full((20, 20, channels), 40_000, np.uint16)
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    image = read_gray_or_colour(path)
    assert image.dtype == np.uint8 and image.shape == (20, 20, min(channels, 3))
    level = 40_000 // 257
    seen = level if channels < 4 else (level * level + 255 * (255 - level)) // 255  # in front of white
    assert np.abs(image.astype(int) - seen).max() <= 1
    assert command(path, "-o", tmp_path / "out.png")[0] == 0


def test_command_reads_colours_in_the_right_order(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(cv2.imencode(".png", np.full((8, 8, 3), (0, 0, 255), np.uint8))[1].tobytes())  # OpenCV's red
    assert (read_gray_or_colour(path) == [255, 0, 0]).all()


def bad_photo(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.png"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        whole = cv2.imencode(".png", photo())[1].tobytes()
        path.write_bytes({"empty": b"", "text": b"not a photo", "cut": whole[:60]}[kind])
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut"])
def test_command_says_in_one_sentence_what_is_wrong_with_a_photo(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = bad_photo(kind, tmp_path)
    code, printed = command(path)
    assert code == 1 and str(path) in printed and printed.count("\n") == 1
    assert not list(tmp_path.glob("*-mixture-*"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--degradation", "mixtur"], "did you mean 'mixture'"),
        (["--degradation", "a/b"], "unknown recipe 'a/b'"),
        (["--degradation", ""], "unknown recipe ''"),
        (["--primitive", "jpg"], "did you mean 'jpeg'"),
        (["--degradation", "blur", "--primitive", "jpeg"], "exclude each other"),
        (["-o", "out.jpg"], "name it out.png"),
        (["-o", "nowhere/out.png"], "cannot write nowhere"),
        (["-o", "folder.png"], "cannot write folder.png"),
        (["-o", "Katze é 猫.png"], "is the photo itself"),
    ],
)
def test_command_says_in_one_sentence_what_is_wrong_with_an_option(arguments, complaint, photo_file, monkeypatch):
    monkeypatch.chdir(photo_file.parent)
    Path("folder.png").mkdir()
    before = photo_file.read_bytes()
    code, printed = command(photo_file.name, *arguments)
    assert code == 1 and complaint in printed and printed.count("\n") == 1
    assert photo_file.read_bytes() == before
    assert sorted(os.listdir()) == sorted(["folder.png", photo_file.name])


def test_command_refuses_a_negative_seed(photo_file):
    assert command(photo_file, "--seed", -1)[0] == 2


def test_module_runs_and_reports_a_damaged_photo_once(tmp_path):
    path = bad_photo("cut", tmp_path)
    code, output, errors = finish(start(["-m", "degradations", path]))
    assert code == 1 and output == ""
    assert errors.startswith(f"Error: {path} cannot be read: it is truncated; ")
    assert errors.count("\n") == 1
