"""NIQE: its features against a slow reference, the fit of distributions, the distance, and the files of models."""

import io
import pickle
import zipfile

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from images.datasets.drawn_faces import draw_face
from metrics.niqe.distance import niqe
from metrics.niqe.pristine import PristineModel, fit_gaussian, fit_pristine, read_pristine, write_pristine
from metrics.niqe.statistics import block_features, fit_aggd, halve, mscn
from tests.support.tolerance import assert_close

BLOCK = 32


def textures(count: int, height: int = 128, width: int = 128, seed: int = 0) -> torch.Tensor:
    """Draw uint8 RGB `[N, 3, H, W]` with the falling spectrum and the local contrast of photos."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum = np.fft.fft2(rng.normal(size=(count, 3, height, width))) / np.maximum(frequency, 1 / height) ** 0.9
    images = np.fft.ifft2(spectrum).real
    images *= 1 + scipy.ndimage.gaussian_filter(rng.normal(size=images.shape), (0, 0, 8, 8)) * 8
    return torch.from_numpy((128 + 35 * images / images.std()).clip(0, 255).astype(np.uint8))


def faces(count: int, size: int = 128, seed: int = 0) -> torch.Tensor:
    images = np.stack([draw_face(seed + i, size)[0] for i in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(scipy.ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noisy(images: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = np.random.default_rng(5).normal(0, sigma, images.shape)
    return torch.from_numpy((images.numpy() + noise).round().clip(0, 255).astype(np.uint8))


def compressed(images: torch.Tensor, quality: int) -> torch.Tensor:
    pixels = [image.permute(1, 2, 0).numpy()[..., ::-1] for image in images]
    files = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for image in pixels]
    decoded = np.stack([cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1] for file in files])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def pristine() -> PristineModel:
    return fit_pristine([textures(8, seed=100), textures(8, seed=101)], BLOCK)


# The features, against a reference made of loops and two-dimensional filters.


def slow_aggd(samples):
    shapes = np.arange(200, 10001) / 1000
    gamma = scipy.special.gamma
    ratios = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    left = np.sqrt(np.mean(samples[samples < 0] ** 2))
    right = np.sqrt(np.mean(samples[samples > 0] ** 2))
    skew = left / right
    ratio = np.mean(np.abs(samples)) ** 2 / np.mean(samples**2)
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    alpha = shapes[np.argmin((ratios - ratio) ** 2)]
    scale = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * scale, right * scale


def slow_mscn(image):
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = scipy.ndimage.correlate(image, window, mode="nearest")
    deviation = np.sqrt(np.abs(scipy.ndimage.correlate(image**2, window, mode="nearest") - mean**2))
    return (image - mean) / (deviation + 1), deviation


def slow_halve(image):
    padded = np.pad(image, 8, mode="symmetric")[None, None]
    half = torch.nn.functional.interpolate(torch.from_numpy(padded), scale_factor=0.5, mode="bicubic", antialias=True)
    return half[0, 0, 4:-4, 4:-4].numpy()


def slow_features(image, block):
    """Return `[B, 36]` and `[B]` of a gray float64 `[H, W]` of whole blocks."""
    scales = []
    for side, scale in ((block, image), (block // 2, slow_halve(image))):
        normalized = slow_mscn(scale)[0]
        rows = []
        for top in range(0, scale.shape[0], side):
            for first in range(0, scale.shape[1], side):
                patch = normalized[top : top + side, first : first + side]
                alpha, left, right = slow_aggd(patch)
                row = [alpha, (left + right) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    alpha, left, right = slow_aggd(patch * np.roll(patch, shift, (0, 1)))
                    eta = (right - left) * scipy.special.gamma(2 / alpha) / scipy.special.gamma(1 / alpha)
                    row += [alpha, eta, left, right]
                rows.append(row)
        scales.append(rows)
    deviation = slow_mscn(image)[1]
    tops, firsts = range(0, image.shape[0], block), range(0, image.shape[1], block)
    sharpness = [deviation[top : top + block, first : first + block].mean() for top in tops for first in firsts]
    return np.concatenate(scales, 1), np.array(sharpness)


@pytest.mark.parametrize(("height", "width", "block"), [(64, 96, 32), (48, 48, 16), (36, 72, 18)])
def test_features_agree_with_the_slow_reference(height, width, block):
    images = textures(2, height, width)[:, :1]
    features, sharpness = block_features(images, block)
    for i in range(2):
        expected, expected_sharpness = slow_features(images[i, 0].double().numpy(), block)
        assert_close(features[i], expected, 1e-9, "features")
        assert_close(sharpness[i], expected_sharpness, 1e-9, "sharpness")


def test_distance_agrees_with_the_slow_reference(pristine):
    images = textures(2, 96, 128, seed=7)[:, :1]
    for value, image in zip(niqe(images, pristine), images, strict=True):
        features = slow_features(image[0].double().numpy(), BLOCK)[0]
        difference = features.mean(0) - pristine.mean.numpy()
        precision = np.linalg.pinv((np.cov(features, rowvar=False) + pristine.covariance.numpy()) / 2)
        assert_close(value, np.sqrt(difference @ precision @ difference), 1e-7)


def test_halving_is_torchs_antialiased_bicubic_inside_and_mirrors_at_the_border():
    image = torch.rand(2, 22, 30, dtype=torch.float64)
    expected = torch.nn.functional.interpolate(image[None], scale_factor=0.5, mode="bicubic", antialias=True)[0]
    assert_close(halve(image)[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], 1e-12)
    assert not torch.allclose(halve(image)[:, 0], expected[:, 0], rtol=1e-3)
    doubled = torch.cat([image.flip(2), image], 2)
    assert_close(halve(image)[..., 0], halve(doubled)[..., 15], 1e-12)


@settings(max_examples=15)
@given(st.floats(0, 255), st.floats(-3, 3), st.floats(-3, 3))
def test_mscn_of_a_plane_is_zero_where_the_window_fits(level, slope_y, slope_x):
    y, x = torch.meshgrid(torch.arange(16.0).double(), torch.arange(20.0).double(), indexing="ij")
    normalized, deviation = mscn((level + slope_y * y + slope_x * x)[None])
    distance = np.arange(-3, 4)
    window = np.exp(-(distance**2) / (2 * (7 / 6) ** 2))
    variance = (slope_y**2 + slope_x**2) * (window * distance**2).sum() / window.sum()
    assert not normalized[:, 3:-3, 3:-3].any()
    assert (deviation[:, 3:-3, 3:-3].square() - variance).abs().max() < 2e-8


@pytest.mark.parametrize("pixels", [1, 64 * 96 * 3, 1 << 18])
def test_a_batch_is_its_images_one_by_one(pristine, monkeypatch, pixels):
    monkeypatch.setattr("metrics.niqe.statistics.PIXELS_AT_ONCE", pixels)
    images = textures(4, 64, 96)
    features, sharpness = block_features(images, BLOCK)
    single = [block_features(image[None], BLOCK) for image in images]
    assert_close(features, torch.cat([one for one, _ in single]), 1e-12)
    assert_close(sharpness, torch.cat([one for _, one in single]), 1e-12)
    assert_close(niqe(images, pristine), torch.cat([niqe(image[None], pristine) for image in images]), 1e-9)


def test_mirroring_reorders_blocks_and_swaps_the_diagonals():
    images = textures(2, 64, 96)
    features, sharpness = (values.unflatten(1, (2, 3)) for values in block_features(images, BLOCK))
    mirrored, mirrored_sharpness = (values.unflatten(1, (2, 3)) for values in block_features(images.flip(3), BLOCK))
    order = [*range(10), *range(14, 18), *range(10, 14)]
    order += [18 + k for k in order]
    assert_close(mirrored.flip(2)[..., order], features, 1e-9)
    assert_close(mirrored_sharpness.flip(2), sharpness, 1e-9)


def test_transposing_reorders_blocks_and_swaps_horizontal_and_vertical():
    images = textures(2, 64, 96)
    features = block_features(images, BLOCK)[0].unflatten(1, (2, 3))
    transposed = block_features(images.mT, BLOCK)[0].unflatten(1, (3, 2))
    order = [0, 1, *range(6, 10), *range(2, 6), *range(10, 18)]
    order += [18 + k for k in order]
    assert_close(transposed.transpose(1, 2)[..., order], features, 1e-9)


def test_what_exceeds_whole_blocks_does_not_count():
    images = textures(1, 80, 100)
    assert torch.equal(block_features(images, BLOCK)[0], block_features(images[..., :64, :96], BLOCK)[0])


def test_gray_follows_rgb2gray():
    images = textures(2, 32, 32)
    rgb = images.double()
    yiq = torch.tensor([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]], dtype=torch.float64)
    weights = torch.linalg.inv(yiq)[0]
    assert_close(weights, np.array([0.2989, 0.5870, 0.1140]), 1e-4)  # as MATLAB's manual prints them
    gray = (weights.view(1, 3, 1, 1) * rgb).sum(1, keepdim=True)
    assert_close(block_features(images, 32)[0], block_features(gray.round(), 32)[0], 1e-9)
    assert_close(block_features(rgb, 32)[0], block_features(gray, 32)[0], 1e-9)
    same = images[:, :1].expand(-1, 3, -1, -1)
    assert_close(block_features(same, 32)[0], block_features(images[:, :1], 32)[0], 1e-9)
    assert_close(block_features(images[:, :1], 32)[0], block_features(images[:, :1].float(), 32)[0], 1e-12)


# Asymmetric generalised Gaussians.


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.5, 2.0), (3.0, 1.0)])
def test_aggd_recovers_the_parameters_of_drawn_samples(alpha, left, right):
    rng = np.random.default_rng(3)
    size = rng.gamma(1 / alpha, size=(2, 200_000)) ** (1 / alpha)  # |x| / beta has density ~ exp(-x^alpha)
    is_left = rng.random(size.shape) < left / (left + right)
    samples = torch.from_numpy(np.where(is_left, -left * size, right * size))
    shape, beta_left, beta_right = fit_aggd(samples)
    for found, true in ((shape, alpha), (beta_left, left), (beta_right, right)):
        assert_close(found, np.full(2, true), 0.06)


def test_aggd_of_gaussian_and_laplacian_samples():
    rng = np.random.default_rng(4)
    samples = np.stack([rng.normal(0, 3, 400_000), rng.laplace(0, 3, 400_000)])
    alpha, left, right = fit_aggd(torch.from_numpy(samples))
    assert_close(alpha, np.array([2.0, 1.0]), 0.015)
    assert_close((left + right) / 2, np.array([3 * 2**0.5, 3.0]), 0.015)


def test_aggd_agrees_with_the_search_of_the_whole_grid():
    rng = np.random.default_rng(6)
    samples = np.stack([np.sign(x) * np.abs(x) ** p for p in np.linspace(0.05, 5, 40) for x in [rng.normal(size=300)]])
    found = torch.stack(fit_aggd(torch.from_numpy(samples)), 1)
    assert_close(found, np.array([slow_aggd(row) for row in samples]), 1e-9)
    assert found[:, 0].min() < 0.3 and found[:, 0].max() == 10


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3), st.integers(0, 100))
def test_aggd_scales_with_its_samples_and_mirrors_with_them(factor, seed):
    samples = torch.from_numpy(np.random.default_rng(seed).gumbel(-0.4, 1, (3, 500)))
    alpha, left, right = fit_aggd(samples)
    scaled, mirrored = fit_aggd(samples * factor), fit_aggd(-samples)
    assert_close(torch.stack(scaled), torch.stack([alpha, left * factor, right * factor]), 2e-3)
    assert_close(torch.stack(mirrored), torch.stack([alpha, right, left]), 2e-3)


def test_aggd_without_samples_on_one_side():
    alpha, left, right = fit_aggd(torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64))
    assert alpha.tolist() == [0.2, 0.2] and left.isnan().all() and right[0] > 0 and right[1].isnan()


# The Gaussian over blocks.


def test_gaussian_is_that_of_numpy_and_drops_incomplete_rows():
    features = torch.randn(2, 9, 5, dtype=torch.float64)
    features[1, 2, 3] = features[1, 4, 0] = torch.nan
    mean, covariance, count = fit_gaussian(features)
    assert count.tolist() == [9, 7]
    complete = features[1, [0, 1, 3, 5, 6, 7, 8]].numpy()
    assert_close(mean[0], features[0].numpy().mean(0), 1e-12)
    assert_close(mean[1], np.nanmean(features[1].numpy(), 0), 1e-12)
    assert_close(covariance[0], np.cov(features[0].numpy(), rowvar=False), 1e-12)
    assert_close(covariance[1], np.cov(complete, rowvar=False), 1e-12)


def test_gaussian_of_one_row_and_of_none():
    row = torch.randn(1, 4, dtype=torch.float64)
    mean, covariance, count = fit_gaussian(row)
    assert torch.equal(mean, row[0]) and not covariance.any() and count == 1
    mean, covariance, count = fit_gaussian(torch.full((3, 4), torch.nan, dtype=torch.float64))
    assert mean.isnan().all() and not covariance.any() and count == 0


# The distance.


@pytest.mark.parametrize(
    ("draw", "degrade", "strengths"),
    [
        (textures, blurred, (0.8, 1.6)),
        (textures, noisy, (10, 25)),
        (textures, compressed, (30, 8)),
        (faces, blurred, (0.8, 1.6)),
        (faces, noisy, (10, 25)),
    ],
)
def test_distance_grows_with_degradation(draw, degrade, strengths):
    model = fit_pristine([draw(16)], BLOCK)
    images = draw(6, seed=100)
    sharp, weak, strong = (niqe(x, model).mean() for x in (images, *(degrade(images, s) for s in strengths)))
    assert sharp < weak < strong


def test_distance_of_the_models_own_mean_is_zero():
    images = textures(1)
    mean, covariance, _ = fit_gaussian(block_features(images, BLOCK)[0])
    model = PristineModel(mean[0], covariance[0] + torch.eye(36, dtype=torch.float64), BLOCK, "itself")
    assert niqe(images, model) == 0
    moved = PristineModel(mean[0] + 1, torch.eye(36, dtype=torch.float64) * 2 - covariance[0], BLOCK, "moved")
    assert_close(niqe(images, moved), np.array([6.0]), 1e-6)  # the covariances' mean is the identity


def test_images_with_one_block_or_partly_flat_count(pristine):
    images = textures(2, 96, 96)
    one = images[..., :BLOCK, :BLOCK]
    features = block_features(one, BLOCK)[0][0, 0]
    difference = (features - pristine.mean).numpy()
    expected = np.sqrt(difference @ np.linalg.pinv(pristine.covariance.numpy() / 2) @ difference)
    assert_close(niqe(one, pristine)[0], expected, 1e-7)
    images[..., :60] = 255
    assert block_features(images, BLOCK)[0].isnan().any()
    assert niqe(images, pristine).isfinite().all()


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_an_image_of_one_colour_is_infinitely_far(pristine, level):
    images = textures(3, 64, 64)
    images[1] = level
    values = niqe(images, pristine)
    assert values[1] == torch.inf and values[[0, 2]].isfinite().all()
    colour = torch.tensor([0.3, 100.7, 200.1]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    assert niqe(colour, pristine) == torch.inf


# Models and their files.


def test_fit_takes_the_blocks_in_focus_of_each_image():
    images = textures(10, seed=9)
    images[..., :64] = blurred(images[..., :64], 4)
    features, sharpness = block_features(images, BLOCK)
    rows = [f[s > 0.75 * s.max()] for f, s in zip(features, sharpness, strict=True)]
    rows = torch.cat(rows).numpy()
    model = fit_pristine([images[:3], images[3:]], BLOCK, "halves")
    assert len(rows) <= 10 * 8 and model.block == BLOCK and model.source == "halves"
    assert_close(model.mean, rows.mean(0), 1e-9)
    assert_close(model.covariance, np.cov(rows, rowvar=False), 1e-9)


def test_fit_takes_batches_of_unequal_sizes_and_leaves_flat_images_out():
    batches = [textures(8, seed=1), textures(8, 64, 96, seed=2)[:, :1]]
    flat = torch.full((2, 3, 64, 64), 9, dtype=torch.uint8)
    model, other = fit_pristine(iter(batches), BLOCK), fit_pristine([flat, *batches], BLOCK)
    assert torch.equal(model.mean, other.mean) and torch.equal(model.covariance, other.covariance)


def test_a_written_model_is_read_as_it_was(tmp_path, pristine):
    model = PristineModel(pristine.mean, pristine.covariance, BLOCK, "16 Texturen, größer")
    write_pristine(tmp_path / "model.npz", model)
    found = read_pristine(tmp_path / "model.npz")
    assert torch.equal(found.mean, model.mean) and torch.equal(found.covariance, model.covariance)
    assert (found.block, found.source) == (model.block, model.source)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    assert torch.equal(niqe(textures(1), found), niqe(textures(1), model))


@pytest.mark.parametrize(
    "names", [("mu_prisparam", "cov_prisparam"), ("pop_mu", "pop_cov"), ("mu_pris_param", "cov_pris_param")]
)
def test_published_models_are_read(tmp_path, pristine, names):
    mean, covariance = pristine.mean.numpy()[None], pristine.covariance.numpy()
    arrays = dict(zip(names, (mean, covariance), strict=True))
    scipy.io.savemat(tmp_path / "a.mat", {**arrays, "other": [1]})
    np.savez(tmp_path / "b.npz", **arrays, gaussian_window=np.ones((7, 7)))
    for name in ("a.mat", "b.npz"):
        model = read_pristine(tmp_path / name)
        assert torch.equal(model.mean, pristine.mean) and torch.equal(model.covariance, pristine.covariance)
        assert (model.block, model.source) == (96, name)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a file has run code",)


def mat(**variables) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def crafted_npz(mean: bytes) -> bytes:
    """Return an archive whose entry `mean` has these bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mean.npy", mean)
    return file.getvalue()


