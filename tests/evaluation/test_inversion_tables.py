"""Tables of inverted photos: their numbers are those of the formulas, and a command that was stopped goes on."""

import copy
import dataclasses
import json
import statistics

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import calc_metrics
from degradations import degrade
from dnnlib.errors import UserError
from evaluation.choices import KINDS, METHODS, TRACKS
from evaluation.degradation_labels import graded, present_or_not
from evaluation.inverted_photos import invert_photos
from evaluation.masks import compare_within, face_ellipse
from evaluation.part_cache import PartCache
from evaluation.photo_sets import DegradedPhotos, PhotoOptions
from evaluation.tables import editability, restoration, restoration_sheet, stability
from evaluation.tables.classify import ClassifyOptions, OwnImages, PhotoImages, accuracies_of, codes_of
from evaluation.tables.editability import EditOptions, editability_table, score_changes
from evaluation.tables.inversion import inversion_table
from evaluation.tables.restoration import PAPER, RestorationOptions, restoration_table
from evaluation.tables.restoration_measures import RestorationMeasures
from evaluation.tables.restoration_sheet import RestorationSheet
from evaluation.tables.stability import StabilityOptions, stability_table, with_seed
from evaluation.tables.table import mean_and_deviation
from generation.rendering import synthesize
from generation.sampling import noise_of_seeds, ws_of_seeds
from images.ranges import to_uint8
from images.video.writer import count_frames
from inversion.directions.direction import Direction, normalise, save_direction
from inversion.directions.editing import edit
from inversion.directions.scorers import brightness
from inversion.inverter import InversionOptions, Inverter
from inversion.projector import ProjectorOptions, _Search
from inversion.tuning_options import TuningOptions
from metrics.distances.frechet import frechet_distance, moments
from metrics.distances.pixels import psnr, ssim
from metrics.niqe.distance import niqe
from metrics.niqe.pristine import fit_pristine, write_pristine
from metrics.pairs import load_measure
from networks.files import load
from networks.latents import Latents
from tests.support.encoders import TINY, write_encoder
from tests.support.measures import CPU, NO_WEIGHTS, cifar, pixels_of
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.runs import write_images
from tests.support.tolerance import assert_close
from torch_utils.purposes import FOR_CLASSIFICATION, FOR_METRICS

COUNT = 3
FEW = InversionOptions(projector=ProjectorOptions(steps=2, q_starts=1), tuning=TuningOptions(steps=2, locality_codes=1))

ONE = InversionOptions(projector=ProjectorOptions(steps=1), tuning=TuningOptions(steps=1))  # as by the flags below


