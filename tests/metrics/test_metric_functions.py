"""Metrics as functions: reference numbers, closed forms, slow loops that say the same, and input that cannot do."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from metrics.distances.frechet import Moments, frechet_distance, is_singular, moments
from metrics.distances.inception_score import inception_score
from metrics.distances.manifold import precision_recall
from metrics.distances.path_length import path_length
from metrics.distances.pixels import psnr, ssim
from metrics.distances.polynomial_kernel import kernel_distance, squared_discrepancy
from metrics.distances.rows import blocks
from tests.support.tolerance import assert_close

CPU = torch.device("cpu")


def draw(count: int, dims: int = 6, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    """Draw correlated Gaussian rows, float32 [count, dims]."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(dims, dims)) + 2 * np.eye(dims)
    return (rng.normal(size=(count, dims)) @ mixing + mean).astype(np.float32)


def on_disk(rows: np.ndarray, path) -> np.memmap:
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


def kernel(real, fake, seed=0, **settings):
    return kernel_distance(real, fake, np.random.RandomState(seed), **settings)


SETS = {  # every distance between two sets, by what its sentence calls it
    "the Fréchet distance": lambda real, fake: frechet_distance(moments(fake), moments(real)),
    "the kernel distance": lambda real, fake: kernel(real, fake, subsets=3, subset_size=20),
    "precision and recall with 3 neighbours": precision_recall,
}
MINIMUM = {"the Fréchet distance": 2, "the kernel distance": 2, "precision and recall with 3 neighbours": 4}

# The field's numbers.


def test_reference_numbers(golden):
    arrays, (case,) = golden("metrics")
    real, fake = arrays["real"], arrays["fake"]
    assert frechet_distance(moments(fake), moments(real)) == pytest.approx(case["fid"], rel=1e-9)
    assert kernel(real, fake, subset_size=200) == pytest.approx(case["kid_100subsets_of_200"], rel=1e-6)
    assert precision_recall(real, fake) == pytest.approx((case["precision_k3"], case["recall_k3"]), abs=1e-7)
    assert inception_score(arrays["probs"]) == pytest.approx((case["is_mean"], case["is_std"]), rel=1e-6)


# What holds for every distance between sets.


@pytest.mark.parametrize("name", SETS)
def test_rows_on_disk_give_the_same_number(name, tmp_path):
    real, fake = draw(70), draw(50, mean=0.5, seed=1)
    assert SETS[name](on_disk(real, tmp_path / "r.npy"), on_disk(fake, tmp_path / "f.npy")) == SETS[name](real, fake)


@pytest.mark.parametrize("name", SETS)
def test_too_few_rows_are_one_sentence(name):
    enough = draw(30)
    for count in range(MINIMUM[name]):
        for sets in ((enough, enough[:count]), (enough[:count], enough)):
            sentence = f"{name} needs at least {MINIMUM[name]} images, got {count}; add images or leave it out"
            with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
                SETS[name](*sets)
    few = enough[: MINIMUM[name]]
    assert np.isfinite(SETS[name](few, few)).all()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_one_sentence(name, value):
    whole, broken = draw(30), draw(30)
    broken[17, 2] = value
    for sets in ((whole, broken), (broken, whole)):
        with pytest.raises(UserError, match=f"^{name} needs finite numbers, those of image 17 are not; .* them$"):
            SETS[name](*sets)


def test_blocks_are_the_rows_in_their_order():
    rows = draw(11)
    for chunk in (1, 4, 11, 20):
        parts = list(blocks(rows, chunk))
        assert max(map(len, parts)) <= chunk and all(part.dtype == np.float64 for part in parts)
        assert np.array_equal(np.concatenate(parts), rows)


# The Fréchet distance.


def test_moments_are_those_of_the_whole_set():
    rows = draw(50, mean=3)
    found = moments(rows)
    assert found.count == 50
    assert_close(found.mean, rows.astype(np.float64).mean(axis=0), 1e-14)
    assert_close(found.covariance, np.cov(rows.astype(np.float64), rowvar=False, bias=True), 1e-13)


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_moments_do_not_depend_on_chunks(chunk):
    rows = draw(50)
    rows[0] += 1000  # a first chunk that is not like the others
    whole, parts = moments(rows), moments(rows, chunk)
    assert_close(parts.mean, whole.mean, 1e-13)
    assert_close(parts.covariance, whole.covariance, 1e-13)


