"""calc_metrics.py: measurements, tables and pairs from the command line; and the detector that is embedded."""

import dataclasses
import json
import math
import re
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

import calc_metrics
from dnnlib.errors import UserError
from evaluation.choices import KINDS
from evaluation.degradation_labels import graded, present_or_not
from evaluation.job import Job
from evaluation.streams.fakes import FakeOptions, FakeSource, fake_stream
from evaluation.streams.files import frame_batches, image_batches
from evaluation.tables.table1 import PAPER, PAPER_ABLATIONS
from generation.rendering import render, synthesize
from generation.sampling import noise_of_seeds, ws_of_seeds
from images.decoding import decode
from images.files import ImageFiles
from images.ranges import to_levels, to_uint8
from images.video.writer import write_mp4
from inversion.quality.fit_quality import QualityOptions, fit_quality
from metrics.backbones import train_cifar
from metrics.backbones.cifar import PATCH, WIDTHS, CifarNetwork, Convolution, load_stored, predict, standardize
from metrics.detector import Detector
from metrics.detectors.cifar import WEIGHTS
from metrics.metric import parse_requests
from networks.config import CrepsConfig, QualityConfig
from networks.files import load
from networks.generators import style_injection
from networks.generators.coordinates import Coordinates
from networks.latents import Latents
from tests.support.measures import NO_WEIGHTS, all_images, cifar, pixels_of
from tests.support.networks import (
    SMALL,
    conditional_generator,
    quality_generator,
    small_creps,
    small_generator,
    write_network,
)
from tests.support.processes import run_distributed
from tests.support.runs import png, write_base, write_images
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import load_tensors, read_header
from torch_utils.linear_classifier import LinearClassifier


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with images, and networks: plain, QC, and conditional."""
    folder = tmp_path_factory.mktemp("calc")
    write_images(folder / "images.zip", 20)
    write_base(folder / "base.safetensors")
    write_network(folder / "qc.safetensors", degradation="blur")
    write_network(folder / "conditional.safetensors", conditional_generator())
    write_network(folder / "blurred.safetensors", small_generator(), degradation="blur")
    write_network(folder / "noisy.safetensors", small_generator(), degradation="noise")
    write_network(folder / "centred.safetensors", small_creps(creps=CrepsConfig(4, 3, pixel_centred=True)))
    return folder


def command(*arguments, code=0):
    """Run the command; return what it prints, or the sentence with which it ends."""
    result = CliRunner().invoke(calc_metrics.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    if code == 0:
        return result.stdout
    [line] = result.stderr.splitlines()
    return line


def measured(files, *arguments, **options):
    cache = f"--cache-dir={files / 'cache'}"
    return command(f"--data={files / 'images.zip'}", cache, "--device=cpu", "--workers=0", *arguments, **options)


# Measurements.


def test_the_command_prints_and_appends_results(files, tmp_path):
    flags = f"--network={files / 'qc.safetensors'}", "--metrics=fd8_cifar,kd_cifar", "--samples=6", "--batch=4"
    printed = measured(files, *flags, "--quality=sharp", "--quality=degraded", "--quality=sharp", "-o", tmp_path / "o")
    lines = [line.split() for line in printed.splitlines() if not line.startswith("  note")]
    assert [line[:2] for line in lines] == [
        [name, quality] for quality in ("sharp", "degraded") for name in ("fd8_cifar", "kd6_cifar")
    ]
    assert "  note: singular covariance (8 fakes and 20 reals in " in printed
    records = [json.loads(line) for line in (tmp_path / "o" / "metric-fd8_cifar.jsonl").read_text().splitlines()]
    assert [record["quality"] for record in records] == ["sharp", "degraded"]
    assert float(lines[0][2]) == pytest.approx(records[0]["values"]["fd8_cifar"], rel=1e-4)
    assert records[1]["reals"]["degradation"] == "blur"
    printed = measured(files, *flags, "--json", "-o", tmp_path / "o")
    assert json.loads(printed.splitlines()[0])["values"] == pytest.approx(records[0]["values"], rel=1e-6)
    assert len((tmp_path / "o" / "metric-fd8_cifar.jsonl").read_text().splitlines()) == 3


def test_a_set_has_no_distance_to_itself(files):
    printed = measured(files, f"--images={files / 'images.zip'}", "--metrics=fd_cifar,pr_cifar", "--json")
    distance, shares = [json.loads(line)["values"] for line in printed.splitlines()]
    assert distance["fd20_cifar"] == pytest.approx(0, abs=1e-4)
    assert shares == {"pr20_cifar_precision": 1, "pr20_cifar_recall": 1}


def test_all_names_are_listed():
    assert {"fid50k_full", "fd50k_cifar", "ppl2_wend"} <= set(command("--list").split())


WRONG = {
    "neither": ([], "what is measured must be one of --network=FILE and --images=PATH; give one of them"),
    "both": (["--network=a.pt", "--images=b"], "one of --network=FILE and --images=PATH"),
    "metric": (["--network=a.pt", "--metrics=fd_cifr"], "did you mean 'fd50k_cifar'"),
    "samples": (["--network=a.pt", "--samples=0"], "--samples=0 is too few"),
    "missing": (["--network=a.pt"], "network a.pt does not exist"),
    "trunc": (["--images=b", "--trunc=1"], "--trunc has no effect with --images; leave it out"),
    "class": (["--images=b", "--class=1"], "--class has no effect with --images; leave it out"),
    "degradation": (["--network=a.pt", "--degradation=blur"], "--degradation has no effect without --quality=degraded"),
    "group": (["--seed=3", "pairs", "a", "b"], " has no effect before the command pairs; write it behind"),
    "device": (["--network=a.pt", "--device=tpu"], "unknown device 'tpu'"),
}


@pytest.mark.parametrize("arguments, sentence", WRONG.values(), ids=WRONG)
def test_wrong_flags_are_one_sentence(tmp_path, arguments, sentence):
    error = command("--device=cpu", f"--cache-dir={tmp_path}", *arguments, code=1)
    assert error.startswith("Error: ") and sentence in error


def test_results_that_cannot_be_written_are_one_sentence(files, tmp_path):
    (tmp_path / "file").write_text("no folder")
    flags = f"--images={files / 'images.zip'}", "--metrics=fd4_cifar", "-o", tmp_path / "file" / "o"
    assert "metric-fd4_cifar.jsonl cannot be written" in measured(files, *flags, code=1)


NAMES = "fd30_cifar,kd30_cifar,pr30_cifar,ppl_cifar_wend10"


def test_two_processes_measure_what_one_does(files, tmp_path):
    """With random noise, degraded reals and a last batch that is short; the second process has less to do."""
    for processes in (1, 2):
        job = Job(
            requests=tuple(parse_requests(NAMES)),
            qualities=("sharp", "degraded"),
            network=str(files / "qc.safetensors"),
            data=str(files / "images.zip"),
            options=FakeOptions(batch=8),
            weights=NO_WEIGHTS,
            cache_dir=tmp_path / f"cache{processes}",
        )
        run_distributed(calc_metrics.print_results, processes, job, str(tmp_path / str(processes)), False)
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) == 4 and names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        alone, together = (
            [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()] for folder in "12"
        )
        assert len(alone) == len(together) == 2
        for one, two in zip(alone, together, strict=True):
            assert two["values"] == pytest.approx(one["values"], rel=1e-9)


# Tables.


def test_table1_has_the_papers_numbers_and_ours(files, tmp_path):
    base, qc = (f"--{name}={files / name}.safetensors" for name in ("base", "qc"))
    flags = ["--metrics=fd8_cifar", f"--data={files / 'images.zip'}", "--workers=0", "--device=cpu"]
    flags += [f"--cache-dir={files / 'cache'}", "-o", tmp_path]
    again = [f"--degraded-base={files / 'blurred.safetensors'}", f"--ablation=C={files / 'qc.safetensors'}"]
    printed = command("table1", base, qc, *flags, *again)
    numbers = json.loads((tmp_path / "table1.json").read_text())
    markdown = (tmp_path / "table1.md").read_text()
    assert markdown in printed
    for row, quality in zip(markdown.splitlines()[4:6], ("sharp", "degraded"), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        ours = [f"{numbers[network][quality]:.2f}" for network in ("base", "qc")]
        assert cells == [quality, *ours, *(f"{value:.2f}" for values in PAPER.values() for value in values[quality])]
    assert "8 generated against 20 real images, detector cifar." in markdown and "singular covariance" in markdown
    measures = [(record["network"]["file"], record["reals"]["quality"]) for record in numbers["records"]]
    base_path, starred, qc_path = (str(files / f"{name}.safetensors") for name in ("base", "blurred", "qc"))
    assert measures == [(base_path, "sharp"), (starred, "degraded"), (qc_path, "sharp"), (qc_path, "degraded")]
    recipes = [record["reals"]["degradation"] for record in numbers["records"][1::2]]
    assert recipes == ["blur", "blur"]  # the QC network's, for both
    ablations = (tmp_path / "table4.md").read_text().splitlines()[4:6]
    assert ablations[0].startswith("| full: the full method |") and ablations[0].endswith("| 3.65 | 3.23 |")
    assert ablations[1].startswith("| C: M = 1 |") and ablations[1].endswith("| 6.38 | 7.59 |")
    assert ablations[0].split("|")[2:4] == ablations[1].split("|")[2:4]  # of the same network


def test_papers_numbers_are_those_of_the_paper():
    assert PAPER["FFHQ"] == {"sharp": (3.48, 3.65), "degraded": (4.38, 3.23)}
    assert sorted(PAPER_ABLATIONS) == list("ABCDEF")


@pytest.mark.parametrize(
    "argument, sentence",
    [
        ("--ablation=G=x", "unknown ablation 'G'"),
        ("--ablation=A", "--ablation=A has no network; write --ablation=A=FILE"),
        ("--metrics=is50k", "--metrics=is50k is not one distance to real images"),
        ("--metrics=fd_cifar,kd_cifar", "is not one distance"),
    ],
)
def test_wrong_tables_are_one_sentence(files, tmp_path, argument, sentence):
    flags = f"--base={files / 'base.safetensors'}", f"--qc={files / 'qc.safetensors'}", "--data=x", "--device=cpu"
    assert sentence in command("table1", *flags, "-o", tmp_path, argument, code=1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "base",
            "was trained on sharp images, as its header says; give one of `train.py --mode=base --degr",
        ),
        ("noisy", "was trained on images degraded by noise, and "),
        ("qc", "has a quality code; give a plain network"),
    ],
)
def test_other_networks_than_degraded_bases_are_refused(files, tmp_path, name, sentence):
    flags = f"--base={files / 'base.safetensors'}", f"--qc={files / 'qc.safetensors'}", "--metrics=fd8_cifar"
    flags += (f"--data={files / 'images.zip'}", "--device=cpu", "-o", tmp_path)
    assert sentence in command("table1", *flags, f"--degraded-base={files / name}.safetensors", code=1)


def test_content_mismatch_has_a_row_for_each_network(files, tmp_path):
    """A code without effect changes no content; another seed's image shows another one."""
    quality = QualityConfig(q_dim=4, injection="dual_style")
    idle = style_injection.Generator(dataclasses.replace(SMALL, quality=quality), 0, 16, 3)
    write_network(tmp_path / "idle.safetensors", idle)
    networks = [f"--network={path}" for path in (files / "qc.safetensors", tmp_path / "idle.safetensors")]
    printed = command("content-mismatch", *networks, "--seeds=6", "--device=cpu", "-o", tmp_path)
    rows = json.loads((tmp_path / "content-mismatch.json").read_text())["networks"]
    assert [row["injection"] for row in rows] == ["degrad_block", "dual_style"] and "| dual_style | 0.000 |" in printed
    distance, far, correlation, other = rows[1]["values"]
    assert distance == 0 < far and abs(correlation - 1) < 1e-6 and other < 1
    assert rows[0]["values"][0] > 0
    sentence = command("content-mismatch", f"--network={files / 'base.safetensors'}", "-o", tmp_path, code=1)
    assert "is plain, without the quality code that this needs; give a QC network" in sentence