@pytest.fixture(autouse=True)
def _few_starts(monkeypatch):
    """Try two codes as the start of q, not seventeen, which would take longer than all steps of these searches."""
    monkeypatch.setattr(_Search, "_codes_to_try", lambda self, every=_Search._codes_to_try: every(self)[:2])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with photos, a QC network, a plain one, an encoder, a direction, and a model for NIQE."""
    folder = tmp_path_factory.mktemp("tables")
    write_images(folder / "photos.zip", 5)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        G = quality_generator()
        G.mapping.w_avg.normal_()
        network = write_network(folder / "qc.safetensors", G)
        write_network(folder / "plain.safetensors", small_generator())
        (folder / "encoders").mkdir()
        write_encoder(folder / "encoders" / "encoder.safetensors", G.requires_grad_(False), network)
        save_direction(folder / "some.safetensors", direction("some", torch.randn(16)))
        write_pristine(folder / "niqe.npz", fit_pristine([torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)], 16))
    return folder


def direction(name, vector):
    return Direction(normalise(vector), 0.7, name, "given")


@pytest.fixture(scope="module")
def inverter(files):
    return Inverter(files / "qc.safetensors", CPU, FEW, NO_WEIGHTS)


@pytest.fixture(scope="module")
def photos(files):
    return PhotoOptions(str(files / "photos.zip"), COUNT, batch=2)


@pytest.fixture(scope="module")
def degraded_photos(photos, inverter):
    return DegradedPhotos(photos, "multiple", inverter.G)


def command(*arguments, code=0):
    """Run the command; return what it prints, or the sentence with which it ends."""
    result = CliRunner().invoke(calc_metrics.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if code == 0 else result.stderr.splitlines()[-1]


def flags(files, tables, **changes):
    options = {
        "network": files / "qc.safetensors",
        "data": files / "photos.zip",
        "images": 2,
        "steps": 1,
        "tuning-steps": 1,
        "device": "cpu",
        "weights-dir": files,
        "outdir": tables,
        **changes,
    }
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


def degraded_by_hand(files, recipe, seed=0):
    """Return sharp photos and degraded ones, uint8 `[N, C, H, W]`."""
    sharp = pixels_of(files / "photos.zip")[:COUNT]
    rngs = [np.random.default_rng((seed, FOR_METRICS, k)) for k in range(COUNT)]
    pairs = zip(sharp.permute(0, 2, 3, 1).numpy(), rngs, strict=True)
    degraded = np.stack([degrade(np.ascontiguousarray(image), recipe, rng)[0] for image, rng in pairs])
    return sharp, torch.from_numpy(degraded).permute(0, 3, 1, 2)


def shown(G, latents):
    """Return images uint8 `[N, C, H, W]`, as files hold them."""
    return torch.from_numpy(to_uint8(synthesize(G, latents))).permute(0, 3, 1, 2)


def with_fidelity(inverter, fidelity):
    other = copy.copy(inverter)
    other.options = dataclasses.replace(inverter.options, fidelity=fidelity)
    return other


def results_of(inverter, targets):
    """Return reconstructions and restored photos, found one by one."""
    reconstructions, restored = [], []
    for target in targets / 127.5 - 1:
        [found] = inverter.invert(target[None])
        with inverter.tuned(found) as G, torch.no_grad():
            reconstructions.append(shown(G, found.latents))
            restored.append(shown(G, dataclasses.replace(found.latents, q=torch.zeros_like(found.latents.q))))
    return torch.cat(reconstructions), torch.cat(restored)


# The photos.


@pytest.mark.parametrize("recipe", ["multiple", "jpeg"])
def test_photos_are_the_first_ones_and_degraded_by_their_number(files, photos, inverter, recipe):
    options = dataclasses.replace(photos, seed=7)
    degraded = DegradedPhotos(options, recipe, inverter.G)
    assert [list(numbers) for numbers in degraded.batches()] == [[0, 1], [2]] and len(degraded) == COUNT
    assert degraded.names == ["img00", "img01", "img02"]
    expected = degraded_by_hand(files, recipe, seed=7)
    for numbers in degraded.batches():
        for ours, side in zip(degraded.pairs(numbers), expected, strict=True):
            assert torch.equal(ours, side[list(numbers)])
    assert len(DegradedPhotos(dataclasses.replace(photos, images=None), recipe, inverter.G)) == 5


def test_photos_that_do_not_fit_are_one_sentence(files, photos, inverter, tmp_path):
    with pytest.raises(UserError, match="--count is 9, must be at most 5, as many as .*photos.zip has"):
        DegradedPhotos(dataclasses.replace(photos, images=9), "blur", inverter.G)
    with pytest.raises(UserError, match="images of side 16, not 32"):
        DegradedPhotos(photos, "blur", quality_generator(resolution=32))
    PIL.Image.new("L", (16, 16)).save(tmp_path / "gray.png")
    with pytest.raises(UserError, match="holds images of 1 channel, and the network's have 3"):
        DegradedPhotos(PhotoOptions(str(tmp_path)), "blur", inverter.G)


# What is finished.


def test_parts_are_made_once_for_each_setting(tmp_path):
    made = []

    def part(settings, number, files=()):
        parts = PartCache(tmp_path, "table", settings)
        return parts.get({"part": number}, lambda: made.append(number) or [number], files)

    assert part({"a": 1}, 1) == part({"a": 1}, 1) == [1] and made == [1]
    part({"a": 1}, 2)
    part({"a": 2}, 1)
    part({"a": 1}, 1)
    assert made == [1, 2, 1]
    part({"a": 1}, 2, [tmp_path / "sheet.png"])  # whose file is missing
    (tmp_path / "sheet.png").touch()
    part({"a": 1}, 2, [tmp_path / "sheet.png"])
    assert made == [1, 2, 1, 2]


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": {"part": 1}}', '{"a": 3}'])
def test_a_damaged_record_is_one_sentence(tmp_path, text):
    (tmp_path / "table-parts.json").write_text(text)
    with pytest.raises(UserError, match="table-parts.json is damaged; delete it"):
        PartCache(tmp_path, "table", {})


def test_a_table_goes_on_where_it_was_stopped(files, inverter, degraded_photos, tmp_path, monkeypatch):
    """Of two batches, the second one fails at first; the result is that of a run without a stop."""
    inverts, seen = Inverter.invert, []

    def invert(self, targets, on_step):
        seen.append(len(targets))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return inverts(self, targets, on_step)

    whole = inversion_table(inverter, degraded_photos, tmp_path / "whole")
    monkeypatch.setattr(Inverter, "invert", invert)
    with pytest.raises(KeyboardInterrupt):
        inversion_table(inverter, degraded_photos, tmp_path / "stopped")
    assert inversion_table(inverter, degraded_photos, tmp_path / "stopped") == whole
    assert seen == [2, 1, 1]


# Section 4.3.


def test_inversion_is_the_psnr_of_reconstructions(files, inverter, degraded_photos, tmp_path):
    table = inversion_table(inverter, degraded_photos, tmp_path)
    _, degraded = degraded_by_hand(files, "multiple")
    values = psnr(results_of(inverter, degraded)[0], degraded).tolist()
    assert_close(table.numbers["psnr"], values, 1e-3)  # the perceptual distance may compute in bfloat16
    [row] = table.rows
    assert row == ["reconstruction", mean_and_deviation(table.numbers["psnr"]), "29.47", "28.91"]
    stored = load(files / "qc.safetensors", CPU).state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in inverter.G.state_dict().items())
    assert "3 photos" in table.notes[0] and "projector of 2 steps, tuning of at most 2 steps" in table.notes[0]


def test_means_of_equal_images_have_no_deviation():
    assert mean_and_deviation([1.0, 3.0]) == "2.00 ± 1.00"
    assert mean_and_deviation([1.0, float("inf"), 3.0]) == "2.00 ± 1.00, 1 of 3 equal"
    assert mean_and_deviation([float("inf")] * 2) == "equal"


# Table 2.


def restoration_measures(files, **changes):
    return RestorationMeasures(NO_WEIGHTS, CPU, **{"resolution": 16, "pristine": str(files / "niqe.npz"), **changes})


@pytest.fixture(scope="module")
def noise(files, inverter, photos, tmp_path_factory):
    """Return the table of one track, its folder, and its images in four forms, found one by one."""
    folder = tmp_path_factory.mktemp("noise")
    options = RestorationOptions(("noise",), sheet=2)
    inverters = {"projector+PTI": with_fidelity(inverter, 0.0)}
    table = restoration_table(inverters, photos, options, restoration_measures(files), folder)
    sharp, degraded = degraded_by_hand(files, "noise")
    return table, folder, (sharp, degraded, *results_of(inverter, degraded))


def test_restoration_has_the_numbers_of_the_formulas(files, noise):
    table, _, (sharp, degraded, reconstructions, restored) = noise
    numbers = table.numbers["results"]["projector+PTI"]["noise"]
    assert_close(numbers["photos"]["reconstruction"], psnr(reconstructions, degraded).tolist())
    compare = {"psnr": psnr, "ssim": ssim, "pd_cifar": load_measure("pd_cifar", NO_WEIGHTS, CPU).compare}
    look, model = cifar().features, restoration_measures(files).model
    for side, images in {"degraded": degraded, "restored": restored}.items():
        with torch.no_grad():
            expected = {name: measure(images, sharp).mean().item() for name, measure in compare.items()}
            expected["niqe"] = niqe(images, model).mean().item()
            a, b = (moments(look(each).numpy()) for each in (images, sharp))
        expected["fd_cifar"] = frechet_distance(a, b)
        assert numbers[side].keys() == expected.keys()
        for name, value in expected.items():
            assert_close(numbers[side][name], value, rtol=1e-4, what=f"{side} {name}")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row[""] == "projector+PTI: noise" and row["restored: LPIPS"] == "-"
    assert row["restored: SSIM"] == f"{numbers['restored']['ssim']:.3f}"
    assert row["degraded: NIQE"] == f"{numbers['degraded']['niqe']:.2f}"
    assert row["reconstruction: PSNR"] == f"{psnr(reconstructions, degraded).mean():.2f}"
    assert any("LPIPS needs" in note for note in table.notes) and any("only 3 photos" in note for note in table.notes)


def test_restored_photos_of_full_fidelity_are_the_degraded_ones(files, inverter, photos, tmp_path):
    untuned = with_fidelity(inverter, 1.0)
    untuned.options = dataclasses.replace(untuned.options, tuning=None)
    options = RestorationOptions(("jpeg",), sheet=0)
    table = restoration_table({"projector": untuned}, photos, options, restoration_measures(files), tmp_path)
    numbers = table.numbers["results"]["projector"]["jpeg"]
    assert numbers["restored"] == numbers["degraded"]


def test_papers_numbers_stand_in_the_same_columns(noise):
    table = noise[0]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    names = ["HiFaceGAN", "DnCNN", "MPRNet", "QC-StyleGAN"]
    assert list(rows) == ["projector+PTI: noise", *(f"paper, CelebA-HQ, {name}: noise" for name in names)]
    ours = rows["paper, CelebA-HQ, QC-StyleGAN: noise"]
    assert (ours["restored: NIQE"], ours["restored: LPIPS"]) == ("5.41", "0.183") and ours["degraded: PSNR"] == "-"
    assert [len(PAPER[name]) for name in ("HiFaceGAN", "ESRGAN", "MPRNet", "QC-StyleGAN")] == [5, 1, 5, 5]


def test_a_sheet_shows_each_photo_in_four_forms(noise):
    _, folder, forms = noise
    [path] = folder.glob("*.png")
    picture = np.asarray(PIL.Image.open(path))
    tile, gap = 96, 4
    left, top = picture.shape[1] - 4 * (tile + gap), picture.shape[0] - 2 * (tile + gap)
    for column, images in enumerate(forms):
        for row, image in enumerate(images[:2].permute(0, 2, 3, 1).numpy()):
            y, x = top + row * (tile + gap), left + column * (tile + gap)
            assert np.array_equal(picture[y : y + tile, x : x + tile], image.repeat(6, 0).repeat(6, 1))


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_sheet_of_extremes_keeps_the_photos_that_gain_most_and_least(step, monkeypatch):
    monkeypatch.setattr(restoration_sheet, "labelled_grid", lambda tiles, rows, columns: (tiles, rows, columns))
    gains = [0.1, -0.5, 0.9, 0.3, 0.2, -0.1, 0.0]
    sharp, restored = torch.arange(7).view(7, 1, 1, 1), torch.arange(10, 17).view(7, 1, 1, 1)
    expected = {5: [2, 3, 4, 5, 1], 2: [2, 1], 1: [2], 9: [2, 3, 4, 0, 6, 5, 1]}
    for count, numbers in expected.items():
        sheets = [RestorationSheet(count, extremes=True), RestorationSheet(count)]
        for part in torch.arange(7).split(step):
            for sheet in sheets:
                images = {"restored": restored[part], "sharp": sharp[part]}
                sheet.add([f"p{number}" for number in part], images, [gains[number] for number in part])
        tiles, rows, columns = sheets[0].draw()
        assert columns == ["sharp", "restored"] and tiles.shape == (len(numbers), 2, 1, 1, 1)
        assert tiles[:, :, 0, 0, 0].tolist() == [[number, 10 + number] for number in numbers]
        assert rows == [f"p{number} {gains[number]:+.2f}" for number in numbers]
        assert sheets[1].draw()[1] == [f"p{number}" for number in range(7)][:count]


def test_restoration_goes_on_after_the_last_track_and_method(files, tmp_path, monkeypatch):
    """A stop within the third part loses that one alone; a sheet that is gone is made again."""
    restored, made = restoration._restore, []

    def counted(restorer, photos, *rest):
        made.append((photos.track, restorer.inverter.options.tuning is not None))
        if len(made) == 3:
            raise UserError("stopped")
        return restored(restorer, photos, *rest)

    monkeypatch.setattr(restoration, "_restore", counted)
    arguments = ["restoration", *flags(files, tmp_path, images=1), "--method=projector", "--method=projector+pti"]
    arguments += ["--track=blur", "--track=noise", "--baseline=none"]
    assert command(*arguments, code=1) == "Error: stopped"
    first = command(*arguments)
    parts = [("blur", False), ("blur", True), ("noise", False), ("noise", True)]
    assert made == [*parts[:3], *parts[2:]]
    assert command(*arguments) == first and len(made) == 5
    (tmp_path / "restoration-blur-projector-PTI.png").unlink()
    assert command(*arguments) == first and made[5:] == parts[1:2]
    assert (tmp_path / "restoration-blur-projector-PTI.png").is_file()
    command(*arguments, "--seed=1")
    assert made[6:] == parts
    stored = json.loads((tmp_path / "restoration.json").read_text())
    assert list(stored["results"]) == ["projector", "projector+PTI"]
    assert (tmp_path / "restoration.md").read_text().startswith("**Table 2.")


def test_methods_take_of_the_flags_what_concerns_them(files, tmp_path, monkeypatch):
    def only_options(inverters, *rest):
        found.update({method: inverter.options for method, inverter in inverters.items()})
        raise UserError("enough")

    found = {}
    monkeypatch.setattr("evaluation.tables.restoration.restoration_table", only_options)
    encoder = files / "encoders" / "encoder.safetensors"
    arguments = ["restoration", *flags(files, tmp_path, encoder=encoder, steps=5), "--set=tuning.lr=0.01", "--space=w"]
    command(*arguments, *(f"--method={method}" for method in METHODS), code=1)
    for method, options in found.items():
        assert options.encoder == (str(encoder) if "encoder" in method else None)
        assert (options.projector is None) == ("encoder" in method)
        assert (options.tuning is None) == ("PTI" not in method)
    assert (found["projector"].projector.steps, found["projector"].projector.space) == (5, "w")
    assert found["encoder+PTI"].tuning.lr == 0.01
    found.clear()
    command("restoration", *flags(files, tmp_path, encoder=encoder, steps=None, **{"tuning-steps": None}), code=1)
    assert list(found) == ["encoder"]
    assert TRACKS == ("blur", "super_resolution", "noise", "jpeg", "multiple")


@pytest.mark.parametrize(
    ("changes", "extra", "sentence"),
    [
        (
            {"steps": None, "tuning-steps": None},
            ["--method=encoder"],
            "--method=encoder needs an encoder, and there is ",
        ),
        ({}, ["--method=projector"], "--tuning-steps has no effect with --method=projector; leave it out, or take a"),
        (
            {"steps": None, "tuning-steps": None, "encoder": "encoders/encoder.safetensors"},
            ["--set=projector.lr=1"],
            "--set projector.lr=1 has no effe",
        ),
        (
            {"steps": None, "tuning-steps": None, "encoder": "encoders/encoder.safetensors"},
            ["--space=w"],
            "--space has no effect with --method=encoder; leave it out, or take a method with projector",
        ),
        ({"tuning-steps": 0}, [], "--method=projector+PTI tunes the generator, and that in 0 steps"),
        ({"steps": 0}, [], "without an encoder the projector must search"),
        ({"network": "plain.safetensors"}, [], "is plain, without the quality code that this needs"),
        ({"images": 6}, [], "--count is 6, must be at most 5"),
        ({}, ["--pristine=missing.npz"], "cannot read missing.npz"),
        ({"outdir": "photos.zip/tables"}, [], "cannot write to"),
    ],
)
def test_wrong_restorations_are_one_sentence(files, tmp_path, changes, extra, sentence):
    here = {name: files / value for name, value in changes.items() if isinstance(value, str)}
    assert sentence in command("restoration", *flags(files, tmp_path, **{**changes, **here}), *extra, code=1)


def test_niqe_needs_blocks_that_fit(files):
    with pytest.raises(UserError, match="blocks of 16 px, larger than photos of 8 px; fit one by .* --block=4"):
        restoration_measures(files, resolution=8)
    without = restoration_measures(files, pristine=None)
    assert without.model is None and any("NIQE needs --pristine" in note for note in without.notes)


# Section 4.7.


def test_stability_compares_repetitions_in_pairs(files, inverter, degraded_photos, tmp_path):
    directions = [direction(name, torch.randn(16)) for name in "ab"]
    measures = {name: load_measure(name, NO_WEIGHTS, CPU) for name in ("psnr", "pd_cifar")}
    options = StabilityOptions(tuple(directions), magnitude=2.0)
    table = stability_table(inverter, degraded_photos, options, measures, tmp_path)
    _, degraded = degraded_by_hand(files, "multiple")
    expected = []
    edits = []
    for seed in range(3):
        tuning = dataclasses.replace(FEW.tuning, seed=seed)
        seeded = InversionOptions(projector=dataclasses.replace(FEW.projector, seed=seed), tuning=tuning)
        other = Inverter(files / "qc.safetensors", CPU, seeded, NO_WEIGHTS)
        [found] = other.invert(degraded[1:2] / 127.5 - 1)
        with other.tuned(found) as G, torch.no_grad():
            edits.append([shown(G, edit(G, found.latents, each, s).sharp()) for each in directions for s in (-2, 2)])
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        expected += [psnr(x, y).item() for x, y in zip(edits[a], edits[b], strict=True)]
    ours = table.numbers["photos"][1]["sharp"]["psnr"]
    assert len(ours) == 12 and statistics.fmean(ours) < 100
    assert_close(ours, expected, rtol=1e-3)
    everything = [value for row in table.numbers["photos"] for value in row["sharp"]["psnr"]]
    assert table.rows[1] == [
        "sharp",
        mean_and_deviation(everything),
        mean_and_deviation([value for row in table.numbers["photos"] for value in row["sharp"]["pd_cifar"]], 4),
        *stability.PAPER["sharp"],
    ]
    assert table.rows[0][3:] == ["44.42 ± 2.71", "0.004 ± 0.003"]


def test_a_seed_changes_inversions_and_nothing_else(inverter):
    other = with_seed(inverter, 2)
    assert other.G is inverter.G and with_seed(inverter, 0).settings == inverter.settings
    assert (other.options.projector.seed, other.options.tuning.seed) == (2, 2)
    assert inverter.options.projector.seed == 0
    assert dataclasses.replace(other.options, projector=FEW.projector, tuning=FEW.tuning) == FEW


def test_stability_of_what_has_no_seed_is_said(files, tmp_path):
    text = command(
        "stability",
        *flags(files, tmp_path, encoder=files / "encoders" / "encoder.safetensors", steps=None, **{"tuning-steps": 0}),
        "--repetitions=2",
    )
    assert "| degraded | equal | 0.0000 ± 0.0000 |" in text and "nan" not in text and "No seed has any effect" in text
    assert "sefa-0, sefa-1, sefa-2" in text


def test_a_measure_within_a_mask_is_that_of_its_pixels():
    """What differs outside of the mask does not count; half of the pixels differ by 10 within."""
    a = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:12, 4:12] = True
    b = torch.where(mask, a, 0)
    measures = {name: load_measure(name, NO_WEIGHTS, CPU) for name in ("psnr", "pd_cifar")}
    assert compare_within(measures["psnr"], "psnr", a, b, mask) == [float("inf")]
    assert compare_within(measures["pd_cifar"], "pd_cifar", a, b, mask) == [0.0]
    b[:, :, 4:8] += 10
    [value] = compare_within(measures["psnr"], "psnr", a, b, mask)
    assert_close(value, 10 * np.log10(255**2 / 50))
    assert compare_within(measures["pd_cifar"], "pd_cifar", a, b, mask)[0] > 0


def test_the_ellipse_of_a_face_is_where_aligned_faces_are():
    mask = face_ellipse(200)
    rows, columns = mask.nonzero().T.double().unbind()
    assert_close((columns.mean() + 0.5) / 200, 0.5, 0.01)
    assert_close((columns.max() - columns.min()) / 200, 1.25 * 0.635, 0.02)
    assert_close((mask.any(1).nonzero().min() / 200).item(), 0.574 - 1.25 * 0.635 / 2, 0.05)


def test_stability_of_faces_and_its_videos(files, tmp_path):
    """A mask of everything gives the numbers of the whole photos; a video that is gone is made again."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("img00", "img01"):
        PIL.Image.new("L", (16, 16), 255).save(masks / f"{name}.png")
    arguments = ["stability", *flags(files, tmp_path), "--repetitions=2", f"--direction={files / 'some.safetensors'}"]
    text = command(*arguments, f"--mask={masks}", "--videos=1")
    rows = {line.split(" | ")[0]: line.split(" | ")[1:-2] for line in text.splitlines() if line.startswith("| ")}
    for side in ("degraded", "sharp"):
        assert rows[f"| {side}"] == rows[f"| {side}, the face alone"]
    assert "43.67 ± 2.28" in text and f"the masks of {masks}" in text
    video = tmp_path / "stability-img00.mp4"
    assert count_frames(video) == 2 * stability.LOOPS and not (tmp_path / "stability-img01.mp4").exists()
    video.unlink()
    assert command(*arguments, f"--mask={masks}", "--videos=1") == text and video.is_file()
    assert "the ellipse where aligned faces are" in command(*arguments, "--mask=auto")
    (masks / "img01.png").unlink()
    assert "has no mask for the photo img01; add one" in command(*arguments, f"--mask={masks}", code=1)
    for pixels, sentence in (((8, 16), "is 8x16, not 16x16 as the photos"), ((16, 16), "has no white pixel")):
        PIL.Image.new("L", pixels).save(masks / "img01.png")
        assert sentence in command(*arguments, f"--mask={masks}", code=1)


