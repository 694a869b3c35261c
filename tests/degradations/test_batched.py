"""Degrading on the device: each primitive beside its original, whole recipes, and runs that use them."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from degradations import Applied, degrade, plan, primitive_names, recipe_names
from degradations.batched import degrade as device_degradations
from degradations.batched.exact_sums import WEIGHT_BITS, band_matrices, exact_products, reflect_indices, whole_weights
from degradations.batched.jpeg import quantisation_tables
from degradations.batched.tasks import ImagePlan, plan_numbered, with_seeds
from degradations.primitive import perform, plan_primitive
from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from images.datasets.batches import TrainingBatches
from tests.support.runs import (
    IMAGES,
    batches,
    changed,
    new_trainer,
    run_here,
    snapshot,
    tiny_config,
    train,
)
from torch_utils.checkpoint import load_state
from torch_utils.distributed import World
from torch_utils.purposes import FOR_DEGRADATION, FOR_DEGRADATION_NOISE
from torch_utils.seeding import derive_seed
from training import loop
from training.config import DataConfig
from training.degrade_on import TRIAL_TICKS, DegradeOn
from training.loop import open_dataset
from training.trainer import Trainer

# Largest difference in grey levels between device and original: both round, and downscaling does it twice.
LARGEST = {"box_blur": 1, "gaussian_blur": 1, "motion_blur": 1, "median_blur": 0, "downscale": 2}


def photos(count: int, resolution: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Draw uint8 [N, R, R, C]: smooth colours with edges and some texture."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (max(resolution // 8, 2),) * 2 + (channels,), dtype=np.uint8)
        image = cv2.resize(coarse, (resolution, resolution), interpolation=cv2.INTER_CUBIC)
        image = image.reshape(resolution, resolution, channels).astype(float)
        image[resolution // 3 :, resolution // 2 :] += 60
        images.append(image + rng.normal(0, 12, image.shape))
    return np.stack(images).clip(0, 255).astype(np.uint8)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def as_array(images: torch.Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


def plans_of(recipe: str, count: int, resolution: int) -> list[ImagePlan]:
    return plan_numbered(recipe, 7, range(count), resolution)


def degrade_by(images: torch.Tensor, steps: list[list[Applied]]) -> torch.Tensor:
    """Degrade each image by its own steps."""
    return device_degradations.degrade(images, [with_seeds(own, (5, row)) for row, own in enumerate(steps)])


# Primitive by primitive.


def test_every_primitive_is_there():
    assert sorted([*device_degradations.PRIMITIVES, "gaussian_noise"]) == primitive_names()


def test_a_primitive_without_a_device_form_is_done_by_the_cpu(monkeypatch, caplog):
    """A run goes on with it, and is told once that it is slow."""
    images, applied = photos(3, 16), Applied("blur", "box_blur", {"size": 3.0})
    monkeypatch.delitem(device_degradations.PRIMITIVES, "box_blur")
    for _ in range(2):
        degraded = degrade_by(as_tensor(images), [[applied], [], [applied]])
    expected = [perform(images[0], applied, None), images[1], perform(images[2], applied, None)]
    assert np.array_equal(as_array(degraded), expected)
    [record] = caplog.records
    assert "box_blur has no form for devices" in record.message


@pytest.mark.parametrize("name", sorted(LARGEST))
@pytest.mark.parametrize(("resolution", "channels"), [(8, 3), (16, 1), (64, 3), (128, 1)])
def test_filters_are_those_of_the_workers(name, resolution, channels):
    images, rng = photos(8, resolution, channels), np.random.default_rng(3)
    planned = [plan_primitive(name, rng, resolution) for _ in images]
    expected = np.stack([perform(image, applied, rng) for image, applied in zip(images, planned, strict=True)])
    found = device_degradations.PRIMITIVES[name](as_tensor(images), [applied.parameters for applied in planned])
    assert found.dtype == torch.uint8 and found.shape == (8, channels, resolution, resolution)
    difference = np.abs(as_array(found).astype(int) - expected)
    assert difference.max() <= LARGEST[name] and difference.mean() < 0.1
    assert (difference > 1).mean() < 1e-4


@pytest.mark.parametrize("factor", [0.1, 0.25, 0.5, 0.51, 0.73, 1])
@pytest.mark.parametrize("interpolation", ["area", "bilinear", "nearest"])
def test_downscaling_by_any_factor(factor, interpolation):
    """Bilinear and nearest are OpenCV's to the bit."""
    images, parameters = photos(2, 64), {"factor": factor, "interpolation": interpolation}
    expected = [perform(image, Applied("compression", "downscale", parameters), None) for image in images]
    found = as_array(device_degradations.downscale(as_tensor(images), [parameters] * 2))
    assert np.abs(found.astype(int) - expected).max() <= (2 if interpolation == "area" else 0)


