"""The table of encoders: measures of their reconstructions, over photos of any size, and the sheet."""

import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import calc_metrics
from degradations import degrade
from evaluation.inverted_photos import quantize
from evaluation.photo_sets import PhotoOptions, SquarePhotos
from evaluation.tables.encoders import EncoderMeasures, encoders_sheet, encoders_table
from images.ranges import from_levels
from inversion.directions import editing
from inversion.encoders.config import FeatureHeadConfig
from inversion.inverter import InversionOptions, Inverter
from metrics.distances.frechet import frechet_distance, moments
from metrics.distances.pixels import psnr, ssim
from metrics.pairs import PairMeasure, load_measure
from tests.support.encoders import TINY, write_encoder
from tests.support.measures import CPU, NO_WEIGHTS, cifar
from tests.support.networks import quality_generator, write_network
from tests.support.runs import png
from tests.support.tolerance import assert_close
from torch_utils.purposes import FOR_METRICS


@pytest.fixture(scope="module", name="files")
def _files(tmp_path_factory):
    """A network of 32x32, two encoders, and photos of several sizes."""
    folder = tmp_path_factory.mktemp("encoders")
    G = quality_generator(resolution=32)
    network = write_network(folder / "qc.safetensors", G)
    (folder / "encoders").mkdir()
    write_encoder(folder / "encoders" / "psp.safetensors", G, network)
    style = replace(TINY, kind="feature-style", features=FeatureHeadConfig(layer=3))
    write_encoder(folder / "encoders" / "style.safetensors", G, network, style)
    (folder / "photos").mkdir()
    for index, size in enumerate([(32, 32), (50, 32), (64, 80)]):
        (folder / "photo.png").write_bytes(png(index))
        PIL.Image.open(folder / "photo.png").resize(size).save(folder / "photos" / f"p{index}.png")
    return folder


@pytest.fixture(scope="module", name="inverters")
def _inverters(files):
    options = {
        name: InversionOptions(str(files / "encoders" / f"{name}.safetensors"), projector=None, tuning=None)
        for name in ("psp", "style")
    }
    return {name: Inverter(files / "qc.safetensors", CPU, each) for name, each in options.items()}


def squares(files, inverters, recipe=None, **options):
    return SquarePhotos(PhotoOptions(str(files / "photos"), batch=2, **options), recipe, inverters["psp"].G)


def test_photos_of_any_size_become_squares_sharp_or_degraded(files, inverters):
    photos = squares(files, inverters)
    images = photos.images(range(3))
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.uint8 and photos.names == ["p0", "p1", "p2"]
    whole = np.array(PIL.Image.open(files / "photos" / "p1.png"))
    assert np.array_equal(images[1].permute(1, 2, 0), whole[:, 9:41])
    noisy = squares(files, inverters, "noise", seed=5).images([2])
    rng = np.random.default_rng((5, FOR_METRICS, 2))
    expected, _ = degrade(np.ascontiguousarray(images[2].permute(1, 2, 0).numpy()), "noise", rng)
    assert np.array_equal(noisy[0].permute(1, 2, 0), expected)


def test_the_table_has_the_numbers_of_the_formulas(files, inverters, tmp_path):
    photos = squares(files, inverters, "blur")
    table = encoders_table(inverters, photos, EncoderMeasures(NO_WEIGHTS, CPU), tmp_path)
    assert table.columns == ["encoder", "SSIM", "PSNR", "MSE on [-1, 1]", "pd_cifar", "fd_cifar", "s a photo"]
    given = photos.images(range(3))
    for name, inverter in inverters.items():
        parts = [from_levels(given[:2]), from_levels(given[2:])]
        found = [inverter.images(inversion, inversion.latents) for part in parts for inversion in inverter.invert(part)]
        images = quantize(torch.cat(found))
        means = table.numbers["results"][name]["means"]
        for measure, compare in {"psnr": psnr, "ssim": ssim}.items():
            assert means[measure] == pytest.approx(compare(images, given).mean().item(), rel=1e-5)
        assert means["pd_cifar"] == pytest.approx(
            load_measure("pd_cifar", NO_WEIGHTS, CPU).compare(images, given).mean().item(), rel=1e-5
        )
        assert means["mse"] == pytest.approx((from_levels(images) - from_levels(given)).square().mean().item())
        look = cifar().features
        expected = frechet_distance(*(moments(look(each).numpy()) for each in (images, given)))
        assert means["fd_cifar"] == pytest.approx(expected, rel=1e-3)
        assert 0 < means["seconds"] < math.inf
        [row] = [row for row in table.rows if row[0] == name]
        assert row[2] == f"{means['psnr']:.2f}"
    assert table.rows[2][0] == "paper, feature-style encoder" and table.rows[2][1:3] == ["0.641", "23.65"]
    assert any("fd_cifar of only 3 photos is too large" in note for note in table.notes)