# Table 3 of the supplement.


def test_editability_is_the_mean_change_of_the_score(files, inverter, degraded_photos, tmp_path):
    some = direction("some", torch.randn(16))
    table = editability_table(inverter, degraded_photos, EditOptions(some, "brightness", brightness), tmp_path)
    _, degraded = degraded_by_hand(files, "multiple")
    changes = []
    for target in degraded / 127.5 - 1:
        [found] = inverter.invert(target[None])
        with inverter.tuned(found) as G, torch.no_grad():
            edited = [synthesize(G, latents) for latents in (edit(G, found.latents, some, -3.0), found.latents)]
            changes.append((brightness(edited[0]) - brightness(edited[1])).item())
    assert_close(table.numbers["changes"]["degraded"][0], statistics.fmean(changes), rtol=1e-4)
    assert table.rows[0] == ["-3.00", f"{statistics.fmean(changes):.4f}", table.rows[0][2], "4.22", "15.04"]
    assert table.rows[-1][0] == "3.00" and table.rows[-1][3:] == ["-2.50", "-7.63"]
    assert [round(value, 2) for value in table.numbers["magnitudes"][:4]] == [-3, -2.33, -1.67, -1]
    sharp = table.numbers["changes"]["sharp"]
    assert sharp != table.numbers["changes"]["degraded"] and len(sharp) == 10