def test_a_large_mean_costs_no_digits():
    steps = np.random.default_rng(0).integers(-8, 9, (64, 4))
    near, far = moments(steps.astype(np.float32), 16), moments((steps + 2.0**23).astype(np.float32), 16)
    assert_close(far.covariance, near.covariance, 1e-9)
    assert_close(far.mean - 2.0**23, near.mean, 1e-8)


def gaussian(mean, covariance) -> Moments:
    return Moments(np.asarray(mean, np.float64), np.asarray(covariance, np.float64), 1000)


@settings(max_examples=30, derandomize=True)
@given(st.lists(st.tuples(*[st.floats(-5, 5)] * 2, *[st.floats(0, 9)] * 2), min_size=1, max_size=6), st.integers(0, 99))
def test_frechet_distance_of_commuting_gaussians(axes, seed):
    """In common axes it is |mu_a - mu_b|^2 + sum (sigma_a - sigma_b)^2, also where some sigma is 0."""
    mu_a, mu_b, sigma_a, sigma_b = np.array(axes).T
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(axes), len(axes))))[0]
    a, b = (gaussian(turn @ mu, turn @ np.diag(sigma**2) @ turn.T) for mu, sigma in ((mu_a, sigma_a), (mu_b, sigma_b)))
    expected = np.square(mu_a - mu_b).sum() + np.square(sigma_a - sigma_b).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-5)


def test_frechet_distance_of_gaussians_in_a_plane():
    """Of 2x2 matrices, the trace of the root of AB is sqrt(tr AB + 2 sqrt(det AB))."""
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = 0.25 + np.trace(a) + np.trace(b) - 2 * root
    assert frechet_distance(gaussian([0, 0], a), gaussian([0, 0.5], b)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [200, 9, 4])
def test_frechet_distance_is_a_distance(count):
    dims = 9
    a, b, c = (moments(draw(count, dims, seed=seed)) for seed in range(3))
    assert is_singular(a) == (count <= dims)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    # Its root is the Wasserstein-2 metric.
    assert frechet_distance(a, c) ** 0.5 <= frechet_distance(a, b) ** 0.5 + frechet_distance(b, c) ** 0.5
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(dims, dims)))[0]
    moved = [gaussian(turn @ m.mean + 7, turn @ m.covariance @ turn.T) for m in (a, b)]
    assert frechet_distance(*moved) == pytest.approx(frechet_distance(a, b), rel=1e-6)
    scaled = [gaussian(10 * m.mean, 100 * m.covariance) for m in (a, b)]
    assert frechet_distance(*scaled) == pytest.approx(100 * frechet_distance(a, b), rel=1e-6)


def test_frechet_distance_of_few_rows_in_many_dimensions():
    """It equals the one in a space that both sets span, where no covariance has more zeros than it must."""
    a, b = draw(12, 5, seed=1), draw(15, 5, seed=2)
    wide = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 5)))[0].T
    narrow = frechet_distance(moments(a.astype(np.float64)), moments(b.astype(np.float64)))
    assert frechet_distance(moments(a @ wide), moments(b @ wide)) == pytest.approx(narrow, rel=1e-6)


def test_features_that_never_change_do_no_harm():
    a, b = draw(60, seed=1), draw(60, seed=2)
    expected = frechet_distance(moments(a), moments(b))
    for constant in (0.0, 0.1):
        dead_a, dead_b = (np.concatenate([x, np.full((60, 3), constant, np.float32)], axis=1) for x in (a, b))
        assert frechet_distance(moments(dead_a), moments(dead_b)) == pytest.approx(expected, rel=1e-9)


# The kernel distance.


def slow_discrepancy(x, y):
    """Add up the kernel over all pairs of different rows, and over all pairs between the sets."""
    within = [
        np.mean([(a @ b / len(a) + 1) ** 3 for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])
        for rows in (x, y)
    ]
    return sum(within) - 2 * np.mean([(a @ b / len(a) + 1) ** 3 for a in x for b in y])


