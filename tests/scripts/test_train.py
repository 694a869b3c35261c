"""The command line of train.py: what flags come to, and one sentence for whatever is wrong."""

import dataclasses
import json
import os
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

import train
from dnnlib.config import differences, from_dict, to_dict
from networks.config import CrepsConfig, QualityConfig
from networks.files import ImageFormat, build_discriminator, build_generator, load_generator
from tests.support.networks import SMALL, SMALL_D, quality_generator, small_generator, write_network
from tests.support.processes import finish, start
from training import presets
from training.config import TrainConfig

SIDE, COUNT = 16, 8
SHORT = ["--preset=demo", "--kimg=0.016", "--batch=16", "--workers=0", "--device=cpu", "--precision=fp32"]  # one step


def write_image(path, width=SIDE, height=SIDE, seed=0, mode="RGB"):
    shape = (height, width) if mode == "L" else (height, width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)


def write_images(folder, **options):
    for index in range(COUNT):
        write_image(folder / f"{index}.png", seed=index, **options)
    return folder


def write_labels(folder, labels):
    pairs = [[f"{index}.png", label] for index, label in enumerate(labels)]
    (folder / "dataset.json").write_text(json.dumps({"labels": pairs}))
    return folder


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with images, labelled images, and networks; tests only read it."""
    folder = tmp_path_factory.mktemp("shared")
    write_images(folder / "images")
    write_labels(write_images(folder / "labelled"), [0, 1, 2, 1, 0, 2, 2, 0])
    write_network(folder / "base.safetensors", small_generator(SIDE))
    write_network(folder / "degraded.safetensors", small_generator(SIDE), mode="base", degradation="noise")
    write_network(folder / "large.safetensors", small_generator(2 * SIDE))
    creps = build_generator(dataclasses.replace(SMALL, kind="creps"), ImageFormat(SIDE, 3, 0))
    write_network(folder / "creps.safetensors", creps)
    write_network(folder / "qc.safetensors", quality_generator(), ("sharp", "degraded"))
    (folder / "truncated.safetensors").write_bytes((folder / "base.safetensors").read_bytes()[:-1])
    return folder


@pytest.fixture
def command(shared, tmp_path):
    """Return a function that runs train.py on the shared images, with flags of one's own after the usual ones."""

    def run(*flags, data=None, outdir=None):
        where = [f"--data={data or shared / 'images'}", f"--outdir={outdir or tmp_path / 'run'}"]
        return CliRunner().invoke(train.main, [*where, *SHORT, *flags])

    return run


def sentence(result):
    """Return the only line of standard error, without `Error: `."""
    assert isinstance(result.exception, SystemExit), f"{result.exception!r} instead of a sentence"
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), result.stderr
    return lines[0].removeprefix("Error: ")


def resolved(result):
    """Return the configuration that a dry run has printed, and the text after it."""
    assert result.exit_code == 0, result.output
    values, end = json.JSONDecoder().raw_decode(result.stdout)
    return from_dict(TrainConfig, values), result.stdout[end:]


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_dry_run_prints_configuration_and_networks_and_writes_nothing(command, shared, tmp_path):
    before = contents(shared), contents(tmp_path)
    config, tables = resolved(command("--dry-run"))
    assert (contents(shared), contents(tmp_path)) == before
    expected = presets.build("demo", SIDE, batch=16)
    paths = [line.partition(":")[0] for line in differences(expected, config)]
    own = {"data.path", "data.resolution", "run.device", "run.kimg", "run.workers"}
    assert set(paths) <= own | {"discriminator.precision.dtype", "generator.precision.dtype"}
    images = ImageFormat(SIDE, 3, 0)
    G, D = build_generator(config.generator, images), build_discriminator(config.discriminator, images)
    generator_table, discriminator_table = tables.split("\nDiscriminator\n")
    for network, table in ((G, generator_table), (D, discriminator_table)):
        rows = {line.split()[0]: line for line in table.splitlines() if len(line.split()) > 1}
        assert rows.pop("total").split()[1] == f"{sum(p.numel() for p in network.parameters()):,}"
        assert rows.keys() == {name.rpartition(".")[0] or "(top)" for name, _ in network.named_parameters()}
        for name, parameter in network.named_parameters():
            layer, _, last = name.rpartition(".")
            assert f"{last} {list(parameter.shape)}" in rows[layer or "(top)"]


def test_a_preset_for_images_of_another_size_is_said(command, caplog):
    command("--dry-run", "--preset=auto")
    assert "--preset" not in caplog.text
    command("--dry-run", "--preset=paper256")
    assert "--preset=paper256 is for images of 256x256 and the data has 16x16" in caplog.text