def test_no_edit_changes_nothing(inverter, degraded_photos):
    [found] = invert_photos(inverter, degraded_photos.pairs([0])[1])
    options = EditOptions(direction("none", torch.randn(16)), "brightness", brightness, reach=1.0, count=3)
    changes = score_changes(inverter, found, options)
    assert all(changes[side][1] == 0 != changes[side][0] for side in editability.PAPER)


def test_editability_by_command(files, tmp_path):
    arguments = ["editability", *flags(files, tmp_path), "--scorer=warmth"]
    given = command(*arguments, f"--direction={files / 'some.safetensors'}", "--magnitudes=3")
    assert "warmth: degraded" in given and "Direction some, by given" in given and "15.04" not in given
    found = command(*arguments, "--samples=60")
    assert "Direction warmth, by interfacegan" in found and "15.04" in found
    assert "unknown scorer 'warmht'; did you mean 'warmth'" in command(
        "editability", *flags(files, tmp_path), "--scorer=warmht", code=1
    )


def test_a_plain_network_is_a_row_and_a_column_beside(files, tmp_path):
    """Its numbers are those of a table of its own; the figure has both networks' edits."""
    base = f"--base={files / 'plain.safetensors'}"
    alone = Inverter(files / "plain.safetensors", CPU, ONE, NO_WEIGHTS)
    photos = DegradedPhotos(PhotoOptions(str(files / "photos.zip"), 2), "multiple", alone.G)
    expected = inversion_table(alone, photos, tmp_path / "alone").numbers["psnr"]
    text = command("inversion", *flags(files, tmp_path), base)
    assert f"| reconstruction by the plain network | {mean_and_deviation(expected)} | - | - |" in text
    arguments = ["editability", *flags(files, tmp_path), "--scorer=warmth", "--magnitudes=3", base]
    some = f"--direction={files / 'some.safetensors'}"
    text = command(*arguments, some, f"--sheet={tmp_path / 'edits.png'}")
    assert "| magnitude | warmth: degraded | sharp | the plain network |" in text
    assert PIL.Image.open(tmp_path / "edits.png").width > 8 * 96
    for extra, sentence in {
        f"--base={files / 'qc.safetensors'}": "has a quality code; give the plain network",
        "--sheet=edits.jpg": "does not end in .png",
    }.items():
        assert sentence in command(*arguments, some, extra, code=1)
    assert "--sheet has no effect without --base" in command(*arguments[:-1], "--sheet=a.png", code=1)