@pytest.mark.parametrize("network", ["base", "qc", "conditional"])
def test_runtime_is_a_table_too(files, tmp_path, network):
    printed = command("runtime", f"--network={files / network}.safetensors", "--runs=2", "--device=cpu", "-o", tmp_path)
    numbers = json.loads((tmp_path / "table3.json").read_text())
    seconds = numbers["seconds"]["QC-StyleGAN"]
    assert len(seconds) == 2 and min(seconds) > 0 and numbers["resolution"] == 16
    assert "| PTI-opt | - | 83.40 ± 2.68 | 222.29 ± 23.24 |" in printed
    mean = sum(seconds) / 2
    assert f"| QC-StyleGAN | {mean:.4f} ± " in printed


def test_images_agree_at_several_scales(files, tmp_path):
    networks = [f"--network={files / name}.safetensors" for name in ("centred", "base")]
    flags = ["--scale=2", "--scale=3", "--shift=3", "--samples=2", "--device=cpu", "-o", tmp_path]
    printed = command("scales", *networks, *flags)
    rows = json.loads((tmp_path / "scales.json").read_text())["rows"]
    assert [(row["network"], row["frame"], row["side"]) for row in rows] == [
        *[
            ("centred", "scale 1", 16),
            ("centred", "shift 3", 16),
            ("centred", "scale 2", 32),
            ("centred", "scale 3", 48),
        ],
        *[("base", "scale 1", 16), ("base", "scale 2", 32), ("base", "scale 3", 48)],
    ]
    assert f"| base | scale 1 | 16x16 | - | {rows[4]['seconds']:.3f} | {rows[4]['peak_bytes'] / 2**20:.0f} |" in printed
    assert rows[1]["psnr"] > 90  # the same places, up to rounding
    G = load(files / "centred.safetensors", torch.device("cpu"))
    native, double = (to_levels(G.synthesis(ws_of_seeds(G, [0, 1]), coords=at)) for at in (None, doubled(G)))
    error = (F.interpolate(double, size=(16, 16), mode="bilinear", antialias=True) - native).square().mean()
    assert rows[2]["psnr"] == pytest.approx(float(10 * (255**2 / error).log10()), rel=1e-4)


