"""From networks and data to results: the streams are the documented images, and the numbers are those of the rows."""

import dataclasses
import json
import math
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from evaluation.evaluate import Sources, evaluate
from evaluation.job import Job, measure
from evaluation.streams import fakes, latent_paths
from evaluation.streams.fakes import FakeOptions, FakeSource, fake_stream
from evaluation.streams.latent_paths import path_stream, slerp
from evaluation.streams.reals import real_stream
from generation.quality_codes import random_code
from generation.rendering import synthesize
from generation.sampling import Sampling, noise_of_seeds, ws_of_seeds, z_of_seeds
from images.datasets.dataset import ImageDataset
from images.decoding import decode
from images.ranges import to_uint8
from metrics.backbones.cifar import WIDTHS
from metrics.distances.frechet import frechet_distance, moments
from metrics.distances.inception_score import inception_score
from metrics.distances.manifold import precision_recall
from metrics.distances.polynomial_kernel import kernel_distance
from metrics.feature_cache import FeatureCache
from metrics.metric import LatentPath, parse_requests
from metrics.weights.directory import WeightsDirectory
from networks.files import load
from networks.latents import Latents
from tests.support.measures import (
    CPU,
    NO_WEIGHTS,
    all_images,
    cifar,
    pixels_of,
    stand_in,
    stream_of,
)
from tests.support.networks import conditional_generator, quality_generator, small_generator, write_network
from tests.support.runs import ALONE, png, write_base, write_images
from tests.support.tolerance import assert_close
from torch_utils.purposes import FOR_METRICS

W_END, W_FULL, Z_END = (
    LatentPath(space, sampling, crop=False) for space, sampling in (("w", "end"), ("w", "full"), ("z", "end"))
)