@pytest.mark.parametrize("name", ["inversion", "stability"])
def test_other_tables_by_command(files, tmp_path, name):
    text = command(name, *flags(files, tmp_path))
    stored = json.loads((tmp_path / f"{name}.json").read_text())
    assert stored["names"] == ["img00", "img01"]
    assert (tmp_path / f"{name}.md").read_text() in text
    assert command(name, *flags(files, tmp_path)) == text


# Tables that an encoder adds to: Table 3 and section 4.6.


def test_without_a_folder_a_table_is_printed_and_nothing_else_is_written(files, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / "cache"))
    inverted, calls = Inverter.invert, []
    monkeypatch.setattr(Inverter, "invert", lambda self, *rest: calls.append(1) or inverted(self, *rest))
    printed = command("inversion", *flags(files, None))
    assert "Section 4.3" in printed and calls
    before = len(calls)
    assert command("inversion", *flags(files, None)) == printed and len(calls) == before  # from the parts
    assert [path.name for path in (tmp_path / "cache/tables").iterdir()] == ["inversion-parts.json"]
    assert "| QC-StyleGAN |" in command("runtime", f"--network={files / 'qc.safetensors'}", "--device=cpu", "--runs=2")
    assert "--videos has no effect without --outdir; add it" in command(
        "stability", *flags(files, None), "--videos=1", code=1
    )
    assert not list((tmp_path / "here").iterdir())