def pickled_npy() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (36,)})
    return file.getvalue() + pickle.dumps(Trap())


MEAN, COVARIANCE = np.zeros(36), np.eye(36)
BAD_FILES = {
    "empty.npz": (b"", "damaged"),
    "text.mat": (b"not a model at all" * 20, "damaged"),
    "text.npz": (b"not a model at all", "damaged"),
    "cut.npz": (npz(mean=MEAN, covariance=COVARIANCE)[:4000], "damaged"),
    "cut.mat": (mat(mu_prisparam=MEAN, cov_prisparam=COVARIANCE)[:4000], "damaged"),
    "pickle.npz": (pickle.dumps(Trap()), "damaged"),
    "objects.npz": (crafted_npz(pickled_npy()), "damaged"),
    "else.npz": (npz(real=MEAN), "holds no pristine model"),
    "else.mat": (mat(real=MEAN), "holds no pristine model"),
    "half.npz": (npz(mean=MEAN), "covariance in .* is not 1296 plain numbers"),
    "half.mat": (mat(pop_cov=COVARIANCE), "pop_mu in .* is not 36 plain numbers"),
    "shape.npz": (npz(mean=MEAN[:18], covariance=COVARIANCE), "mean in .* is not 36 plain numbers"),
    "shape.mat": (mat(mu_prisparam=MEAN, cov_prisparam=COVARIANCE[:18]), "cov_prisparam in .* is not 1296"),
    "struct.mat": (mat(mu_prisparam={"a": MEAN}, cov_prisparam=COVARIANCE), "mu_prisparam in .* is not 36"),
    "cell.mat": (mat(mu_prisparam=np.array([[1], "a"] * 18, object), cov_prisparam=COVARIANCE), "is not 36"),
    "text_inside.npz": (npz(mean=MEAN.astype(str), covariance=COVARIANCE), "is not 36 plain numbers"),
    "complex.npz": (npz(mean=MEAN + 1j, covariance=COVARIANCE), "is damaged or no pristine model"),
    "nan.npz": (npz(mean=MEAN * np.nan, covariance=COVARIANCE), "mean in .* NaN"),
    "negative.npz": (npz(mean=MEAN, covariance=-COVARIANCE), "not symmetric and positive"),
    "skew.npz": (npz(mean=MEAN, covariance=np.triu(COVARIANCE + 0.01)), "not symmetric and positive"),
    "block.npz": (npz(mean=MEAN, covariance=COVARIANCE, block=15), "block in .* no even number"),
    "blocks.npz": (npz(mean=MEAN, covariance=COVARIANCE, block=[16, 32]), "block in .* no even number"),
    "model.bin": (npz(mean=MEAN, covariance=COVARIANCE), "ends in .npz or .mat"),
}