@pytest.fixture(scope="module", name="G")
def qc_generator():
    torch.manual_seed(1)
    G = quality_generator().requires_grad_(False)
    G.mapping.w_avg.normal_()
    return G


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return images, a plain network and a QC one."""
    folder = tmp_path_factory.mktemp("evaluation")
    data = write_images(folder / "images.zip", 20)
    return data, write_base(folder / "base.safetensors"), write_network(folder / "qc.safetensors")


# Generated images.


def expected_images(G, seeds, quality, psi=1.0):
    """Return the images that generate.py would make, uint8 `[N, C, H, W]`."""
    ws = ws_of_seeds(G, seeds, Sampling(truncation_psi=psi))
    q = torch.from_numpy(np.concatenate([random_code(seed, G.q_dim, 0) for seed in seeds]))
    images = synthesize(G, Latents(ws, q=q if quality == "degraded" else None), noise_of_seeds(G, seeds))
    return torch.from_numpy(to_uint8(images)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("quality", ["sharp", "degraded"])
@pytest.mark.parametrize("psi", [1.0, 0.5])
def test_fakes_are_the_images_of_their_seeds(G, quality, psi):
    stream = fake_stream(FakeSource(G, quality, FakeOptions(5, psi, "const", batch=3)), 7)
    batches = list(stream.batches(0, 1))
    assert [len(batch) for batch in batches] == [3, 3, 1] and stream.num_batches == 3
    for batch, seeds in zip(batches, [range(5, 8), range(8, 11), range(11, 12)], strict=True):
        assert torch.equal(batch, expected_images(G, seeds, quality, psi))


def test_degraded_fakes_are_not_sharp_ones_and_noise_is_what_is_asked_for(G):
    options = FakeOptions(noise_mode="const", batch=4)
    sharp, degraded = (all_images(fake_stream(FakeSource(G, quality, options), 4)) for quality in ("sharp", "degraded"))
    assert not torch.equal(sharp, degraded)
    random = fake_stream(FakeSource(G, "sharp", dataclasses.replace(options, noise_mode="random")), 4)
    assert not torch.equal(all_images(random), sharp) and torch.equal(all_images(random), all_images(random))


@pytest.mark.parametrize("make", ["fakes", "paths"])
@pytest.mark.parametrize("quality", ["sharp", "degraded"])
def test_processes_make_together_what_one_makes(G, make, quality):
    source = FakeSource(G, quality, FakeOptions(noise_mode="random", batch=2))
    stream = fake_stream(source, 7) if make == "fakes" else path_stream(source, 7, W_FULL)
    whole = list(stream.batches(0, 1))
    for size in (2, 3, 5):
        for rank in range(size):
            own = list(stream.batches(rank, size))
            assert len(own) == len(whole[rank::size])
            assert all(torch.equal(a, b) for a, b in zip(own, whole[rank::size], strict=True))


def test_batches_have_noise_of_their_own(G):
    source = FakeSource(G, "sharp", FakeOptions(noise_mode="random"))
    first, second = (source.noise(seeds)[-1][0] for seeds in (range(0, 2), range(2, 4)))
    assert not torch.equal(first, second)


def test_a_network_of_nan_names_the_first_seed():
    G = small_generator().eval()
    torch.nn.init.constant_(G.synthesis.block(1).conv0.weight, math.nan)
    stream = fake_stream(FakeSource(G, "sharp", FakeOptions(first_seed=9, batch=2), name="broken"), 4)
    with torch.no_grad(), pytest.raises(UserError, match="broken gives values for seed 9 that are no numbers; use an"):
        next(stream.batches(0, 1))


def test_the_seed_of_a_single_bad_image_is_named():
    images = torch.zeros(6, 3, 4, 4)
    images[4, 1, 2, 3] = math.inf
    source = FakeSource(small_generator(), "sharp", name="net")
    with pytest.raises(UserError, match="net gives values for seed 21 that"):
        source.require_finite(images, [20, 21, 22] * 2)
    assert source.require_finite(images[:3], range(20, 23)).shape == (3, 3, 4, 4)


def test_conditional_networks_draw_classes():
    G = conditional_generator(classes=3)
    seeds = range(200)
    given_class = FakeSource(G, "sharp", FakeOptions(class_index=1)).c(seeds)
    assert torch.equal(given_class, F.one_hot(torch.ones(200, dtype=torch.long), 3).float())
    drawn = FakeSource(G, "sharp").c(seeds)
    assert torch.equal(drawn.sum(1), torch.ones(200)) and (drawn.sum(0) > 40).all()
    assert torch.equal(FakeSource(G, "sharp").c(range(50, 60)), drawn[50:60])
    assert FakeSource(small_generator(), "sharp").c(seeds) is None


def labelled(path, labels):
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(len(labels)):
            archive.writestr(f"img{index:02d}.png", png(index))
        pairs = [[f"img{index:02d}.png", label] for index, label in enumerate(labels)]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    return path


def test_classes_are_as_frequent_as_in_the_data(tmp_path):
    data = ImageDataset(labelled(tmp_path / "images.zip", [0, 2, 2, 2]), use_labels=True)
    drawn = FakeSource(conditional_generator(3), "sharp", labels=data).c(range(400)).mean(0)
    assert drawn[1] == 0 and 0.67 < drawn[2] < 0.83


# Real images.


@pytest.fixture(scope="module")
def dataset(files):
    return ImageDataset(files[0], mirror=True, degradation="mixture")


def test_reals_are_the_datasets_images_without_mirrored_ones(dataset):
    stream = real_stream(dataset, "sharp", batch=8)
    assert stream.count == 20 and [len(batch) for batch in stream.batches(0, 1)] == [8, 8, 4]
    assert torch.equal(all_images(stream), torch.stack([torch.from_numpy(dataset.image(i)) for i in range(20)]))


def test_degraded_reals_are_degraded_by_their_number_and_the_seed(dataset):
    stream = real_stream(dataset, "degraded", seed=7, batch=8)
    expected = [dataset.pair(i, (7, FOR_METRICS, i))[1] for i in range(20)]
    np.testing.assert_array_equal(all_images(stream), np.stack(expected))
    assert not torch.equal(all_images(stream), all_images(real_stream(dataset, "degraded", seed=8, batch=8)))


def test_workers_change_nothing(dataset):
    alone, helped = (real_stream(dataset, "degraded", batch=8, workers=workers) for workers in (0, 1))
    assert torch.equal(all_images(alone), all_images(helped))
    for rank in range(2):
        shares = [torch.cat(list(stream.batches(rank, 2))) for stream in (alone, helped)]
        assert torch.equal(*shares) and torch.equal(shares[0], torch.cat(all_images(alone).split(8)[rank::2]))


def test_reals_are_known_by_all_that_they_depend_on(dataset, files):
    sharp = real_stream(dataset, "sharp", seed=1).identity()
    assert sharp == real_stream(ImageDataset(files[0]), "sharp", seed=2, batch=5, workers=1).identity()
    found = [sharp]
    for recipe, seed in [("mixture", 1), ("mixture", 2), ("blur", 1)]:
        found.append(real_stream(ImageDataset(files[0], degradation=recipe), "degraded", seed).identity())
    assert len({json.dumps(identity) for identity in found}) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_one_sentence(tmp_path, workers):
    for index in range(4):
        (tmp_path / f"img{index}.png").write_bytes(png(index)[: -200 if index == 2 else None])
    with pytest.raises(UserError, match="img2.png in .* cannot be read"):
        all_images(real_stream(ImageDataset(tmp_path), "sharp", batch=2, workers=workers))
    skipping = all_images(real_stream(ImageDataset(tmp_path, on_bad_image="skip"), "sharp", batch=2, workers=workers))
    assert torch.equal(skipping[2], skipping[3]) and not torch.equal(skipping[0], skipping[1])


# Paths.


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_slerp_goes_the_share_of_the_angle(seed, t):
    a, b = np.random.default_rng(seed).normal(size=(2, 1, 8))
    place = slerp(torch.tensor(a), torch.tensor(b), torch.tensor([t])).double().numpy()
    whole = angle(a, b)
    assert np.linalg.norm(place) == pytest.approx(1, abs=1e-6)
    assert angle(a, place) == pytest.approx(t * whole, abs=2e-3)
    assert angle(b, place) == pytest.approx((1 - t) * whole, abs=2e-3)


def angle(a, b):
    return math.acos(np.clip((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


def pairs_of(G, path, quality="sharp", **options):
    source = FakeSource(G, quality, FakeOptions(noise_mode="const", batch=4, **options))
    return all_images(path_stream(source, 4, path))


@pytest.mark.parametrize("path", [W_END, Z_END], ids=["w", "z"])
@pytest.mark.parametrize("quality", ["sharp", "degraded"])
def test_paths_begin_at_the_images_of_the_seeds(G, path, quality):
    here, there = pairs_of(G, path, quality, first_seed=3).chunk(2, dim=1)
    assert (here.round().clamp(0, 255) - expected_images(G, range(3, 7), quality).float()).abs().max() <= 1
    assert 0 < (here - there).abs().max() < 1


@pytest.mark.parametrize("space", ["w", "z"])
def test_full_paths_begin_elsewhere(G, space):
    here = pairs_of(G, LatentPath(space, "full", crop=False)).chunk(2, dim=1)[0]
    assert (here.round().clamp(0, 255) - expected_images(G, range(4), "sharp").float()).abs().amax((1, 2, 3)).min() > 1


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_step_twice_as_long_changes_the_image_twice_as_much(G, space):
    changes = []
    for epsilon in (1e-2, 2e-2):
        here, there = pairs_of(G, LatentPath(space, "end", crop=False, epsilon=epsilon)).chunk(2, dim=1)
        changes.append((there - here).double().square().mean().sqrt().item())
    assert changes[1] / changes[0] == pytest.approx(2, rel=0.05)


def test_steps_in_w_are_linear_between_two_latents(G):
    """At the first of two latents, and a whole step further at the other one."""
    source = FakeSource(G, "sharp", FakeOptions(noise_mode="const"))
    here, there = latent_paths._steps(source, range(2), LatentPath("w", "end", crop=False, epsilon=1.0))
    near, _ = latent_paths._steps(source, range(2), LatentPath("w", "end", crop=False, epsilon=0.25))
    _, quarter = latent_paths._steps(source, range(2), LatentPath("w", "end", crop=False, epsilon=0.25))
    assert torch.equal(here, G.mapping(z_of_seeds(range(2), G.z_dim), None)) and torch.equal(near, here)
    assert_close(quarter, 0.75 * here + 0.25 * there, rtol=1e-6)


def test_what_is_compared_is_the_middle_at_256_pixels_at_most():
    images = torch.rand(2, 3, 512, 512)
    assert_close(latent_paths._compared_part(images, crop=False), F.interpolate(images, size=256, mode="area"))
    assert torch.equal(latent_paths._compared_part(images, crop=True), images[:, :, 192:448, 128:384])
    assert latent_paths._compared_part(images[:, :, :16, :16], crop=False).shape == (2, 3, 16, 16)
    assert latent_paths._compared_part(images[:, :, :16, :16], crop=True).shape == (2, 3, 8, 8)


# Results.


def results_of(names, fake_images, real_images, detectors=None, cache=None, tmp_path=None, seed=0):
    detectors = detectors or {"cifar": cifar()}
    reals = None if real_images is None else stream_of(real_images, name="reals")
    sources = Sources(lambda count: stream_of(fake_images[:count], name="fakes"), reals)
    return evaluate(ALONE, parse_requests(names), sources, detectors, cache or FeatureCache(tmp_path), seed)


@pytest.fixture(scope="module")
def sets():
    """Return two sets of images, uint8 `[N, 3, 16, 16]`."""

    def images(seeds):
        return torch.from_numpy(np.stack([np.array(decode(png(seed))) for seed in seeds])).permute(0, 3, 1, 2)

    return images(range(16)), images(range(100, 112))


def test_values_are_those_of_the_features(sets, tmp_path):
    fake, real = sets
    rows, real_rows = (cifar().features(images).numpy() for images in sets)
    found = results_of("fd16_cifar,kd16_cifar,pr16_cifar", fake, real, tmp_path=tmp_path, seed=3)
    values = {name: value for result in found for name, value in result.values.items()}
    precision, recall = precision_recall(real_rows, rows, 3)
    assert values == {
        "fd16_cifar": pytest.approx(frechet_distance(moments(rows), moments(real_rows)), rel=1e-4),
        "kd16_cifar": pytest.approx(kernel_distance(real_rows, rows, np.random.RandomState(3)), rel=1e-3, abs=1e-7),
        "pr16_cifar_precision": precision,
        "pr16_cifar_recall": recall,
    }
    assert values["fd16_cifar"] > 0


def test_a_set_has_no_distance_to_itself(sets, tmp_path):
    [same] = results_of("fd12_cifar", sets[1], sets[1], tmp_path=tmp_path)
    [different] = results_of("fd12_cifar", sets[0], sets[1], tmp_path=tmp_path)
    assert 0 <= same.values["fd12_cifar"] < 1e-4 * different.values["fd12_cifar"]


def test_a_request_sees_the_first_of_the_images(sets, tmp_path):
    """Of several requests, the largest decides how many images are made; each looks at its own number."""
    both = results_of("fd16_cifar,fd8_cifar", *sets, tmp_path=tmp_path)
    [alone] = results_of("fd8_cifar", sets[0][:8], sets[1], tmp_path=tmp_path)
    assert both[1].values == {"fd8_cifar": pytest.approx(alone.values["fd8_cifar"], rel=1e-5)}
    assert [result.record["num_fakes"] for result in both] == [16, 8]


def test_all_reals_or_as_many_as_fakes(sets, tmp_path):
    detectors = {"inception": stand_in()}
    every, many = results_of("fid8_full,fid8", *sets, detectors, tmp_path=tmp_path)
    assert (every.record["num_reals"], many.record["num_reals"]) == (12, 8)
    rows, real_rows = (detectors["inception"].features(images).numpy() for images in sets)
    assert every.values["fid8_full"] == pytest.approx(frechet_distance(moments(rows[:8]), moments(real_rows)))
    assert many.values["fid8"] == pytest.approx(frechet_distance(moments(rows[:8]), moments(real_rows[:8])))


def test_too_few_images_for_the_features_are_noted(sets, tmp_path):
    [few] = results_of("fd16_cifar", *sets, tmp_path=tmp_path)
    assert few.record["notes"] == [
        f"singular covariance (16 fakes and 12 reals in {sum(WIDTHS[1:])} dimensions): the distance is too large"
    ]
    [enough, half] = results_of("fid16_full,fid4_full", *sets, {"inception": stand_in()}, tmp_path=tmp_path)
    assert enough.record["notes"] == [] and "(4 fakes in 4 dimensions)" in half.record["notes"][0]


def test_scores_need_no_reals(sets, tmp_path):
    [result] = results_of("is16", sets[0], None, {"inception": stand_in()}, tmp_path=tmp_path)
    mean, std = inception_score(stand_in().probabilities(sets[0]).numpy(), 10)
    assert result.values == {"is16_mean": pytest.approx(mean), "is16_std": pytest.approx(std, abs=1e-9)}
    assert result.record["num_reals"] == 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fakes_count, reals_count, kind", [(3, 12, "generated"), (16, 3, "real")])
def test_too_few_images_are_noticed_before_any_is_made(sets, tmp_path, fakes_count, reals_count, kind):
    def none_yet(count):
        raise AssertionError("an image has been asked for")

    sources = Sources(none_yet, stream_of(sets[1][:reals_count]))
    requests = parse_requests(f"fd{fakes_count}_cifar,pr{fakes_count}_cifar")
    with pytest.raises(UserError, match=f"pr{fakes_count}_cifar needs at least 4 {kind} images, here are 3"):
        evaluate(ALONE, requests, sources, {"cifar": cifar()}, FeatureCache(tmp_path))


def test_reals_are_read_once(sets, tmp_path):
    cache, reads = FeatureCache(tmp_path), []
    reals = stream_of(sets[1], name="reals")

    def counted(first, step):
        for batch in reals.batches(first, step):
            reads.append(len(batch))
            yield batch

    sources = Sources(lambda count: stream_of(sets[0][:count]), dataclasses.replace(reals, batches=counted))
    requests = parse_requests("fd16_cifar,kd16_cifar")
    runs = [evaluate(ALONE, requests, sources, {"cifar": cifar()}, cache) for _ in range(2)]
    assert sum(reads) == 12 and runs[0][0].values == runs[1][0].values
    other = {"cifar": dataclasses.replace(cifar(), sha256={"cifar10.safetensors": "another"})}
    evaluate(ALONE, requests, sources, other, cache)
    assert sum(reads) == 24  # other weights have features of their own


def test_records_say_what_numbers_depend_on(sets, tmp_path):
    [result] = results_of("kd16_cifar", *sets, tmp_path=tmp_path, seed=5)
    record = json.loads(json.dumps(result.record))
    assert record["values"] == result.values and record["metric"] == "kd16_cifar" and record["subset_seed"] == 5
    assert (record["fakes"], record["reals"]) == ({"images": "fakes"}, {"images": "reals"})
    assert record["detector"]["name"] == "cifar" and len(record["detector"]["sha256"]["cifar10.safetensors"]) == 64


def test_path_lengths_are_distances_over_the_square_of_the_step(G, tmp_path):
    source = FakeSource(G, "sharp", FakeOptions(batch=4))
    sources = Sources(None, None, lambda count, path: path_stream(source, count, path))
    [result] = evaluate(ALONE, parse_requests("ppl_cifar_wend6"), sources, {"cifar": cifar()}, FeatureCache(tmp_path))
    pairs = path_stream(source, 6, W_END)
    distances = torch.cat([cifar().distances(*batch.chunk(2, dim=1)) for batch in pairs.batches(0, 1)])
    assert 0 < result.values["ppl_cifar_wend6"] == pytest.approx(distances.double().mean().item() * 1e8, rel=1e-5)


# Jobs.


def job(files, names="fd8_cifar", **changes):
    values = {"network": str(files[1]), "data": str(files[0]), "weights": NO_WEIGHTS, **changes}
    return Job(tuple(parse_requests(names)), **values)


def test_a_job_measures_a_network_at_each_quality(files, tmp_path):
    options = FakeOptions(noise_mode="const", batch=8)
    made = job(files, network=str(files[2]), qualities=("sharp", "degraded"), cache_dir=tmp_path, options=options)
    sharp, degraded = measure(ALONE, made)
    assert (sharp.record["quality"], degraded.record["quality"]) == ("sharp", "degraded")
    assert sharp.record["network"]["file"] == str(files[2]) and len(sharp.record["network"]["sha256"]) == 64
    dataset = ImageDataset(files[0], degradation="mixture")
    G = load(files[2], CPU)
    for result in (sharp, degraded):
        quality = result.record["quality"]
        rows = cifar().features(expected_images(G, range(8), quality)).numpy()
        real_rows = cifar().features(all_images(real_stream(dataset, quality))).numpy()
        expected = frechet_distance(moments(rows), moments(real_rows))
        assert result.values["fd8_cifar"] == pytest.approx(expected, rel=1e-4)


def test_the_degradation_is_the_networks_unless_another_is_given(files, tmp_path):
    network = str(write_network(tmp_path / "qc.safetensors", degradation="blur"))
    common = {"network": network, "qualities": ("degraded",), "cache_dir": tmp_path / "cache"}
    [own], [other] = (measure(ALONE, job(files, **common, degradation=recipe)) for recipe in (None, "noise"))
    assert (own.record["reals"]["degradation"], other.record["reals"]["degradation"]) == ("blur", "noise")


def test_images_are_measured_in_place_of_a_networks(files, tmp_path):
    other = write_images(tmp_path / "others.zip", 6)
    names = "fd_cifar,fd5k_cifar,pr4_cifar"
    results = measure(ALONE, job(files, names, network=None, images=str(other), cache_dir=tmp_path / "cache"))
    assert [result.name for result in results] == ["fd6_cifar", "pr4_cifar"]  # there are no more, so two are one
    rows, real_rows = (cifar().features(pixels_of(path)).numpy() for path in (other, files[0]))
    expected = frechet_distance(moments(rows), moments(real_rows))
    assert results[0].values["fd6_cifar"] == pytest.approx(expected, rel=1e-4)


def test_labels_of_the_data_are_drawn_for_a_conditional_network(files, tmp_path):
    network = str(write_network(tmp_path / "cond.safetensors", conditional_generator(3)))
    common = {"network": network, "cache_dir": tmp_path / "cache"}
    data = str(labelled(tmp_path / "three.zip", [0, 1, 2, 2]))
    [drawn] = measure(ALONE, job(files, **common, data=data))
    [given_class] = measure(ALONE, job(files, **common, options=FakeOptions(class_index=1)))  # needs no labels
    assert drawn.record["num_reals"] == 4 and given_class.record["num_reals"] == 20
    two = str(labelled(tmp_path / "two.zip", [0, 1, 1, 0]))
    with pytest.raises(UserError, match="cond.safetensors has 3 classes, .*two.zip has 2; choose other data"):
        measure(ALONE, job(files, **common, data=two))
    with pytest.raises(UserError, match="has no dataset.json, which would hold labels; draw the images of one class"):
        measure(ALONE, job(files, **common))


def test_the_last_seed_is_an_image_too(files, tmp_path):
    [result] = measure(ALONE, job(files, cache_dir=tmp_path, options=FakeOptions(first_seed=2**32 - 8)))
    assert result.record["fakes"]["first_seed"] == 2**32 - 8


def smaller_images(path, side, mode="RGB"):
    path.mkdir()
    for index in range(4):
        PIL.Image.new(mode, (side, side), index).save(path / f"img{index}.png")
    return str(path)


MISFITS = {
    "resolution": (lambda folder: {"data": smaller_images(folder / "32", 32)}, "16x16 with 3 .*32x32 with 3; run"),
    "channels": (lambda folder: {"data": smaller_images(folder / "gray", 16, "L")}, "with 3 channels, .*16x16 with 1"),
    "plain": (lambda folder: {"qualities": ("degraded",)}, "--quality=degraded needs a QC network, and .*base.* plain"),
    "no data": (lambda folder: {"data": None}, "fd8_cifar compares with real images; give them with --data"),
    "class": (lambda folder: {"options": FakeOptions(class_index=0)}, "--class=0 is given, and this network has no"),
    "seeds": (
        lambda folder: {"options": FakeOptions(first_seed=2**32 - 7)},
        "--first-seed=4294967289 leaves no seeds up to 4294967295 for 8 images; begin lower",
    ),
    "no network": (lambda folder: {"network": "missing.safetensors"}, "missing.safetensors does not exist"),
    "no images": (lambda folder: {"network": None, "images": "missing"}, "missing"),
    "small set": (lambda folder: {"data": smaller_images(folder / "x", 16), "names": "pr3_cifar"}, "at least 4"),
    "weights": (
        lambda folder: {"names": "fid8_full", "weights": WeightsDirectory(folder)},
        "inception.* is not in .*--fetch=",
    ),
    "path of images": (
        lambda folder: {"names": "ppl_cifar_wend8", "network": None, "images": smaller_images(folder / "x", 16)},
        "ppl_cifar_wend8 is measured along a network's latents; give --network=FILE",
    ),
    "images of another size": (
        lambda folder: {"network": None, "images": smaller_images(folder / "x", 8)},
        "x has images of 8x8 with 3 channels, .*16x16 with 3",
    ),
}


@pytest.mark.parametrize("misfit, sentence", MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_one_sentence_before_any_image_is_made(files, tmp_path, monkeypatch, misfit, sentence):
    def too_early(*_):
        raise AssertionError("an image has been made")

    monkeypatch.setattr(fakes, "synthesize", too_early)
    monkeypatch.setattr(latent_paths, "synthesize", too_early)
    with pytest.raises(UserError, match=sentence) as error:
        measure(ALONE, job(files, **misfit(tmp_path), cache_dir=tmp_path / "cache"))
    assert "\n" not in str(error.value)