def test_runtime_of_inversion_is_timed_with_an_encoder(files, tmp_path, monkeypatch):
    few = dataclasses.replace(FEW.tuning, stop_psnr=None)
    monkeypatch.setattr("evaluation.tables.runtime.TuningOptions", lambda: few)
    monkeypatch.setattr("evaluation.tables.runtime.TUNED", 2)
    network = f"--network={files / 'qc.safetensors'}", "--device=cpu", "-o", tmp_path
    text = command("runtime", *network, f"--encoder={files / 'encoders' / 'encoder.safetensors'}", "--runs=2")
    seconds = json.loads((tmp_path / "table3.json").read_text())["seconds"]
    assert {name: len(times) for name, times in seconds.items()} == {"QC-StyleGAN": 2, "pSp": 2, "PTI-opt": 2}
    for name, times in seconds.items():
        assert min(times) > 0 and f"| {name} | {sum(times) / 2:.4f} ± " in text


class MeanColours:
    """A stand-in of an encoder, whose codes are the images' mean colours; it keeps what it sees."""

    quality = "told"

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen.append(images)
        return Latents(images.new_zeros(len(images), 1, 16), q=images.mean((2, 3)))


FIVE = ClassifyOptions(train=3, test=2, batch=2)


def test_an_encoder_tells_the_codes_that_are_classified(files, tmp_path):
    G, encoder = load(files / "qc.safetensors", CPU), MeanColours()
    codes, labels = codes_of(OwnImages(G, encoder, 1), CPU, graded("blur"), FIVE, "")
    images = torch.cat(encoder.seen)
    assert torch.equal(codes, images.mean((2, 3))) and len(labels) == 5 and labels.unique().numel() == 5
    sharp = synthesize(G, Latents(ws_of_seeds(G, range(5))), noise_of_seeds(G, range(5)))
    assert np.array_equal(to_uint8(images[4:])[0], blurred(to_uint8(sharp[4:])[0], 4))
    common = f"--network={files / 'qc.safetensors'}", "--train=10", "--test=10", "--device=cpu", "-o", tmp_path
    encoder = f"--encoder={files / 'encoders' / 'encoder.safetensors'}"
    assert "each code by an encoder" in command("classify", *common, "--kind=blur", encoder)
    assert "--steps has no effect" in command("classify", *common, "--steps=3", encoder, code=1)
    config = dataclasses.replace(TINY, q_width=0)
    write_encoder(tmp_path / "w.safetensors", G, files / "qc.safetensors", config)
    sentence = command("classify", *common, f"--encoder={tmp_path / 'w.safetensors'}", code=1)
    assert sentence.endswith("w.safetensors tells no quality codes; leave out --encoder, and they are fitted")
    photos = f"--data={files / 'photos.zip'}", "--kind=noise", f"--encoder={tmp_path / 'w.safetensors'}"
    text = command("classify", *common, *photos, "--steps=2")
    assert (
        "2 photos to learn from and 3 to judge by; each code by 2 steps of optimisation after an encoder of w" in text
    )