def doubled(G):
    return Coordinates(G.synthesis.line(32), G.synthesis.line(32))


def test_images_are_measured_at_another_scale(files, tmp_path):
    large = write_images(tmp_path / "large.zip", 20, side=32)
    flags = [f"--data={large}", "--metrics=fd20_cifar", "--device=cpu", "--workers=0", "--scale=2", "--json"]
    for name in ("centred", "base"):
        record = json.loads(command(f"--network={files / name}.safetensors", *flags))
        assert math.isfinite(record["values"]["fd20_cifar"])
    G = load(files / "centred.safetensors", torch.device("cpu"))
    stream = fake_stream(FakeSource(G, "sharp", FakeOptions(scale=2.0)), 2)
    expected = to_uint8(G.synthesis(ws_of_seeds(G, [0, 1]), coords=doubled(G)))
    difference = all_images(stream).permute(0, 2, 3, 1).int() - torch.from_numpy(expected).int()
    assert difference.abs().max() <= 1
    G = load(files / "base.safetensors", torch.device("cpu"))
    once, twice = (
        all_images(fake_stream(FakeSource(G, "sharp", FakeOptions(noise_mode="const", scale=scale)), 2))
        for scale in (1.0, 2.0)
    )
    enlarged = [PIL.Image.fromarray(image.permute(1, 2, 0).numpy()).resize((32, 32), 1) for image in once]
    assert np.array_equal(twice.permute(0, 2, 3, 1).numpy(), np.stack(enlarged))


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--scale=2"], "centred.safetensors has images of 32x32 with 3 channels, "),
        (["--scale=0.01"], "--scale=0.01 makes 0x0 pixels, must be at least 1 and at most 11585 a side"),
        (["--scale=inf"], "pixels, must be at least 1 and at most 11585 a side"),
        (["--scale=2", "--metrics=ppl_cifar_wend"], "leave out --scale=2.0"),
    ],
)
def test_scales_that_do_not_fit(files, flags, sentence):
    data = f"--data={files / 'images.zip'}"
    assert sentence in command(f"--network={files / 'centred.safetensors'}", data, "--device=cpu", *flags, code=1)