def test_an_encoder_that_is_measured_is_not_measured_again(files, inverters, tmp_path, monkeypatch):
    photos = squares(files, inverters)
    measures = EncoderMeasures(NO_WEIGHTS, CPU)
    table = encoders_table({"psp": inverters["psp"]}, photos, measures, tmp_path)
    seen, invert = [], Inverter.invert
    monkeypatch.setattr(Inverter, "invert", lambda self, *args: seen.append(self) or invert(self, *args))
    both = encoders_table(inverters, photos, measures, tmp_path)
    assert set(map(id, seen)) == {id(inverters["style"])}
    assert both.numbers["results"]["psp"] == table.numbers["results"]["psp"]


def test_the_sheet_shows_photos_and_reconstructions(files, inverters, monkeypatch):
    grids = []
    monkeypatch.setattr("evaluation.tables.encoders.labelled_grid", lambda *grid: grids.append(grid) or grid[0])
    photos = squares(files, inverters)
    encoders_sheet(inverters, photos)
    [(tiles, rows, columns)] = grids
    assert (rows, columns) == (["p0", "p1", "p2"], ["photo", "psp", "style"]) and tiles.shape == (3, 3, 32, 32, 3)
    given = photos.images(range(3))
    assert np.array_equal(tiles[:, 0], given.permute(0, 2, 3, 1))
    for column, inverter in enumerate(inverters.values(), start=1):
        found = [inverter.images(each, each.latents) for each in inverter.invert(from_levels(given))]
        assert_close(tiles[:, column], quantize(torch.cat(found)).permute(0, 2, 3, 1).numpy())


def command(*arguments, code=0):
    result = CliRunner().invoke(calc_metrics.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if code == 0 else result.stderr.splitlines()[-1]


def test_encoders_by_command(files, tmp_path):
    encoders = [f"--encoder={files / 'encoders' / name}.safetensors" for name in ("psp", "style")]
    common = [f"--network={files / 'qc.safetensors'}", f"--data={files / 'photos'}", "--device=cpu", f"-o{tmp_path}"]
    printed = command("inversion", *common, *encoders, f"--sheet={tmp_path / 'out.png'}", "--degradation=noise")
    assert "| psp | " in printed and "| style | " in printed and "degraded by noise" in printed
    assert "psp.safetensors (psp)." in printed and (tmp_path / "out.png").is_file()
    assert json.loads((tmp_path / "encoders.json").read_text())["names"] == ["p0", "p1", "p2"]
    assert (tmp_path / "encoders.md").read_text() in printed
    for change, sentence in {
        "--sheet=nowhere/out.png": "the folder of --sheet=nowhere/out.png is not there, or cannot be written to",
        "--sheet=out.jpg": "--sheet=out.jpg does not end in .png; name it out.png",
        "--degradation=nois": "unknown degradation recipe 'nois'; did you mean 'noise'?",
        "--count=9": "--count is 9, must be at most 3, as many as",
    }.items():
        assert sentence in command("inversion", *common, *encoders, change, code=1)
    assert "--sheet has no effect without --encoder" in command("inversion", *common, "--sheet=out.png", code=1)
    other = write_network(tmp_path / "other.safetensors", quality_generator(resolution=32, noise=0.2))
    said = command("inversion", f"--network={other}", *common[1:], encoders[0], code=1)
    assert "was trained for another network than" in said


def test_identity_stands_where_there_are_weights(files, inverters, tmp_path, monkeypatch):
    load = lambda name, weights, device: PairMeasure(lambda a, b: torch.full([len(a)], 0.25))  # noqa: E731
    monkeypatch.setattr("evaluation.tables.encoders.load_measure", load)
    monkeypatch.setattr("metrics.weights.directory.WeightsDirectory.has", lambda self, name: True)
    table = encoders_table(
        {"psp": inverters["psp"]}, squares(files, inverters), EncoderMeasures(NO_WEIGHTS, CPU), tmp_path
    )
    assert table.columns[1:6] == ["SSIM", "PSNR", "MSE on [-1, 1]", "LPIPS", "ID"]
    assert table.rows[0][4:6] == ["0.250", "0.250"] and table.rows[1][4:6] == ["0.066", "0.867"]


def test_tables_of_edits_move_features_as_well(files, tmp_path, monkeypatch):
    """Their images are those of edits of the encoder's whole codes."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(files / "photos" / "p0.png", "p0.png")
    seen, shown = [], editing.render
    monkeypatch.setattr(editing, "render", lambda G, codes, *rest: seen.append(codes) or shown(G, codes, *rest))
    command(
        *(
            "stability",
            f"--network={files / 'qc.safetensors'}",
            f"--encoder={files / 'encoders' / 'style.safetensors'}",
        ),
        *(f"--data={tmp_path / 'photos.zip'}", "--device=cpu", "--tuning-steps=0", f"-o{tmp_path}"),
    )
    assert seen and all(codes.features is not None for codes in seen)
    for codes in seen:  # whose rows have different strengths
        assert not torch.equal(codes.features.values[0], codes.features.values[1])