def test_dry_run_of_qc_shows_the_quality_blocks(command, shared):
    config, tables = resolved(command("--dry-run", "--mode=qc", f"--init-from={shared / 'base.safetensors'}"))
    assert config.mode == "qc" and config.init_from == str(shared / "base.safetensors")
    generator = dataclasses.replace(SMALL, quality=QualityConfig(), precision=config.generator.precision)
    assert config.generator == generator  # the base network's, not the preset's
    assert config.discriminator.channel_base == SMALL_D.channel_base
    assert config.discriminator.mapping_layers == SMALL_D.mapping_layers
    assert "synthesis.b16.degrade" in tables and "synthesis.b4.degrade" not in tables


def test_base_run_from_a_network_takes_its_architecture(command, shared):
    config, _ = resolved(command("--dry-run", f"--init-from={shared / 'base.safetensors'}", "--precision=bf16"))
    assert config.mode == "base" and config.generator.quality is None
    assert (config.generator.w_dim, config.generator.channel_max) == (SMALL.w_dim, SMALL.channel_max)
    assert config.generator.precision.dtype == "bf16"


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_a_run_from_a_network_follows_the_rule_of_transfer(command, shared, mode):
    """No ramp-up of the moving average, which would forget the network; flags still come last."""
    start = ["--dry-run", f"--mode={mode}", f"--init-from={shared / 'base.safetensors'}", "--preset=auto"]
    config, _ = resolved(command(*start))
    assert config.ema.rampup is None and config.augment.kimg == 100
    config, _ = resolved(command(*start, "--set=ema.rampup=0.1", "--set=augment.kimg=400"))
    assert config.ema.rampup == 0.1 and config.augment.kimg == 400
    config, _ = resolved(command("--dry-run", "--preset=auto"))
    assert config.ema.rampup == 0.05 and config.augment.kimg == 500


def test_resolution_and_labels_come_from_the_data(command, shared, tmp_path):
    gray = write_images(tmp_path / "gray", width=32, height=32, mode="L")
    config, tables = resolved(command("--dry-run", data=gray))
    assert config.data.resolution == 32
    assert "b32.fromrgb" in tables and "[64, 1, 1, 1]" in tables or ", 1, 1, 1]" in tables
    _, tables = resolved(command("--dry-run", "--cond", data=shared / "labelled"))
    assert "mapping.embed" in tables and "weight [64, 3]" in tables


def test_preset_then_flags_then_set(command):
    def value(*flags):
        return resolved(command("--dry-run", "--kimg=0.016", *flags))[0]

    assert value("--preset=paper256").loss.r1_gamma == 1
    assert value("--preset=paper256", "--gamma=7").loss.r1_gamma == 7
    for order in (("--set=loss.r1_gamma=9", "--gamma=7"), ("--gamma=7", "--set=loss.r1_gamma=9")):
        assert value("--preset=paper256", *order).loss.r1_gamma == 9
    assert value("--set=loss.r1_gamma=8", "--set=loss.r1_gamma=9").loss.r1_gamma == 9
    both = value("--lr=0.1", "--set=optimizer_d.lr=0.2")
    assert (both.optimizer_g.lr, both.optimizer_d.lr) == (0.1, 0.2)


def test_mode_then_ablation_then_flags(command, shared):
    def quality(*flags):
        result = command("--dry-run", "--mode=qc", f"--init-from={shared / 'base.safetensors'}", *flags)
        return resolved(result)[0].generator.quality

    assert quality("--ablation=F") == QualityConfig(variant="adain")
    assert quality("--ablation=F", "--variant=released") == QualityConfig(variant="released")
    assert quality("--ablation=E", "--set=generator.quality.channels=5") == QualityConfig(q_dim=8, channels=5)


@pytest.mark.parametrize(
    ("flags", "alone"),
    [
        (["--preset=auto"], True),
        (["--preset=demo"], True),
        (["--preset=paper256"], False),
        (["--preset=auto", "--whole-head"], False),
        (["--preset=paper256", "--degrad-only"], True),
        (["--preset=auto", "--variant=pixels"], True),
        (["--preset=auto", "--variant=released"], False),
        (["--preset=auto", "--set=generator.quality.injection=concat_w"], False),
        (["--preset=auto", "--set=train_all=true"], False),
        (["--preset=auto", "--set=loss.distill_weight=10"], False),
        (["--preset=auto", "--ablation=C"], False),
    ],
)
def test_small_images_train_the_degrad_blocks_alone(command, shared, flags, alone):
    qc = ["--dry-run", "--mode=qc", f"--init-from={shared / 'base.safetensors'}"]
    assert resolved(command(*qc, *flags))[0].train_degrad_only == alone