def test_downscaling_with_several_interpolations_at_once():
    images = photos(3, 32)
    parameters = [{"factor": 0.3, "interpolation": name} for name in ("nearest", "bilinear", "nearest")]
    expected = [
        perform(image, Applied("compression", "downscale", each), None)
        for image, each in zip(images, parameters, strict=True)
    ]
    assert np.array_equal(as_array(device_degradations.downscale(as_tensor(images), parameters)), expected)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize(("resolution", "channels"), [(8, 3), (16, 3), (64, 3), (64, 1)])
@pytest.mark.parametrize("quality", [10, 30, 50, 90])
def test_jpeg_is_that_of_the_library(resolution, channels, quality):
    images = photos(8, resolution, channels)
    applied = Applied("compression", "jpeg", {"quality": quality})
    expected = np.stack([perform(image, applied, None) for image in images])
    found = as_array(device_degradations.jpeg(as_tensor(images), [applied.parameters] * 8))
    assert np.abs(found.astype(int) - expected).mean() < 0.3
    assert psnr(found, expected) > max(45, psnr(found, images) + 10)  # much nearer to each other than to the photos


def test_jpeg_takes_a_quality_for_each_image():
    images = as_tensor(photos(3, 32))
    parameters = [{"quality": quality} for quality in (30, 40, 50)]
    together = device_degradations.jpeg(images, parameters)
    for row, drawn in enumerate(parameters):
        assert torch.equal(device_degradations.jpeg(images[row : row + 1], [drawn])[0], together[row])


def test_quantisation_tables_are_finer_for_low_frequencies_and_high_qualities():
    luma, chroma = quantisation_tables(30)
    assert luma.shape == (64,) and luma[0] < luma[63] and luma.sum() < chroma.sum()
    assert (quantisation_tables(50) <= quantisation_tables(30)).all() and (quantisation_tables(100) == 1).all()
    assert luma.reshape(8, 8)[0, 7] != luma.reshape(8, 8)[7, 0]  # so a table that was turned would not go unnoticed


@pytest.mark.parametrize("variance", [10.0, 650.0])
def test_noise_has_its_variance_and_differs_between_images(variance):
    gray = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    noise = device_degradations.gaussian_noise(gray, [{"variance": variance}] * 4, range(4)).double() - 128
    assert noise.var().item() == pytest.approx(variance + 1 / 12, rel=0.05)  # 1/12 comes from rounding
    assert abs(noise.mean()) < 5 * (variance / noise.numel()) ** 0.5
    correlation = np.corrcoef(noise.flatten(1).numpy()) - np.eye(4)
    assert np.abs(correlation).max() < 0.05


def test_noise_clips_at_black_and_white():
    flat = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 3, 32, 32)
    noisy = device_degradations.gaussian_noise(flat, [{"variance": 650.0}] * 2, range(2))
    assert (noisy == flat).float().mean() == pytest.approx(0.5, abs=0.05)
    assert (noisy[0] < 150).all() and (noisy[1] > 105).all()


# Whole numbers.


@given(taps=st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda taps: sum(taps) > 0.1))
@settings(max_examples=100)
def test_whole_weights_keep_the_sum_and_stay_near(taps):
    taps = np.array(taps) / sum(taps)
    weights = whole_weights(taps.cumsum())
    assert weights.sum() == 2**WEIGHT_BITS and (weights == weights.round()).all() and (weights >= 0).all()
    assert np.abs(weights / 2**WEIGHT_BITS - taps).max() <= 1.01 / 2**WEIGHT_BITS