def test_squared_discrepancy_equals_a_loop_over_pairs():
    x, y = draw(7).astype(np.float64), draw(9, mean=1, seed=1).astype(np.float64)
    assert squared_discrepancy(x, y) == pytest.approx(slow_discrepancy(x, y), rel=1e-10)


def test_a_subset_of_all_rows_is_the_whole_estimate():
    real, fake = draw(40), draw(40, mean=0.5, seed=1)
    expected = squared_discrepancy(*(rows.astype(np.float64) for rows in (fake, real)))
    assert kernel(real, fake, subsets=2) == pytest.approx(expected, rel=1e-10)


def test_the_smaller_set_bounds_the_subsets():
    real, fake = draw(400), draw(5, seed=1)
    assert kernel(real, fake, subsets=4) == kernel(real, fake, subsets=4, subset_size=5)
    assert kernel(real, fake, subsets=4) != kernel(real, fake, subsets=4, subset_size=4)


def test_the_kernel_distance_is_unbiased():
    """Between small sets of one distribution it scatters around 0; between others it does not."""
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 8, 4)) for _ in range(300)]
    same = [kernel(a, b, subsets=1) for a, b in pairs]
    error = np.std(same) / len(same) ** 0.5
    assert abs(np.mean(same)) < 3 * error and min(same) < 0 < max(same)
    assert np.mean([kernel(a, b + 0.5, subsets=1) for a, b in pairs]) > 10 * error


def test_the_random_state_decides():
    real, fake = draw(60), draw(60, seed=1)
    few = {"subsets": 2, "subset_size": 10}
    assert kernel(real, fake, 5, **few) == kernel(real, fake, 5, **few) != kernel(real, fake, 6, **few)


# Precision and recall.