@pytest.mark.parametrize("letter", sorted(presets.ABLATIONS))
def test_ablation_is_that_of_the_presets(command, shared, letter):
    qc = ["--dry-run", "--mode=qc", f"--init-from={shared / 'base.safetensors'}"]
    plain, changed = (resolved(command(*qc, *more))[0] for more in (["--whole-head"], [f"--ablation={letter}"]))
    assert changed == presets.ABLATIONS[letter](plain) != plain


def test_the_kind_of_the_generator_and_what_goes_with_it(command):
    plain, _ = resolved(command("--dry-run"))
    config, tables = resolved(command("--dry-run", "--generator=creps", "--set=generator.creps.thickness=4"))
    assert config.generator.creps == CrepsConfig(thickness=4) and "synthesis.b4.input" in tables
    doubled = 2 * plain.generator.channel_base, 2 * plain.generator.channel_max
    assert (config.generator.channel_base, config.generator.channel_max) == doubled
    assert config.loss.style_mixing_prob == 0 < plain.loss.style_mixing_prob
    assert resolved(command("--dry-run", "--set=generator.kind=creps"))[0].generator.creps == CrepsConfig()
    assert config.discriminator == plain.discriminator


def test_fields_of_another_kind_are_refused(command):
    for flags in (["--set=generator.creps.thickness=4"], ["--preset=creps128", "--generator=stylegan2"]):
        assert "generator.creps is set for generator.kind=stylegan2" in sentence(command("--dry-run", *flags))


def test_a_run_from_a_creps_network_is_one(command, shared):
    start = ["--dry-run", f"--init-from={shared / 'creps.safetensors'}"]
    for config in (resolved(command(*start))[0], resolved(command(*start, "--mode=qc"))[0]):
        assert config.generator.kind == "creps" and config.generator.creps == CrepsConfig()
        assert config.generator.channel_max == SMALL.channel_max and config.loss.style_mixing_prob == 0
    text = sentence(command("--dry-run", f"--init-from={shared / 'base.safetensors'}", "--generator=creps"))
    assert "has another architecture" in text and "kind: stylegan2 -> creps" in text


def test_a_creps_network_goes_on_with_larger_images(command, shared):
    data = f"--data={write_images(shared / 'larger', width=2 * SIDE, height=2 * SIDE)}"
    start = ["--dry-run", f"--init-from={shared / 'creps.safetensors'}", data]
    config, tables = resolved(command(*start))
    assert config.generator.creps == CrepsConfig(last_block=SIDE) and "synthesis.b32" not in tables
    assert "b32.conv0" in tables  # of the discriminator
    faults = {
        "--set=generator.creps.thickness=4": "has another architecture (creps.thickness: 8 -> 4); leave",
        "--set=generator.creps.last_block=8": "has another architecture (creps.last_block: 16 -> 8); leave",
        "--set=generator.creps.last_block=12": "creps.last_block is 12, must be a power of two from 8 on",
        "--mode=qc": "makes 16x16 images with 3 channels and labels of width 0, the data has 32x32, 3 and 0; ",
    }
    for flag, words in faults.items():
        assert words in sentence(command(*start, flag))
    smaller = f"--data={write_images(shared / 'smaller', width=SIDE // 2, height=SIDE // 2)}"
    assert "makes 16x16 images" in sentence(command(*start[:2], smaller))


# Flag, the field that it sets, and the value there.
FLAGS = [
    ("--mirror", "data.mirror", True),
    ("--count=5", "data.subset", 5),
    ("--licence=CC BY 4.0", "data.licence", "CC BY 4.0"),
    ("--licence=2024", "data.licence", "2024"),
    ("--seed=3", "seed", 3),
    ("--gamma=7", "loss.r1_gamma", 7.0),
    ("--aug=none", "augment.mode", "none"),
    ("--aug-p=0.25", "augment.p", 0.25),
    ("--target=0.75", "augment.target", 0.75),
    ("--augpipe=bg", "augment.pipe", "bg"),
    ("--freezed=2", "discriminator.freeze_layers", 2),
    ("--tick=0.5", "run.kimg_per_tick", 0.5),
    ("--snap=3", "run.snapshot_ticks", 3),
    ("--keep-snapshots=2", "run.keep_snapshots", 2),
    ("--gpus=2", "run.gpus", 2),
    ("--batch-gpu=4", "run.batch_gpu", 4),
    ("--workers=2", "run.workers", 2),
    ("--on-bad-image=skip", "run.on_bad_image", "skip"),
    ("--kimg=3", "run.kimg", 3.0),
    ("--device=cpu:0", "run.device", "cpu:0"),
    ("--batch=32", "batch", 32),
]