def test_classifiers_separate_what_is_separable():
    torch.manual_seed(0)
    centres = 10 * torch.randn(3, 5)
    labels = torch.arange(60) % 3
    features = centres[labels] + torch.randn(60, 5)
    classifier = LinearClassifier(features[:30], labels[:30], 3)
    assert classifier.accuracy(features[30:], labels[30:]) == 1
    assert classifier.accuracy(features[30:], (labels[30:] + 1) % 3) == 0


def test_classifiers_are_fitted_to_the_end():
    """The loss, written out by hand, is flat there; being convex, it is lowest."""
    torch.manual_seed(0)
    features, labels, penalty = torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.1]) + 2, torch.randint(4, (200,)), 0.01
    classifier = LinearClassifier(features, labels, 4, penalty)
    weight, bias = (p.detach().double().requires_grad_(True) for p in (classifier.weight, classifier.bias))
    standard = ((features - features.mean(0)) / features.std(0)).double()
    logits = standard @ weight.T + bias
    log_likelihood = (logits[range(200), labels] - logits.exp().sum(1).log()).mean()
    gradients = torch.autograd.grad(penalty * weight.square().sum() - log_likelihood, (weight, bias))
    assert weight.abs().max() > 0.01 and max(gradient.abs().max() for gradient in gradients) < 1e-4