@given(size=st.integers(1, 9), index=st.integers(-40, 40))
def test_reflection_repeats_the_edge(size, index):
    mirror = [*range(size), *reversed(range(size))]
    assert reflect_indices(torch.tensor(index), size) == mirror[index % len(mirror)]


def test_every_pixel_of_a_band_spreads_all_its_weight():
    """With symmetric taps and mirrored borders, rows and columns have the same sums."""
    bands = band_matrices(torch.tensor([[1.0, 2.0, 4.0, 2.0, 1.0]]), 7)
    assert (bands.sum(1) == 10).all() and (bands.sum(2) == 10).all()
    assert bands[0, 3].tolist() == [0, 1, 2, 4, 2, 1, 0] and bands[0, 0].tolist() == [6, 3, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_off_within_and_as_before_afterwards(allowed):
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = allowed
        with pytest.raises(KeyError), exact_products():
            assert not matmul.allow_tf32
            raise KeyError
        assert matmul.allow_tf32 == allowed
    finally:
        matmul.allow_tf32 = before


# Recipes.


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_plan_is_what_the_workers_do(recipe):
    """Up to the first noise, which takes random numbers of the workers' generator."""
    image = photos(1, 16)[0]
    for seed in range(30):
        _, record = degrade(image, recipe, np.random.default_rng(seed))
        planned = plan(recipe, np.random.default_rng(seed), 16)
        same = next((i + 1 for i, applied in enumerate(record) if applied.family == "noise"), len(record))
        assert planned[:same] == record[:same]
        assert [applied.family for applied in planned] == [applied.family for applied in record]


@pytest.mark.parametrize("recipe", ["mixture", "blur", "super_resolution"])
def test_an_image_is_the_same_in_any_batch(recipe):
    images, plans = as_tensor(photos(24, 32)), plans_of(recipe, 24, 32)
    before = images.clone()
    whole = device_degradations.degrade(images, plans)
    assert torch.equal(images, before) and not torch.equal(whole, images)
    for step in (1, 5):
        parts = [slice(first, first + step) for first in range(0, 24, step)]
        pieces = [device_degradations.degrade(images[part], plans[part]) for part in parts]
        assert torch.equal(torch.cat(pieces), whole)
    order = np.random.default_rng(0).permutation(24)
    mixed = device_degradations.degrade(images[order], [plans[i] for i in order])
    assert torch.equal(mixed, whole[order])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_pictures_without_waiting():
    """All but noise, whose numbers are the device's own."""
    images, noisy = as_tensor(photos(24, 64)), plans_of("mixture", 24, 64)
    plans = [tuple(task for task in tasks if task.applied.family != "noise") for tasks in noisy]
    on_gpu = images.cuda()
    device_degradations.degrade(on_gpu, noisy)  # what is made once and kept
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = device_degradations.degrade(on_gpu, plans)
        device_degradations.degrade(on_gpu, noisy)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), device_degradations.degrade(images, plans))


def test_plans_are_followed_in_their_order():
    """Whatever the order of families, and also where one comes twice."""
    image = as_tensor(photos(1, 32))
    blur, small = Applied("blur", "median_blur", {"size": 5}), Applied("compression", "jpeg", {"quality": 30})
    for steps in ([small, blur], [blur, small], [blur, small, blur]):
        expected = image
        for step in steps:
            expected = device_degradations.PRIMITIVES[step.name](expected, [step.parameters])
        assert torch.equal(degrade_by(image.repeat(2, 1, 1, 1), [steps, [blur]])[:1], expected)


def test_two_noises_of_a_plan_are_independent():
    gray = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    noise = Applied("noise", "gaussian_noise", {"variance": 50.0})
    once, twice = (degrade_by(gray, [[noise] * n]).double() - 128 for n in (1, 2))
    assert twice.var() == pytest.approx(100, rel=0.1) and once.var() == pytest.approx(50, rel=0.1)