def test_a_plain_network_may_be_trained_on_degraded_images(command):
    config, _ = resolved(command("--dry-run", "--degradation=noise", "--degrade-on=workers"))
    assert (config.mode, config.data.reals, config.data.degradation) == ("base", "degraded", "noise")
    assert config.data.degrade_on == "workers" and config.streams == ("sharp",)
    config, _ = resolved(command("--dry-run"))
    assert config.data.reals == "sharp" and not config.degrades


def test_flags_of_qc_training_set_their_fields(command, shared):
    qc = ["--dry-run", "--mode=qc", f"--init-from={shared / 'base.safetensors'}"]
    config, _ = resolved(command(*qc, "--degradation=noise", "--degrade-on=workers", "--aug=fixed", "--aug-p=0.2"))
    assert (config.data.degradation, config.data.degrade_on) == ("noise", "workers")
    assert (config.augment.mode, config.augment.p) == ("fixed", 0.2)


def value_at(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


def test_each_flag_sets_its_field_and_no_other(command):
    plain, _ = resolved(command("--dry-run"))
    for flag, path, value in FLAGS:
        expected = [f"{path}: {value_at(plain, path)} -> {value}"]
        assert differences(plain, resolved(command("--dry-run", flag))[0]) == expected
    changed, _ = resolved(command("--dry-run", "--precision=bf16", "--lr=0.5"))
    assert [line.partition(":")[0] for line in differences(plain, changed)] == [
        "discriminator.precision.dtype",
        "generator.precision.dtype",
        "optimizer_d.lr",
        "optimizer_g.lr",
    ]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_mixed_precision_suits_the_device_unless_a_flag_says_otherwise(shared, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr("torch_utils.precision.fastest_dtype", lambda device: dtype)

    def dtypes(*flags):
        data = [f"--data={shared / 'images'}", f"--outdir={tmp_path / 'run'}", "--device=cpu", "--dry-run"]
        config, _ = resolved(CliRunner().invoke(train.main, [*data, *flags]))
        return {config.generator.precision.dtype, config.discriminator.precision.dtype}

    assert dtypes("--preset=demo") == {dtype}
    assert dtypes("--preset=demo", "--precision=fp32") == {"fp32"}
    assert dtypes("--preset=stylegan2", "--set=generator.channel_base=64") == {"fp32"}


def test_every_flag_is_documented_and_has_an_end():
    text = CliRunner().invoke(train.main, ["--help"]).stdout
    own = {"outdir", "preset_name", "dry_run", "mode", "init_from", "ablation", "batch", "overrides"}
    own |= {"metrics", "best", "weights_dir", "version"}
    for parameter in train.main.params:
        assert parameter.help and parameter.opts[0] in text
        assert (parameter.name in train.FIELDS) != (parameter.name in own)
    assert train.FIELDS.keys() <= {parameter.name for parameter in train.main.params}


def test_torchrun_says_how_many_processes_share_a_batch(command, monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    assert sentence(command("--dry-run")) == "--batch 16 is not divisible by 3 GPUs; try 15 or 18"


# Wrong data.


def images_with_labels(*labels):
    return lambda folder: write_labels(write_images(folder), labels)


def one_larger(folder):
    write_images(folder)
    write_image(folder / "7.png", 32, 32)


def one_cut(folder):
    write_images(folder)
    truncate(folder / "3.png")


def one_without_header(folder):
    write_images(folder)
    (folder / "0.png").write_bytes(b"no image")


def no_images(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")


def of_size(width, height):
    return lambda folder: write_images(folder, width=width, height=height)


def text_file(path):
    path.write_text("no archive")


BAD_LABELS = [-1, 10**9, 1.5, "cat", None, [1.0, 0.0], True]
NO_LABEL = "the label of 7.png in dataset.json in DATA is {!r}, not a class of 0.."
# What writes the data, flags, and the sentence: a pattern, where DATA stands for the path.
REFUSED_DATA = [
    (lambda folder: None, [], "^image source DATA does not exist; check the path$"),
    (no_images, [], "^no images in DATA "),
    (text_file, [], "DATA .*neither a folder nor a whole zip archive"),
    (one_larger, [], "^7.png in DATA has 32x32 pixels of mode RGB, unlike 0.png with 16x16 .*dataset_tool.py"),
    (of_size(16, 8), [], "has 16x8 pixels, not a square"),
    (of_size(12, 12), [], "has 12x12 pixels, the side must be a power of two from 4 on"),
    (of_size(4, 4), [], "resolution is 4, must be at least 8"),
    (one_without_header, [], "^0.png in DATA cannot be read: "),
    (write_images, ["--cond"], "DATA .*labels.*dataset_tool.py --input=DATA --output=data.zip --labels=folders"),
    (images_with_labels(0, 1), ["--cond"], r"has no label for 2.png \(6 of 8 images lack one\)"),
    *[
        (images_with_labels(*[0] * (COUNT - 1), label), ["--cond"], re.escape(NO_LABEL.format(label)))
        for label in BAD_LABELS
    ],
]


@pytest.mark.parametrize(("write", "flags", "words"), REFUSED_DATA, ids=[words for *_, words in REFUSED_DATA])
def test_data_that_does_not_do_is_refused(command, tmp_path, write, flags, words):
    data = tmp_path / "data"
    write(data)
    assert re.search(words.replace("DATA", re.escape(str(data))), sentence(command("--dry-run", *flags, data=data)))


def test_truncated_image_ends_the_run_or_is_skipped(command, tmp_path, caplog):
    folder = tmp_path / "images"
    one_cut(folder)
    message = sentence(command(data=folder))
    assert message.startswith(f"3.png in {folder} cannot be read: ")
    assert message.endswith("replace the file or pass --on-bad-image=skip")
    shutil.rmtree(tmp_path / "run")
    result = command("--on-bad-image=skip", data=folder)
    assert result.exit_code == 0, result.output
    assert f"3.png in {folder} cannot be read: " in caplog.text
    assert len(list((tmp_path / "run").glob("network-snapshot-*.safetensors"))) == 1


def test_image_without_a_header_can_be_skipped(command, tmp_path):
    one_without_header(tmp_path / "images")
    resolved(command("--dry-run", "--on-bad-image=skip", data=tmp_path / "images"))


def test_labels_that_nobody_asked_for_do_not_matter(command, tmp_path):
    resolved(command("--dry-run", data=images_with_labels(*[-1] * COUNT)(tmp_path / "images")))


# Wrong flags. Each: flags, how the sentence begins.

WRONG = [
    (["--batch=30", "--gpus=4"], "--batch 30 is not divisible by 4 GPUs; try 28 or 32"),
    (["--batch=0"], "batch is 0, must be at least 1"),
    (["--batch=-4"], "batch is -4, must be at least 1"),
    (["--batch=-4", "--preset=auto"], "batch is -4, must be at least 1"),
    (["--batch-gpu=0"], "--batch-gpu 0 does not divide the 16 images of each GPU; try 1 or 2 or 4 or 8 or 16"),
    (["--batch-gpu=5"], "--batch-gpu 5 does not divide the 16 images of each GPU; try 1 or 2 or 4 or 8 or 16"),
    (["--set=discriminator.mbstd_group_size=3"], "16 images at once are not divisible by discriminator.mbstd_group_"),
    (["--set=discriminator.mbstd_group_size=0"], "discriminator.mbstd_group_size is 0, must be at least 1"),
    (["--set=discriminator.mbstd_channels=5"], "discriminator.mbstd_channels is 5, must be a divisor of 64"),
    (["--preset=papr256"], "unknown preset 'papr256'; did you mean 'paper256'? Known: auto, church256, "),
    (["--set=loss.r1_gama=1"], "unknown field 'loss.r1_gama'; did you mean 'loss.r1_gamma'? Known: loss.content_"),
    (["--set=datta.path=x"], "unknown field 'datta'; did you mean 'data'? Known: augment, batch, "),
    (["--set=batch"], "--set batch has no value; write --set field=value"),
    (["--set="], "--set  has no value; write --set field=value"),
    (["--set==1"], "unknown field ''; known: "),
    (["--set=loss.r1_gamma=strong"], "loss.r1_gamma is 'strong', must be of type float"),
    (["--set=loss.r1_gamma=NaN"], "loss.r1_gamma is nan, must be a finite number"),
    (["--set=loss=3", "--set=loss.r1_gamma=1"], "loss is 3, must be a group of fields; set one of them: --set loss."),
    (["--set=mode=qc"], "--set mode=qc comes too late; write --mode=qc"),
    (["--set=init_from=x"], "--set init_from=x comes too late; write --init-from=x"),
    (["--set=data.resolution=32"], "IMAGES holds images of side 16, not 32; make such images by "),
    (["--ablation=A"], "--ablation=A changes QC-StyleGAN; add --mode=qc"),
    (["--variant=paper"], "generator.quality is set, must be left out without --mode=qc"),
    (["--set=generator.quality.blocks=9"], "generator.quality is set, must be left out without --mode=qc"),
    (["--mode=qc"], "--mode=qc needs a base network; train one with --mode=base and give it as --init-from=FILE"),
    (["--degradation=rain"], "unknown degradation recipe 'rain'"),
    (
        ["--set=data.reals=sharp", "--degradation=noise"],
        "--degradation=noise has no effect with --mode=base and wi",
    ),
    (
        ["--set=data.degrade_wait=0.5"],
        "--set data.degrade_wait=0.5 has no effect with --mode=base and without --degra",
    ),
    (["--degrade-on=workers"], "--degrade-on=workers has no effect with --mode=base"),
    (
        ["--generator=creps", "--set=generator.architecture=resnet"],
        "--set generator.architecture=resnet has no effect with --generator=creps",
    ),
    (["--set=train_all=true"], "--set train_all=true has no effect with --mode=base"),
    (["--set=loss.distill_weight=3"], "--set loss.distill_weight=3 has no effect with --mode=base"),
    (["--aug=none", "--target=0.6"], "--target=0.6 has no effect with --aug=none"),
    (["--preset=stylegan2", "--aug-p=0.1"], "--aug-p=0.1 has no effect with --aug=none"),
    (["--aug=none", "--augpipe=bg"], "--augpipe=bg has no effect with --aug=none"),
    (["--aug=fixed", "--aug-p=0.2", "--target=0.6"], "--target=0.6 has no effect with --aug=fixed"),
    (["--aug=fixed"], "--aug=fixed augments nothing with --aug-p=0; add for example --aug-p=0.2, or give --aug=none"),
    (["--weights-dir=weights"], "--weights-dir=weights has no effect without --metrics; add --metrics=NAMES"),
    (["--degrad-only"], "train_degrad_only is set, must be left out without --mode=qc"),
    (["--set=discriminator.window=12"], "discriminator.window is 12, must be 0, for whole images, or a power of two "),
    (["--set=discriminator.window=8"], "discriminator.window=8 judges images by parts, which tells nothing of the "),
    (["--augpipe=bgx"], "unknown augmentation pipe 'bgx'; did you mean 'bg'? Known: bg, bgc, "),
    (["--set=augment.overrides.xflip=2"], "xflip is 2.0, must be from 0 to 1"),
    (["--aug-p=1.5"], "augment.p is 1.5, must be from 0 to 1"),
    (["--target=5"], "augment.target is 5.0, must be from -1 to 1"),
    (["--freezed=-1"], "discriminator.freeze_layers is -1, must be at least 0"),
    (["--freezed=100"], "discriminator.freeze_layers is 100, must be at most 7"),
    (["--kimg=0"], "kimg is 0.0, must be above 0"),
    (["--kimg=-1"], "kimg is -1.0, must be above 0"),
    (["--kimg=inf"], "run.kimg is inf, must be a finite number"),
    (["--tick=0"], "run.kimg_per_tick is 0.0, must be above 0"),
    (["--snap=0"], "run.snapshot_ticks is 0, must be at least 1"),
    (["--keep-snapshots=0"], "run.keep_snapshots is 0, must be at least 1, or null for all"),
    (["--lr=0"], "optimizer.lr is 0.0, must be above 0"),
    (["--lr=nan"], "optimizer_g.lr is nan, must be a finite number"),
    (["--gamma=-1"], "loss.r1_gamma is -1.0, must be at least 0"),
    (["--seed=-1"], "seed is -1, must be at least 0"),
    (["--count=0"], "data.subset is 0, must be at least 1"),
    (["--count=9"], "a subset of 9 of the 8 images of IMAGES cannot be; choose from 1 to 8"),
    (["--workers=-1"], "workers is -1, must be at least 0"),
    (["--gpus=0"], "gpus is 0, must be at least 1"),
    (["--set=run.rank_timeout=1e300"], "run.rank_timeout is 1e+300, must be above 0 and at most 10,000,000 seconds"),
    (["--device=nonsense"], "unknown device 'nonsense'; try cuda, mps or cpu"),
    (["--device=meta"], "unknown device 'meta'; try cuda, mps or cpu"),
]


@pytest.mark.parametrize(("flags", "beginning"), WRONG, ids=[" ".join(flags) for flags, _ in WRONG])
def test_wrong_flag_is_one_sentence_and_writes_nothing(command, shared, tmp_path, flags, beginning):
    message = sentence(command(*flags))
    assert message.startswith(beginning.replace("IMAGES", str(shared / "images"))), message
    assert list(tmp_path.iterdir()) == []


WRONG_QC = [
    (["--init-from=large.safetensors"], "large.safetensors makes 32x32 images with 3 channels and labels of width 0, "),
    (
        ["--init-from=qc.safetensors", "--whole-head"],
        "qc.safetensors is a QC network already, and only its DegradBlocks can be trained on; add ",
    ),
    (["--init-from=none.safetensors"], "network none.safetensors does not exist; check the path"),
    (["--init-from=truncated.safetensors"], "truncated.safetensors is truncated or no safetensors file; copy or "),
    (["--init-from=images/0.png"], "images/0.png is truncated or no safetensors file; copy or download it again"),
    (["--init-from=base.safetensors", "--set=generator.quality.blocks=9"], "quality.blocks is 9, must be below 3, "),
    (["--init-from=base.safetensors", "--set=generator.quality=null"], "generator.quality is null, must be set in "),
    (["--init-from=base.safetensors", "--set=generator.quality.q_dim=0"], "quality.q_dim is 0, must be at least 1"),
    (["--init-from=base.safetensors", "--degrad-only", "--variant=released"], "train_degrad_only needs DegradBlocks "),
    (
        ["--init-from=base.safetensors", "--degrad-only", "--set=discriminator.window=32"],
        "discriminator.window is 32, must be at most 16, the images' side",
    ),
    (["--init-from=base.safetensors", "--degrad-only", "--ablation=A"], "train_all and train_degrad_only are both set"),
    (
        ["--init-from=base.safetensors", "--set=data.reals=degraded"],
        "--set data.reals=degraded has no effect with --m",
    ),
    (
        ["--init-from=base.safetensors", "--set=generator.quality.injection=concat_w", "--variant=adain"],
        "--variant=adain has no effect with generator.quality.injection=concat_w; leave it out, or change the other",
    ),
    (
        ["--init-from=base.safetensors", "--set=generator.quality.injection=z"],
        "unknown value of generator.quality.injec",
    ),
    (["--init-from=degraded.safetensors"], "degraded.safetensors was trained on degraded images (noise), and a QC net"),
    (["--init-from=base.safetensors", "--degradation=blurr"], "unknown degradation recipe 'blurr'; did you mean 'bl"),
    (["--init-from=base.safetensors", "--cond", "--data=labelled"], "base.safetensors makes 16x16 images with 3 cha"),
]


@pytest.mark.parametrize(("flags", "beginning"), WRONG_QC, ids=[" ".join(flags) for flags, _ in WRONG_QC])
def test_wrong_qc_run_is_one_sentence_and_writes_nothing(command, shared, tmp_path, monkeypatch, flags, beginning):
    monkeypatch.chdir(shared)
    assert sentence(command("--mode=qc", *flags)).startswith(beginning)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_the_paper_is_trained_on_with_pixels(command, tmp_path):
    """Its sharp images stay, and its degraded ones are where training begins; no other variant goes on with it."""
    start = quality_generator("paper")
    network = write_network(tmp_path / "paper.safetensors", start, ("sharp", "degraded"))
    flags = ["--mode=qc", "--degrad-only", f"--init-from={network}"]
    assert "variant: paper -> adain" in sentence(command(*flags, "--variant=adain"))
    assert command(*flags, "--variant=pixels", "--kimg=0.008").exit_code == 0
    [snapshot] = (tmp_path / "run").glob("network-snapshot-*.safetensors")
    grown, header = load_generator(str(snapshot))
    assert header["generator"]["quality"]["variant"] == "pixels"
    z = torch.randn(2, start.z_dim)
    assert torch.equal(grown(z, noise_mode="const"), start(z, noise_mode="const"))
    backwards = ["--mode=qc", "--degrad-only", f"--init-from={snapshot}", "--variant=paper"]
    assert "variant: pixels -> paper" in sentence(command(*backwards, outdir=tmp_path / "other"))


@pytest.mark.parametrize(
    "field,value",
    [
        ("generator.mapping.num_layers", 5),
        ("generator.mapping.lr_multiplier", 0.1),
        ("generator.architecture", "resnet"),
        ("generator.channel_max", 8),
        ("discriminator.channel_max", 8),
    ],
)
@pytest.mark.parametrize("mode", ["base", "qc"])
def test_networks_keep_the_architecture_they_start_from(command, shared, mode, field, value):
    flags = [f"--mode={mode}", f"--init-from={shared / 'base.safetensors'}", f"--set={field}={value}"]
    message = sentence(command(*flags))
    name = field.rsplit(".", 1)[1]
    assert "has another architecture" in message and f"{name}: " in message and f"-> {value}" in message


def test_base_run_from_a_network_of_another_resolution(command, shared):
    message = sentence(command(f"--init-from={shared / 'large.safetensors'}"))
    assert message.startswith(f"{shared / 'large.safetensors'} makes 32x32 images")
    assert "the data has 16x16, 3 and 0; convert the data with dataset_tool.py or choose another network" in message


def test_more_gpus_than_there_are(command, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert sentence(command("--gpus=4", "--device=cuda")) == "--gpus=4 but this machine has 2; use as many or fewer"
    assert sentence(command("--device=cuda:2")) == "--device=cuda:2 is not available here; try --device=cpu"


def test_gpu_that_is_not_there(command, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert sentence(command("--device=cuda")) == "--device=cuda is not available here; try --device=cpu"


@pytest.mark.parametrize(
    "flags", [["--mode=quality"], ["--ablation=Z"], ["--kimg=long"], ["--precision=fp8"], ["--aug=on"], ["--nothing"]]
)
def test_what_click_refuses_ends_with_one_sentence(command, flags):
    result = command(*flags)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == [
        result.stderr.splitlines()[-1]
    ]


# The directory of a run.


def test_outdir_that_cannot_be_written(command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for outdir, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "run", "Not a directory")):
        assert sentence(command(outdir=outdir)) == f"cannot create {outdir}: {reason}; choose another --outdir"
    assert (tmp_path / "file").read_text() == "in the way"
    outdir = tmp_path / os.fsdecode(b"\xff")
    assert sentence(command(outdir=outdir)).endswith(
        "\\udcff is no UTF-8, which TensorBoard needs; choose another --outdir"
    )


@pytest.fixture(scope="module")
def finished_run(shared, tmp_path_factory):
    """Return the files of a run that has taken its one step."""
    outdir = tmp_path_factory.mktemp("finished") / "run"
    result = CliRunner().invoke(train.main, [f"--data={shared / 'images'}", f"--outdir={outdir}", *SHORT])
    assert result.exit_code == 0, result.output
    return {path.name: path.read_bytes() for path in outdir.iterdir()}


@pytest.fixture
def outdir(finished_run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in finished_run.items():
        (folder / name).write_bytes(content)
    return folder


def test_run_leaves_its_configuration_and_whole_files(command, shared, outdir):
    config, _ = resolved(command("--dry-run"))
    assert json.loads((outdir / "config.json").read_text()) == to_dict(config)
    names = {path.name for path in outdir.iterdir()}
    assert {"config.json", "log.txt", "training-state.pt", "network-snapshot-000000.safetensors"} <= names
    assert not [name for name in names if name.endswith(".part")]


def test_another_configuration_is_answered_with_the_differences(command, outdir):
    state = (outdir / "training-state.pt").read_bytes()
    gamma = presets.build("demo", SIDE).loss.r1_gamma
    message = sentence(command("--gamma=3", "--seed=5", "--set=ema.rampup=null"))
    assert message == (
        f"{outdir} holds a run with another configuration "
        f"(ema.rampup: 0.05 -> None; loss.r1_gamma: {gamma} -> 3.0; seed: 0 -> 5); "
        "repeat its command to continue it, or choose another --outdir"
    )
    assert (outdir / "training-state.pt").read_bytes() == state
    assert json.loads((outdir / "config.json").read_text())["seed"] == 0


def test_how_a_run_is_carried_out_may_change(command, outdir):
    result = command("--kimg=0.008", "--snap=7", "--batch-gpu=8")
    assert result.exit_code == 0 and "Nothing to do" in result.stdout
    assert json.loads((outdir / "config.json").read_text())["run"]["snapshot_ticks"] == 7


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"bach": 1}', b'{"batch": "many"}', None]
)
def test_damaged_configuration_of_a_run(command, outdir, content):
    if content is None:
        (outdir / "config.json").unlink()
    else:
        (outdir / "config.json").write_bytes(content)
    message = sentence(command())
    assert message.startswith(f"{outdir / 'config.json'} cannot be read (")
    assert message.endswith("); restore it, or choose another --outdir")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_state_of_a_run(command, outdir, share):
    content = (outdir / "training-state.pt").read_bytes()
    (outdir / "training-state.pt").write_bytes(content[: int(share * len(content))])
    beginning = (
        f"{outdir / 'training-state.pt'} is damaged or no training state; put training-state.pt back from a copy"
    )
    assert sentence(command("--kimg=0.032")).startswith(beginning)


@pytest.mark.parametrize("content", [{"weights": torch.zeros(2)}, {"trainer": 3}, [1]])
def test_state_of_something_else(command, outdir, content):
    torch.save(content, outdir / "training-state.pt")
    beginning = f"{outdir / 'training-state.pt'} is no training state; put training-state.pt back from a copy"
    assert sentence(command()).startswith(beginning)


def test_sentence_reaches_a_real_terminal(tmp_path):
    code, output, errors = finish(start(["train.py", f"--outdir={tmp_path / 'run'}", f"--data={tmp_path / 'none'}"]))
    assert (code, output) == (1, "")
    assert errors == f"Error: image source {tmp_path / 'none'} does not exist; check the path\n"