def slow_share_inside(points, centres, k):
    """Compare float16 distances, one pair at a time; without a row's distance to itself."""

    def distance(a, b):
        return np.float16(np.sqrt(np.square(a.astype(np.float64) - b).sum()))

    radii = [
        sorted(distance(c, other) for j, other in enumerate(centres) if j != i)[k - 1] for i, c in enumerate(centres)
    ]
    return np.mean([any(distance(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points])


def slow_precision_recall(real, fake, k):
    return slow_share_inside(fake, real, k), slow_share_inside(real, fake, k)


SCENES = {
    "gaussians": (draw(40, 3), draw(30, 3, 1.0, seed=1)),
    "a grid full of ties": tuple(
        np.random.default_rng(seed).integers(0, 4, (35, 3)).astype(np.float32) for seed in (0, 1)
    ),
    "the same rows many times": (np.repeat(draw(6, 3), 5, axis=0), np.repeat(draw(9, 3)[3:], 4, axis=0)),
    "few rows many times": (np.repeat(draw(8, 3), 2, axis=0), np.repeat(draw(12, 3)[4:], 3, axis=0)),
    "far outliers": tuple(
        np.concatenate([draw(30, 3, seed=seed), np.full((1, 3), sign * 1.5e4, np.float32)])
        for seed, sign in ((0, 1), (1, -1))
    ),
    "a large common mean": tuple((10 * draw(40, 3, seed=seed)).round() + np.float32(2**23) for seed in (0, 1)),
    "far apart": (draw(20, 3), draw(20, 3, 500.0, seed=1)),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_a_loop_over_pairs(scene, k):
    real, fake = SCENES[scene]
    expected = slow_precision_recall(real, fake, k)
    for chunk in (2, 7, 4096):
        assert precision_recall(real, fake, k, CPU, chunk) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("copies", [1, 5])  # of 5 copies, the balls are points
def test_precision_and_recall_of_a_set_with_itself_are_1(copies):
    rows = np.repeat(draw(30, 200), copies, axis=0)
    assert precision_recall(rows, rows[::-1]) == (1.0, 1.0)
    assert precision_recall(rows, rows + 1e4) == (0.0, 0.0)


def test_recall_is_the_precision_of_the_swapped_sets():
    real, fake = draw(50), 0.6 * draw(40, seed=1)
    precision, recall = precision_recall(real, fake)
    assert precision_recall(fake, real) == (recall, precision)
    assert 0 < recall < precision


def test_more_neighbours_make_larger_manifolds():
    real, fake = draw(50), draw(40, mean=1.5, seed=1)
    shares = np.array([precision_recall(real, fake, k) for k in range(1, 8)])
    assert (np.diff(shares, axis=0) >= 0).all() and (shares[-1] > shares[0]).all()


def test_a_ball_ends_where_float16_does():
    """Around 1024, float16 knows whole numbers: a ball of radius 1024 holds 1024.49, and 1024.51 not."""
    real = np.array([[0.0], [1024.0]], np.float32)
    fake = np.array([[-1024.49], [-1024.51], [2048.9], [2049.6]], np.float32)  # beyond 1024: to 1024.9 and 1025.6
    inside = [precision_recall(real, fake[[i, i]], k=1)[0] for i in range(4)]
    assert inside == [1.0, 0.0, 0.0, 0.0]


# The inception score.


def test_certain_and_even_classes_give_their_number():
    certain = np.eye(5, dtype=np.float32)[np.arange(100) % 5]
    assert inception_score(certain, 4) == pytest.approx((5, 0), abs=1e-12)
    assert inception_score(np.full((30, 8), 1 / 8, np.float32)) == pytest.approx((1, 0), abs=1e-7)


def test_inception_score_equals_its_definition():
    """By parts that are not all as long, with the population's standard deviation, and 0 log 0 = 0."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), 23) * (rng.random((23, 6)) < 0.7)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert (probabilities == 0).any()
    scores = []
    for start, end in ((0, 5), (5, 11), (11, 17), (17, 23)):
        part = probabilities[start:end]
        marginal = part.mean(axis=0)
        divergences = [sum(p * np.log(p / m) for p, m in zip(row, marginal, strict=True) if p > 0) for row in part]
        scores.append(np.exp(np.mean(divergences)))
    assert inception_score(probabilities, 4) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)


def test_inception_score_of_too_few_images():
    probabilities = np.full((10, 4), 0.25, np.float32)
    assert inception_score(probabilities, 10) == pytest.approx((1, 0), abs=1e-7)
    with pytest.raises(UserError, match="^the inception score of 10 splits needs at least 10 images, got 9; "):
        inception_score(probabilities[:9], 10)
    probabilities[3] = np.nan
    with pytest.raises(UserError, match="those of image 3 are not"):
        inception_score(probabilities)


# Path length.


def test_path_length_leaves_out_both_ends():
    """Of 0..200, the percentiles are 2 and 198; halfway between neighbours, the outer one counts."""
    distances = np.random.default_rng(0).permutation(201).astype(np.float32)
    distances[distances == 200] = 1e9
    assert path_length(distances) == pytest.approx(100)
    values = np.arange(52) ** 2  # percentiles at positions 0.51 and 50.49: both neighbours further out are the ends
    assert path_length(values) == pytest.approx(values.mean())
    values = np.arange(152) ** 2  # positions 1.51 and 149.49
    assert path_length(values) == pytest.approx(values[1:151].mean())


def test_path_length_of_few_distances():
    assert path_length(np.float32([3])) == 3
    assert path_length(np.full(500, 0.25, np.float32)) == 0.25  # ends are included
    with pytest.raises(UserError, match="^the path length needs at least 1 image, got 0; "):
        path_length(np.zeros(0, np.float32))
    with pytest.raises(UserError, match="^the path length needs finite numbers, those of image 1 are not"):
        path_length(np.float32([1, np.inf]))


# PSNR and SSIM.


def pictures(count=2, channels=3, height=15, width=19, seed=0) -> torch.Tensor:
    """Draw uint8 [N, C, H, W]: random values, with a flat corner each."""
    images = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(seed))
    images[..., : height // 2, : width // 2] = 200
    return images.to(torch.uint8)


def test_psnr_of_known_errors():
    a = torch.full((4, 3, 8, 8), 100, dtype=torch.uint8)
    b = a.clone()
    b[0] += 10
    b[1] -= 10  # unsigned numbers must not wrap
    b[2, 0] += 20  # a third of the values
    expected = [20 * np.log10(255 / 10)] * 2 + [20 * np.log10(255 / (20 / 3**0.5)), np.inf]
    assert psnr(a, b).tolist() == pytest.approx(expected, rel=1e-6)
    assert psnr(a.float(), b).tolist() == psnr(b, a).tolist() == psnr(a, b).tolist()
    black, white = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 255.0)
    assert psnr(black, white).item() == pytest.approx(0, abs=1e-6)


def slow_ssim(a, b):
    """Follow Wang et al. 2004 window by window, with the definitions of mean, variance and covariance."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for x, y in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        for i in range(x.shape[0] - 10):
            for j in range(x.shape[1] - 10):
                p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                mu_p, mu_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mu_p) ** 2).sum(), (window * (q - mu_q) ** 2).sum()
                covariance = (window * (p - mu_p) * (q - mu_q)).sum()
                luminance = (2 * mu_p * mu_q + c1) / (mu_p**2 + mu_q**2 + c1)
                values.append(luminance * (2 * covariance + c2) / (var_p + var_q + c2))
    return np.mean(values)


@pytest.mark.parametrize("size", [(15, 19), (11, 11), (24, 12)])
def test_ssim_equals_a_loop_over_windows(size):
    a, b = pictures(3, 2, *size), pictures(3, 2, *size, seed=1)
    b[1] = (a[1].float() * 0.7 + 20).to(torch.uint8)
    b[2] = 255 - a[2]
    expected = [slow_ssim(x.numpy(), y.numpy()) for x, y in zip(a, b, strict=True)]
    assert_close(ssim(a, b), expected, 1e-6)
    assert_close(ssim(a.float(), b.float()), expected, 1e-6)
    assert expected[2] < 0 < expected[1]


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b = torch.full((1, 3, 16, 16), 254.7), torch.full((1, 3, 16, 16), 254.2)
    c1 = (0.01 * 255) ** 2
    x, y = a.double().max(), b.double().max()
    expected = ((2 * x * y + c1) / (x * x + y * y + c1)).item()
    assert ssim(a.double(), b.double()).item() == pytest.approx(expected, rel=1e-12)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-7)