def measure(height, width, block):
    return lambda folder: block_features(torch.zeros(1, 3, height, width, dtype=torch.uint8), block)


def fit(*batches, block=BLOCK):
    return lambda folder: fit_pristine(iter(batches), block)


def read(name):
    """Return a function that reads a file of the folder, or a folder that is called as one."""

    def call(folder):
        if name in BAD_FILES:
            (folder / name).write_bytes(BAD_FILES[name][0])
        elif name.startswith("folder"):
            (folder / name).mkdir()
        read_pristine(folder / name)

    return call


PRISTINE = PristineModel(torch.zeros(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64), BLOCK, "none")


def write(name):
    return lambda folder: write_pristine(folder / name, PRISTINE)


TOO_FEW = "sharp blocks of 32x32 px in .*, a pristine model needs 37; give more .* --block"
REFUSALS = [
    ("80x64 px .* 96x96 .* --block of 64 or less", measure(64, 80, 96)),
    ("--block of 94 or less", measure(95, 200, 96)),
    ("give images of 16x16 px or more", measure(15, 40, 16)),
    ("blocks of 31 px .* even", measure(64, 64, 31)),
    ("blocks of 14 px .* 16 px or more", measure(64, 64, 14)),
    (TOO_FEW, fit()),
    (TOO_FEW, fit(textures(2))),
    (TOO_FEW, fit(torch.zeros(50, 3, 64, 64, dtype=torch.uint8))),
    ("blocks of 33 px", fit(block=33)),
    ("--block of 64 or less", fit(textures(1, 64, 64), block=96)),
    *[(f"^(?=.*{name}).*{said}", read(name)) for name, (_, said) in BAD_FILES.items()],
    *[
        (f"cannot read .*{name}: .*; check the path", read(name))
        for name in ("missing.npz", "missing.mat", "folder.npz", "folder.mat")
    ],
    ("ends in .npz", write("model.mat")),
    ("cannot write", write("none/model.npz")),
]


@pytest.mark.parametrize(("words", "call"), REFUSALS, ids=[words for words, _ in REFUSALS])
def test_refusals(tmp_path, words, call):
    with pytest.raises(UserError, match=words) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {*BAD_FILES, "folder.npz", "folder.mat"}