def test_quality_codes_of_known_content_are_found():
    G = quality_generator().requires_grad_(False)
    ws, noise = ws_of_seeds(G, range(4)), noise_of_seeds(G, range(4))
    sharp, targets = render(G, Latents(ws), [None, torch.randn(4, G.q_dim)], noise)
    steps = []
    codes = fit_quality(G, Latents(ws), noise, targets, QualityOptions(60, compare="pixels"), on_step=steps.append)
    assert steps == list(range(1, 61)) and not codes.requires_grad
    fitted = synthesize(G, Latents(ws, q=codes), noise)
    before, after = ((images - targets).square().mean((1, 2, 3)) for images in (sharp, fitted))
    assert (before > 1e-4).all() and (after < 0.02 * before).all()
    first = fit_quality(G, Latents(ws), noise, targets, QualityOptions(2))
    alone = fit_quality(G, Latents(ws[2:3]), noise_of_seeds(G, [2]), targets[2:3], QualityOptions(2))
    assert_close(alone, first[2:3], rtol=1e-3)  # wherever in a batch it stands
    assert not torch.equal(first, fit_quality(G, Latents(ws), noise, targets, QualityOptions(2), seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_degradations_to_classify_have_their_labels(kind):
    image = np.asarray(decode(png(1)).resize((64, 64)))
    present = 0
    for seed in range(40):
        degraded, label = present_or_not(kind)(image, np.random.default_rng(seed))
        present += label
        assert degraded.shape == image.shape and label in (0, 1)
        assert label == 0 or not np.array_equal(degraded, image)
    assert 10 < present < 30
    strengths = []
    for seed in range(20):
        degraded, strength = graded(kind)(image, np.random.default_rng(seed))
        strengths.append((strength, np.abs(degraded.astype(float) - image).mean()))
    assert 0 <= min(strengths)[0] < 0.2 and 0.8 < max(strengths)[0] < 1
    assert np.corrcoef(np.array(strengths).T)[0, 1] > 0.9


def test_classify_is_a_table(files, tmp_path):
    flags = f"--network={files / 'qc.safetensors'}", "--train=10", "--test=10", "--steps=2", "--batch=8"
    printed = command("classify", *flags, "--kind=blur", "--kind=jpeg", "--device=cpu", "-o", tmp_path)
    accuracies = json.loads((tmp_path / "classify.json").read_text())["accuracy"]
    assert list(accuracies) == ["blur", "jpeg"]
    papers = {"present or not": ("0.5", "0.979"), "5 levels": ("0.2", "0.850"), "10 levels": ("0.1", "0.770")}
    for name, (chance, paper) in papers.items():
        assert f"| blur: {name} | {accuracies['blur'][name]:.3f} | {chance} | {paper} |" in printed
        assert f"| jpeg: {name} | {accuracies['jpeg'][name]:.3f} | {chance} | - |" in printed
        assert accuracies["blur"][name] * 10 == pytest.approx(round(accuracies["blur"][name] * 10))


def test_classify_needs_codes_and_images(files, tmp_path):
    flags = "--device=cpu", "-o", tmp_path
    assert "is plain" in command("classify", f"--network={files / 'base.safetensors'}", *flags, code=1)
    network = f"--network={files / 'qc.safetensors'}"
    few = command("classify", network, "--test=9", *flags, code=1)
    assert "9 images cannot show 10 levels; give at least 10" in few
    bare = command("classify", network, f"--data={tmp_path}", *flags, code=1)
    assert bare.endswith("there is none beside " + str(files / "qc.safetensors") + "; give --encoder=FILE")


# Pairs and single images.


def folder_of(path, images):
    """Write images, by name, given as arrays or as gray levels of 16x16 pixels."""
    path.mkdir()
    for name, image in images.items():
        pixels = np.full((16, 16, 3), image, np.uint8) if isinstance(image, int) else image
        PIL.Image.fromarray(pixels).save(path / name)
    return path


def noise_image(seed, height=16, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_pairs_compare_what_people_see(tmp_path):
    """The same picture as PNG, turned with its EXIF orientation, and with full alpha."""
    image = noise_image(1)
    a = folder_of(tmp_path / "a", {"x.png": image, "y.png": image})
    b = folder_of(tmp_path / "b", {})
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    PIL.Image.fromarray(image[::-1, ::-1].copy()).save(b / "x.png", exif=exif)
    PIL.Image.fromarray(image).convert("RGBA").save(b / "y.png")
    printed = command("pairs", a, b, "--device=cpu", "--metrics=psnr")
    assert printed.split() == ["psnr", "inf", "for", "all", "(2", "in", "all)"]


def test_pairs_have_the_values_of_their_formulas(tmp_path):
    a = folder_of(tmp_path / "a", {"x.png": 100, "y.png": noise_image(1), "z.png": noise_image(2, 24, 32)})
    b = folder_of(tmp_path / "b", {"x.bmp": 110, "y.png": noise_image(1), "z.png": noise_image(3, 24, 32)})
    printed = command("pairs", a, b, "-o", tmp_path / "pairs.json", "--device=cpu", "--metrics=psnr, ssim,pd_cifar")
    numbers = json.loads((tmp_path / "pairs.json").read_text())["values"]
    assert numbers["x.png"]["psnr"] == pytest.approx(10 * np.log10(255**2 / 100), rel=1e-6)
    assert numbers["x.png"]["ssim"] == pytest.approx((2 * 11000 + 6.5025) / (100**2 + 110**2 + 6.5025), rel=1e-6)
    assert numbers["y.png"] == {"psnr": float("inf"), "ssim": 1, "pd_cifar": 0}
    images = [torch.from_numpy(noise_image(seed, 24, 32)).permute(2, 0, 1)[None] for seed in (2, 3)]
    assert numbers["z.png"]["pd_cifar"] == pytest.approx(cifar().distances(*images).item(), rel=1e-5)
    assert [line.split()[0] for line in printed.splitlines()] == ["psnr", "ssim", "pd_cifar"]
    mean = np.mean([row["ssim"] for row in numbers.values()])
    assert f"{mean:.4f} ± " in printed and "(3 in all)" in printed


BAD_PAIRS = {
    "no partner": ({"x.png": 1, "y.png": 1}, {"x.png": 1}, "y.png of .*a has no partner in .*b; give"),
    "too many": ({"x.png": 1}, {"x.png": 1, "z.png": 1}, "z.png of .*b has no partner in .*a; give"),
    "twice": ({"x.png": 1, "x.bmp": 1}, {"x.png": 1}, "a has two images called x; keep one"),
    "sizes": ({"x.png": 1}, {"x.png": noise_image(0, 16, 20)}, "x.png has 16x16 with 3 .*a and 20x16 with 3 .*b; make"),
    "gray": ({"x.png": 1}, {"x.png": np.zeros((16, 16), np.uint8)}, "with 3 channels in .* and 16x16 with 1 channel"),
}


@pytest.mark.parametrize("a, b, sentence", BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_images_without_a_like_partner_are_one_sentence(tmp_path, a, b, sentence):
    folders = folder_of(tmp_path / "a", a), folder_of(tmp_path / "b", b)
    error = command("pairs", *folders, "--device=cpu", code=1)
    assert re.search(sentence, error), error


def test_neighbours_of_one_shape_share_a_batch(tmp_path):
    sizes = [16, 16, 16, 20, 16, 16]
    images = {f"{index}.png": noise_image(index, size) for index, size in enumerate(sizes)}
    found = list(image_batches(ImageFiles(folder_of(tmp_path / "a", images)), 2))
    assert [names for names, _ in found] == [["0.png", "1.png"], ["2.png"], ["3.png"], ["4.png", "5.png"]]
    for names, batch in found:
        for name, image in zip(names, batch, strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0), images[name])


def test_niqe_by_a_model_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    photos = {}
    for index in range(6):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        smooth = np.asarray(coarse.resize((96, 96), PIL.Image.Resampling.BICUBIC), float)
        photos[f"{index}.png"] = np.clip(smooth + rng.normal(size=smooth.shape) * 8, 0, 255).astype(np.uint8)
    sharp = folder_of(tmp_path / "sharp", photos)
    noise = {name: 60 * rng.normal(size=image.shape) for name, image in photos.items()}
    noisy = {name: np.clip(photos[name] + added, 0, 255).astype(np.uint8) for name, added in noise.items()}
    bad = folder_of(tmp_path / "bad", noisy)
    printed = command("fit-niqe", sharp, "-o", tmp_path / "own.npz", "--block=32", "--device=cpu")
    assert "6 photos, blocks of 32x32" in printed
    means = []
    for name, images in (("sharp", sharp), ("bad", bad)):
        output = tmp_path / f"{name}.json"
        printed = command("niqe", images, f"--pristine={tmp_path / 'own.npz'}", "-o", output, "--device=cpu")
        values = [row["niqe"] for row in json.loads(output.read_text())["values"].values()]
        means.append(np.mean(values))
        assert f"{means[-1]:.4f} ± {np.std(values):.4f}   (6 in all)" in printed
    assert means[0] < means[1]
    error = command("niqe", sharp, f"--weights-dir={tmp_path}", "--device=cpu", code=1)
    assert "--fetch=niqe" in error


# Videos.


@pytest.fixture
def means_as_faces(monkeypatch):
    """Put the mean colours in the place of face embeddings."""
    detector = Detector("arcface", "none", features=lambda images: images.float().mean((2, 3)))
    monkeypatch.setattr("metrics.detector.load_detector", lambda name, weights, device: detector)


def frame(r, g, b, side=64):
    return np.full((side, side, 3), (r, g, b), np.uint8)


def test_frames_come_in_order_from_folders_and_videos(tmp_path):
    frames = [frame(40 * index, 200 - 30 * index, 90) for index in range(5)]
    folder = folder_of(tmp_path / "frames", {f"{index:03d}.png": image for index, image in enumerate(frames)})
    write_mp4(tmp_path / "clip.mp4", frames, fps=10)
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for path, tolerance in ((folder, 0), (tmp_path / "frames.zip", 0), (tmp_path / "clip.mp4", 12)):
        batches = list(frame_batches(path, 2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        found = torch.cat(batches).float().mean((2, 3))
        expected = torch.tensor([image[0, 0].tolist() for image in frames]).float()
        assert (found - expected).abs().max() <= tolerance


def test_identity_consistency_is_the_mean_cosine_to_the_first_frame(means_as_faces, tmp_path):
    same = folder_of(tmp_path / "same", {"0.png": frame(9, 0, 0), "1.png": frame(90, 0, 0)})
    half = folder_of(tmp_path / "half", {"0.png": frame(9, 0, 0), "1.png": frame(9, 0, 0), "2.png": frame(0, 9, 0)})
    printed = command("identity-consistency", same, half, "-o", tmp_path / "o.json", "--device=cpu", "--batch=2")
    values = json.loads((tmp_path / "o.json").read_text())["values"]
    expected = {str(same): 1, str(half): 0.5}
    assert values == {name: {"identity_consistency": pytest.approx(value)} for name, value in expected.items()}
    assert "identity_consistency   0.7500 ± 0.2500   (2 in all)" in printed


def test_identity_consistency_of_source_and_result_stand_side_by_side(means_as_faces, tmp_path):
    same = folder_of(tmp_path / "same", {"0.png": frame(9, 0, 0), "1.png": frame(90, 0, 0)})
    half = folder_of(tmp_path / "half", {"0.png": frame(9, 0, 0), "1.png": frame(9, 0, 0), "2.png": frame(0, 9, 0)})
    sources = [f"--source={half}", f"--source={half}"]
    printed = command("identity-consistency", same, half, *sources, "--device=cpu", "-o", tmp_path / "o.json")
    assert "| video | source | result | difference |" in printed
    assert f"| {same} | 0.5000 | 1.0000 | 0.5000 |" in printed and f"| {half} | 0.5000 | 0.5000 | 0.0000 |" in printed
    assert "| 0.5000 | 0.7500 | 0.2500 |" in printed
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["sources"] == {str(same): str(half), str(half): str(half)}
    assert record["values"][str(same)] == {"identity_consistency": pytest.approx(1), "source": pytest.approx(0.5)}
    twice = command("identity-consistency", same, same, "--device=cpu", code=1)
    assert "is given twice; give each video once" in twice
    said = command("identity-consistency", same, half, sources[0], "--device=cpu", code=1)
    assert said.endswith("--source is given 1 time for 2 videos; give --source once for each video")


def test_a_file_without_frames_is_one_sentence(means_as_faces, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video at all")
    error = command("identity-consistency", tmp_path / "clip.mp4", "--device=cpu", code=1)
    assert "clip.mp4 is not a video, or it is damaged; give an mp4, mov, mkv or another video" in error
    assert "missing" in command("identity-consistency", tmp_path / "missing.mp4", "--device=cpu", code=1)


# The embedded detector.


def test_the_embedded_weights_are_small_and_good():
    assert WEIGHTS.stat().st_size <= 3e6
    header = read_header(WEIGHTS)
    assert header["test_accuracy"] >= 0.90 and len(header["classes"]) == 10


def trained_form():
    """Return a network with batch normalisation that has an effect."""
    network = CifarNetwork(normalised=True)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Convolution):
                for tensor in (module.norm.weight, module.norm.running_var):
                    tensor.uniform_(0.5, 2)
                for tensor in (module.norm.bias, module.norm.running_mean):
                    tensor.normal_()
    return network.eval()


def test_folding_keeps_the_function():
    network, images = trained_form(), torch.rand(4, 3, 32, 32) * 255
    folded = network.fold()
    assert not any("norm" in name for name in folded.state_dict())
    assert_close(folded(images), network(images), rtol=1e-4)
    assert folded.state_dict().keys() == CifarNetwork().state_dict().keys()


def test_whitened_patches_are_uncorrelated_and_have_both_signs():
    network = CifarNetwork()
    images = F.avg_pool2d(torch.rand(30, 3, 34, 34) * 255, 3, stride=1)  # whose neighbours are alike
    network.set_whitening(images)
    positive, negative = network.whiten(standardize(images)).movedim(1, 0).flatten(1).chunk(2)
    assert torch.equal(positive, -negative) and len(positive) == 3 * PATCH**2
    second_moments = positive @ positive.T / positive.shape[1]
    variances = second_moments.diagonal()
    assert ((variances > 0.5) & (variances <= 1.001)).all()  # the smallest ones are kept from being all noise
    assert_close(second_moments, variances.diag(), rtol=1e-3)


def write_labelled(path, count=24, labels=None, seed=0, side=32):
    """Write images whose class is their colour."""
    rng = np.random.default_rng(seed)
    labels = [index % 3 for index in range(count)] if labels is None else labels
    with zipfile.ZipFile(path, "w") as archive:
        for index, label in enumerate(labels):
            pixels = rng.integers(0, 80, (side, side, 3), np.uint8)
            pixels[..., label % 3] += 150
            with archive.open(f"{index:03d}.png", "w") as file:
                PIL.Image.fromarray(pixels).save(file, "PNG")
        pairs = [[f"{index:03d}.png", label] for index, label in enumerate(labels)]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    return path


def train(*arguments):
    return CliRunner().invoke(train_cifar.main, [str(argument) for argument in arguments])


def test_the_detector_can_be_trained(tmp_path):
    data, test = write_labelled(tmp_path / "train.zip"), write_labelled(tmp_path / "test.zip", 9, seed=1)
    output = tmp_path / "own.safetensors"
    flags = "--epochs=1", "--batch=4", "--device=cpu", "-o", output
    result = train(f"--train={data}", f"--test={test}", *flags)
    assert result.exit_code == 0, (result.output, result.exception)
    tensors = load_tensors(output)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    found = predict(load_stored(CifarNetwork(), tensors), pixels_of(test))
    labels = torch.arange(9) % 3
    assert read_header(output)["test_accuracy"] == pytest.approx((found == labels).float().mean().item())
    assert output.stat().st_size <= 3e6


def test_data_that_is_not_cifar_is_one_sentence(tmp_path):
    good = write_labelled(tmp_path / "good.zip")
    for name, change, sentence in (
        ("labels", {"labels": [0, 1, 10]}, "has other labels than the 10 class numbers of CIFAR-10"),
        ("size", {"side": 16}, "has other images than the 32x32 RGB ones of CIFAR-10"),
    ):
        data = write_labelled(tmp_path / f"{name}.zip", **change)
        result = train(f"--train={data}", f"--test={good}", "--device=cpu", "-o", tmp_path / "own.safetensors")
        assert result.exit_code == 1 and sentence in result.stderr


def test_gray_images_are_seen_as_rgb():
    gray = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(cifar().features(gray), cifar().features(gray.expand(-1, 3, -1, -1)))
    assert cifar().features(gray).shape == (3, sum(WIDTHS[1:]))


def test_large_images_are_reduced_by_area_and_small_ones_refused():
    images = torch.rand(2, 3, 128, 256) * 255
    blocks = images.reshape(2, 3, 64, 2, 64, 4).mean((3, 5))
    assert_close(cifar().features(images), cifar().features(blocks), rtol=1e-4)
    assert cifar().features(images[:, :, :9, :9]).shape == (2, sum(WIDTHS[1:]))
    with pytest.raises(UserError, match="images of 16x8 pixels are too small for the embedded detector; give at least"):
        cifar().features(images[:, :, :8, :16])


def test_no_image_is_away_from_itself():
    a, b = (torch.rand(2, 3, 16, 16) * 255 for _ in range(2))
    a.requires_grad_(True)
    distances = cifar().distances(a, a.detach())
    [gradient] = torch.autograd.grad(distances.sum(), a)
    assert torch.equal(distances, torch.zeros(2)) and torch.isfinite(gradient).all()
    [gradient] = torch.autograd.grad(cifar().distances(a, b).sum(), a)
    assert (cifar().distances(a, b) > 0).all() and gradient.abs().max() > 0 and torch.isfinite(gradient).all()