def describe(images: np.ndarray, degraded: np.ndarray) -> dict[str, np.ndarray]:
    """Return numbers [N] of each degraded image: its error, how much detail it has, its brightness and its blocks."""
    difference = degraded.astype(float) - images
    across = np.abs(np.diff(degraded.astype(float), axis=2)).mean((1, 3))  # [N, R - 1]
    borders = np.arange(across.shape[1]) % 8 == 7
    return {
        "error": (difference**2).mean((1, 2, 3)),
        "detail": np.diff(degraded.astype(float), axis=1).var((1, 2, 3)),
        "brightness": difference.mean((1, 2, 3)),
        "blocks": across[:, borders].mean(1) / across[:, ~borders].mean(1),
    }


@pytest.mark.parametrize("recipe", ["mixture", "multiple"])
def test_device_and_workers_have_the_same_distribution(recipe):
    from scipy.stats import ks_2samp  # takes seconds, which only this test needs to wait

    count, resolution = 400, 32
    images = photos(count, resolution)
    by_workers = np.stack([degrade(x, recipe, np.random.default_rng((1, i)))[0] for i, x in enumerate(images)])
    by_device = device_degradations.degrade(as_tensor(images), plans_of(recipe, count, resolution))
    workers, device = describe(images, by_workers), describe(images, as_array(by_device))
    half_as_strong = describe(images, (images + (by_workers.astype(float) - images) / 2).astype(np.uint8))
    for name in workers:
        assert ks_2samp(workers[name], device[name]).pvalue > 0.01, name
    assert ks_2samp(workers["error"], half_as_strong["error"]).pvalue < 1e-4  # which the test would notice


# Runs.


@pytest.fixture
def config(run_files):
    def make(degrade_on="device", **changes):
        return with_overrides(tiny_config(*run_files, **changes), {"data.degrade_on": degrade_on})

    return make


def reals_of(config, world, stream):
    trainer = Trainer(config, IMAGES, world)
    trainer.images_seen = 16
    rounds = list(trainer._rounds(next(stream)))
    return {name: torch.cat([round_.reals[name] for round_ in rounds]) for name in rounds[0].reals}


def sharp_batches(config, world, workers=0):
    """Return a stream from image 16 on whose workers do not degrade."""
    share = config.batch // world.size
    rows = slice(world.rank * share, (world.rank + 1) * share)
    return iter(TrainingBatches(open_dataset(config), config.batch, rows, config.seed, 16, workers, degrade=False))


def test_the_trainer_degrades_what_the_workers_have_not(config):
    """Each image by its number in the run, in rounds and processes of any size."""
    alone, cpu = World(0, 1, torch.device("cpu")), torch.device("cpu")
    whole = reals_of(config(), alone, sharp_batches(config(), alone))
    assert not torch.equal(whole["degraded"], whole["sharp"])
    rounds = config(run={"batch_gpu": 4})
    assert torch.equal(reals_of(rounds, alone, sharp_batches(rounds, alone))["degraded"], whole["degraded"])
    halves = [reals_of(config(), World(r, 2, cpu), sharp_batches(config(), World(r, 2, cpu))) for r in (0, 1)]
    for name in ("sharp", "degraded"):
        assert torch.equal(torch.cat([half[name] for half in halves]), whole[name])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_leave_degrading_to_the_device(config, workers):
    """They plan it instead, from the numbers of the images in the run alone."""
    assert next(batches(config())).degraded is not None and next(batches(config())).plans is None
    batch = next(sharp_batches(config(), World(0, 1, torch.device("cpu")), workers))
    numbers = range(16, 24)
    expected = [plan("mixture", np.random.default_rng((0, FOR_DEGRADATION, number)), 16) for number in numbers]
    assert batch.degraded is None and [[task.applied for task in tasks] for tasks in batch.plans] == expected
    seeds = [[task.seed for task in tasks] for tasks in batch.plans]
    assert seeds == [
        [derive_seed(0, FOR_DEGRADATION_NOISE, number, step) for step in range(len(steps))]
        for number, steps in zip(numbers, expected, strict=True)
    ]