def test_photos_to_learn_from_are_others_than_those_to_judge_by(files):
    """Of five photos, degraded twelve times; and where there are enough, each is degraded once."""
    G, encoder = load(files / "qc.safetensors", CPU), MeanColours()
    pixels = pixels_of(files / "photos.zip")
    photos = PhotoImages(G, encoder, 1, str(files / "photos.zip"), train=7, test=5)
    assert [photos.photo_of(image) for image in range(12)] == [0, 1, 2, 0, 1, 2, 0, 3, 4, 3, 4, 3]
    assert np.array_equal(photos.sharp(range(6, 8)), pixels[[0, 3]].permute(0, 2, 3, 1).numpy())
    once = PhotoImages(G, encoder, 1, str(files / "photos.zip"), train=3, test=1)
    assert [once.photo_of(image) for image in range(4)] == [0, 1, 2, 3]
    codes_of(photos, CPU, graded("blur"), dataclasses.replace(FIVE, train=7, test=5), "")
    image = torch.cat(encoder.seen)[7:8]
    assert np.array_equal(to_uint8(image)[0], blurred(pixels[3].permute(1, 2, 0).numpy().copy(), 7))


def test_a_single_photo_is_not_divided(files, tmp_path):
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "one.png")
    with pytest.raises(UserError, match="has a single photo, and classifiers are judged by others"):
        PhotoImages(load(files / "qc.safetensors", CPU), MeanColours(), 1, str(tmp_path), 10, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_code_is_classified_without_error(files, kind):
    """Codes that tell each tenth of the strength, and whether there is a degradation; others tell nothing."""

    class Perfect(OwnImages):
        def codes(self, numbers, degraded):
            rngs = [np.random.default_rng((0, FOR_CLASSIFICATION, number)) for number in numbers]
            pairs = list(zip(self.sharp(numbers), rngs, strict=True))
            labels = [
                [present_or_not(kind)(image, copy.deepcopy(rng))[1], graded(kind)(image, rng)[1]]
                for image, rng in pairs
            ]
            present, strengths = torch.tensor(labels, dtype=torch.float64).unbind(1)
            tenths = torch.nn.functional.one_hot((10 * strengths).long(), 10)
            return torch.cat([present[:, None], tenths], 1).float()

    class Blank(OwnImages):
        def codes(self, numbers, degraded):
            return torch.zeros(len(numbers), 3)

    G = load(files / "qc.safetensors", CPU)
    options = ClassifyOptions(train=80, test=20)
    perfect = accuracies_of(Perfect(G, None, 1), CPU, kind, options)
    assert perfect == {"present or not": 1.0, "5 levels": 1.0, "10 levels": 1.0}
    assert all(value < 0.9 for value in accuracies_of(Blank(G, None, 1), CPU, kind, options).values())


def blurred(image, number):
    return graded("blur")(image, np.random.default_rng((0, FOR_CLASSIFICATION, number)))[0]