def test_ssim_is_symmetric_and_1_for_equal_images():
    a, b = pictures(), pictures(seed=1)
    assert_close(ssim(a, b), ssim(b, a), 1e-7)
    assert_close(ssim(a, a), torch.ones(2), 1e-7)
    assert (ssim(a, b) < 0.9).all()


@pytest.mark.parametrize("similarity", [psnr, ssim])
def test_similarities_have_gradients(similarity):
    a, b = (pictures(1, 1, 11, 12, seed=seed).double().requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(similarity, (a, b), fast_mode=True)
    a32, b32 = (x.detach().float().requires_grad_() for x in (a, b))
    value = similarity(a32, b32)
    assert value.dtype == torch.float32 and value.shape == (1,)
    value.sum().backward()
    similarity(a, b).sum().backward()
    assert_close(a32.grad, a.grad, 1e-5)


def test_ssim_has_finite_gradients_at_equal_images():
    a = torch.full((1, 1, 12, 12), 255.0, requires_grad=True)
    ssim(a, a.detach().clone()).sum().backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("similarity", [psnr, ssim])
def test_each_pair_is_on_its_own(similarity):
    a, b = pictures(3), pictures(3, seed=1)
    alone = torch.cat([similarity(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert_close(similarity(a, b), alone, 1e-7)


def test_images_that_cannot_be_compared():
    a = torch.zeros(2, 3, 16, 16)
    for similarity in (psnr, ssim):
        with pytest.raises(UserError, match=r"shapes \[2, 3, 16, 16\] and \[1, 3, 16, 16\] .* bring both to one$"):
            similarity(a, a[:1])
    for small in (a[..., :10], a[..., :10, :]):
        with pytest.raises(UserError, match="^images of (10x16|16x10) px are too small, 11 px is the least; use"):
            ssim(small, small)
    assert ssim(a[..., :11, :11], a[..., :11, :11]).tolist() == [1, 1]