def test_an_interrupted_run_ends_as_one_that_was_not(config, tmp_path, monkeypatch):
    made = []
    original = device_degradations.degrade
    monkeypatch.setattr(device_degradations, "degrade", lambda *args: made.append(args[1]) or original(*args))
    for kimg, name in ((0.016, "whole"), (0.008, "parts"), (0.016, "parts")):
        run_here(config(run={"kimg": kimg, "kimg_per_tick": 0.008}), tmp_path / name)
    assert made == [plan_numbered("mixture", 0, range(first, first + 8), 16) for first in (0, 8, 0, 8)]
    whole, parts = (load_state(tmp_path / name / "training-state.pt") for name in ("whole", "parts"))
    assert not changed(snapshot(whole), snapshot(parts))
    assert whole["degrading"] == {"place": "device", "ticks_left": 0}


def test_a_run_keeps_its_place(config, tmp_path):
    run_here(config(run={"kimg": 0.008}), tmp_path)
    with pytest.raises(UserError, match="data.degrade_on: device -> workers"):
        run_here(config(degrade_on="workers", run={"kimg": 0.016}), tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"data.degrade_on": "gpu"}, "value of data.degrade_on"),
        ({"data.degrade_wait": "1.5"}, "data.degrade_wait is 1.5, must be from 0 to 1"),
    ],
)
def test_settings_that_mean_nothing(config, change, complaint):
    with pytest.raises(UserError, match=complaint):
        with_overrides(config(), change)


# The choice of "auto".


def test_auto_means_the_workers_on_a_cpu():
    place = DegradeOn(DataConfig(), torch.device("cpu"))
    assert (place.place, place.ticks_left) == ("workers", 0) and not place.tick(True) and place.place == "workers"


def test_auto_moves_once_on_a_gpu_within_the_first_ticks():
    gpu = torch.device("cuda")
    place = DegradeOn(DataConfig(), gpu)
    assert not place.tick(False) and place.tick(True) and place.place == "device" and not place.tick(True)
    late = DegradeOn(DataConfig(), gpu)
    assert not any(late.tick(False) for _ in range(TRIAL_TICKS)) and not late.tick(True) and late.place == "workers"
    continued = DegradeOn(DataConfig(), gpu)
    continued.load_state_dict(late.state_dict())
    assert not continued.tick(True)


class FakeInputWait:
    """Claims to have waited for a given fraction of the time, and passes items on."""

    def __init__(self, waited_fraction):
        self.waited_fraction = waited_fraction

    def measure(self, items):
        return iter(items)

    def restart(self):
        pass


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_run_that_waits_too_long_moves_at_a_tick(config, tmp_path, monkeypatch, share):
    """Until then it is bit for bit the run whose workers degrade, and once continued the one that was not stopped."""
    monkeypatch.setattr(loop, "InputWait", lambda device: FakeInputWait(share))
    monkeypatch.setattr(loop, "DegradeOn", lambda data, device: DegradeOn(data, torch.device("cuda")))

    def run(kimg, name):
        run_here(config("auto", run={"kimg": kimg, "kimg_per_tick": 0.008}), tmp_path / name)
        return load_state(tmp_path / name / "training-state.pt")

    state, moves = run(0.008, "run"), share > DataConfig().degrade_wait
    assert state["degrading"] == ({"place": "device", "ticks_left": 0} if moves else place_after_a_tick())
    assert (tmp_path / "run" / "log.txt").read_text().count("the device degrades") == moves
    reference = train(new_trainer(config("workers")), 1)
    assert not changed(of_degraded(reference.state_dict()), of_degraded(state["trainer"]))
    if moves:
        continued, whole = run(0.016, "run"), run(0.016, "whole")
        assert not changed(snapshot(continued), snapshot(whole))
        assert changed(of_degraded(continued["trainer"]), of_degraded(train(reference, 1).state_dict()))  # other noise
        assert (tmp_path / "whole" / "log.txt").read_text().count("the device degrades") == 1


def of_degraded(state):
    """Return the weights of the discriminator that has seen the degraded images."""
    return snapshot(state["streams"]["degraded"]["D"])


def place_after_a_tick():
    return {"place": "workers", "ticks_left": TRIAL_TICKS - 1}
