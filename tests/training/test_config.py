"""The configuration: to files and back, overridden by name, checked, compared; and the presets' values."""

import dataclasses
import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.config import differences, from_dict, to_dict, with_overrides
from dnnlib.errors import UserError
from networks.config import (
    CrepsConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    MappingConfig,
    PrecisionConfig,
    QualityConfig,
)
from networks.files import ImageFormat, build_discriminator, build_generator
from networks.latents import Latents
from networks.resolutions import channels_at
from training import config as configs
from training import presets
from training.augment.config import PIPES, AugmentPipeConfig
from training.config import TrainConfig, batch_per_process

CLASSES = [value for value in vars(configs).values() if dataclasses.is_dataclass(value)]
QC = presets.as_qc(TrainConfig(), "base.safetensors", TrainConfig().generator)

positive = st.floats(1e-12, 1e12)
unit = st.floats(0, 1)
count = st.integers(1, 4096)
words = st.text(st.characters(codec="utf-8"), max_size=20)


precision = st.builds(
    PrecisionConfig,
    dtype=st.sampled_from(["fp32", "bf16", "fp16"]),
    blocks=st.integers(0, 9),
    conv_clamp=st.none() | positive,
)
quality = st.builds(
    QualityConfig,
    variant=st.sampled_from(["paper", "paper+", "pixels", "released", "adain"]),
    q_dim=count,
    channels=count,
    depth=count,
    blocks=count,
)
generator = st.builds(
    GeneratorConfig,
    z_dim=count,
    architecture=st.sampled_from(["skip", "resnet", "orig"]),
    mapping=st.builds(MappingConfig, num_layers=count, lr_multiplier=positive),
    precision=precision,
)
discriminator = st.builds(DiscriminatorConfig, mbstd_group_size=st.none() | count, precision=precision)
pipe = st.builds(AugmentPipeConfig, xflip=unit, hue=unit, imgfilter_bands=st.tuples(unit, unit, unit, unit))
augment = st.builds(
    configs.AugmentConfig,
    mode=st.sampled_from(["ada", "fixed", "none"]),
    p=unit,
    pipe=st.sampled_from(sorted(PIPES)),
    overrides=st.none() | pipe,
)
data = st.builds(
    configs.DataConfig,
    path=words,
    licence=words,
    mirror=st.booleans(),
    subset=st.none() | count,
    resolution=st.none() | count,
)
optimizer = st.builds(configs.OptimizerConfig, lr=positive, beta1=st.floats(0, 0.999), eps=positive)
loss = st.builds(configs.LossConfig, r1_gamma=positive, pl_weight=positive, style_mixing_prob=unit, pl_interval=count)
run = st.builds(configs.RunConfig, kimg=positive, gpus=count, batch_gpu=st.none() | count, device=st.none() | words)


@st.composite
def train_configs(draw):
    base = draw(
        st.builds(
            TrainConfig,
            batch=count,
            seed=st.integers(0, 2**63),
            generator=generator,
            discriminator=discriminator,
            data=data,
            optimizer_g=optimizer,
            loss=loss,
            augment=augment,
            run=run,
        )
    )
    if not draw(st.booleans()):
        return base
    with_quality = dataclasses.replace(base.generator, quality=draw(quality))
    return dataclasses.replace(
        base, mode="qc", init_from=draw(words), generator=with_quality, train_all=draw(st.booleans())
    )


def sentence(call, *arguments):
    """Return the message of the UserError that a call raises, which is one line."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


@settings(max_examples=20)
@given(train_configs())
def test_config_survives_its_file(config):
    stored = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(TrainConfig, json.loads(stored)) == config
    assert differences(config, from_dict(TrainConfig, json.loads(stored))) == []


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("mode", ["base", "qc"])
def test_preset_survives_its_file(name, mode):
    config = presets.build(name, 256)
    if mode == "qc":
        config = presets.as_qc(config, "base.safetensors", config.generator)
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_fields_left_out_keep_their_defaults():
    assert from_dict(TrainConfig, {}) == TrainConfig()
    assert from_dict(TrainConfig, {"loss": {"r1_gamma": 3}}).loss == configs.LossConfig(r1_gamma=3.0)


def test_a_missing_field_without_default_is_named():
    assert sentence(from_dict, ImageFormat, {"resolution": 16, "channels": 3}) == "field 'c_dim' is missing; add it"


@pytest.mark.parametrize("cls", CLASSES)
def test_configs_are_frozen(cls):
    config, name = cls(), dataclasses.fields(cls)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, getattr(config, name))


OVERRIDES = [
    ("batch", "64", 64),
    ("train_all", "true", True),
    ("data.mirror", "true", True),
    ("loss.r1_gamma", "5", 5.0),
    ("loss.r1_gamma", "2.5e-3", 0.0025),
    ("augment.mode", "none", "none"),
    ("augment.mode", '"none"', "none"),
    ("data.licence", "CC BY-NC 4.0 (a, b = c)", "CC BY-NC 4.0 (a, b = c)"),
    ("data.licence", '"2024"', "2024"),
    ("data.subset", "1000", 1000),
    ("run.device", "cuda", "cuda"),
    ("ema.rampup", "null", None),
    ("ema.rampup", "0.1", 0.1),
    ("discriminator.mbstd_group_size", "null", None),
    ("discriminator.precision.blocks", "0", 0),
    ("generator.precision.dtype", "bf16", "bf16"),
    ("generator.mapping.num_layers", "2", 2),
    ("generator.quality.q_dim", "8", 8),
    ("generator.quality.variant", "adain", "adain"),
    ("optimizer_d.lr", "1", 1.0),
]


def value_at(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize(("path", "text", "value"), OVERRIDES)
def test_override_sets_one_field_of_any_type(path, text, value):
    before = value_at(QC, path)
    after = with_overrides(QC, {path: text})
    assert value_at(after, path) == value and type(value_at(after, path)) is type(value)
    assert differences(QC, after) == [f"{path}: {before} -> {value}"]


def test_override_null_takes_a_value_away():
    config = with_overrides(QC, {"run.batch_gpu": "4", "data.subset": "7"})
    config = with_overrides(config, {"run.batch_gpu": "null", "data.subset": "null"})
    assert config == QC


def test_override_within_a_group_that_is_left_out():
    config = with_overrides(TrainConfig(), {"augment.overrides.xflip": "0.5"})
    assert config.augment.overrides == AugmentPipeConfig(xflip=0.5)
    config = with_overrides(config, {"augment.overrides.imgfilter_bands": "[1, 0, 0.5, 0]"})
    assert config.augment.overrides == AugmentPipeConfig(xflip=0.5, imgfilter_bands=(1.0, 0.0, 0.5, 0.0))
    assert with_overrides(config, {"augment.overrides": "null"}) == TrainConfig()
    plain = GeneratorConfig()
    assert with_overrides(plain, {"quality.q_dim": "4"}).quality == QualityConfig(q_dim=4)


def test_overrides_leave_the_original_alone():
    before = to_dict(QC)
    with_overrides(QC, {path: text for path, text, _ in OVERRIDES})
    assert to_dict(QC) == before


def nearest(path, known):
    """Return a refusal of an unknown field, which names the nearest known one."""
    return {path: "1"}, f"^unknown field '.*did you mean '{known}'\\? Known: "


GROUP = "must be a group of fields; set one of them: "
REFUSALS = [
    nearest("loss.r1_gama", "loss.r1_gamma"),
    nearest("bach", "batch"),
    nearest("generater.z_dim", "generator"),
    nearest("generator.qualty.q_dim", "generator.quality"),
    nearest("generator.quality.qdim", "generator.quality.q_dim"),
    nearest("augment.overrides.xflp", "augment.overrides.xflip"),
    nearest("run.kimgs", "run.kimg"),
    *[({path: "1"}, "field '") for path in ("", ".", "a..b", ".batch", "batch.")],
    ({"batch": "many"}, "^batch is 'many', must be of type int"),
    ({"batch": "1.5"}, "^batch is 1.5, must be of type int"),
    ({"batch": "true"}, "^batch is True, must be of type int"),
    ({"batch": "null"}, "^batch is None, must be of type int"),
    ({"data.mirror": "1"}, "^data.mirror is 1, must be of type bool"),
    ({"data.mirror": "yes"}, "^data.mirror is 'yes', must be of type bool"),
    ({"data.licence": "7"}, "^data.licence is 7, must be of type str"),
    ({"loss.r1_gamma": "strong"}, "^loss.r1_gamma is 'strong', must be of type float"),
    ({"loss.r1_gamma": "[1]"}, r"^loss.r1_gamma is \[1\], must be of type float"),
    ({"loss.r1_gamma": "false"}, "^loss.r1_gamma is False, must be of type float"),
    ({"loss.r1_gamma": "NaN"}, "^loss.r1_gamma is nan, must be a finite number"),
    ({"run.kimg": "Infinity"}, "^run.kimg is inf, must be a finite number"),
    ({"run.kimg": "1e999"}, "^run.kimg is inf, must be a finite number"),
    (
        {"augment.mode": "adda"},
        r"^unknown value of augment.mode 'adda'; did you mean 'ada'\? Known: ada, fixed, none",
    ),
    ({"augment.mode": "[1]"}, r"^unknown value of augment.mode '\[1\]'; known: ada, fixed, none"),
    ({"augment.pipe": "bgx"}, r"^unknown augmentation pipe 'bgx'; did you mean 'bg'\? Known: "),
    ({"loss": "3"}, f"^loss is 3, {GROUP}--set loss.name=value"),
    ({"loss": "3", "loss.r1_gamma": "1"}, f"^loss is 3, {GROUP}"),
    ({"generator.quality": "paper"}, f"^generator.quality is 'paper', {GROUP}"),
    ({"loss.r1_gamma.x": "3"}, "^field 'loss.r1_gamma' has no fields of its own; set it directly: --set loss."),
    ({"augment.overrides.imgfilter_bands": "3"}, "^augment.overrides.imgfilter_bands is 3, must be a list such as "),
    ({"augment.overrides.imgfilter_bands": "[1, 2]"}, r"^imgfilter_bands is \(1.0, 2.0\), must be four numbers"),
    ({"mode": "base"}, "left out without --mode=qc"),
    ({"generator.quality": "null"}, "generator.quality"),
    ({"init_from": "null"}, "init_from"),
]


@pytest.mark.parametrize(("overrides", "words"), REFUSALS)
def test_refusals(overrides, words):
    assert re.search(words, sentence(with_overrides, QC, overrides))


BOUNDS = {
    "at least 1": """batch generator.z_dim generator.w_dim generator.channel_base generator.channel_max
        generator.mapping.num_layers generator.quality.q_dim generator.quality.channels generator.quality.depth
        generator.quality.blocks discriminator.channel_base discriminator.channel_max discriminator.mapping_layers
        discriminator.mbstd_group_size data.subset loss.r1_interval loss.pl_interval loss.pl_batch_shrink
        augment.interval run.snapshot_ticks run.image_ticks run.state_ticks run.keep_snapshots run.gpus""",
    "at least 0": """seed generator.precision.blocks discriminator.mbstd_channels discriminator.freeze_layers
        loss.r1_gamma loss.pl_weight loss.distill_weight ema.kimg run.workers""",
    "above 0": """generator.precision.conv_clamp generator.mapping.lr_multiplier optimizer_g.lr optimizer_d.lr
        optimizer_g.eps augment.kimg ema.rampup run.kimg run.kimg_per_tick""",
    "from 0 to 1": "augment.p loss.style_mixing_prob loss.pl_decay augment.overrides.xflip",
    "from -1 to 1": "augment.target",
    "from 0 to below 1": "generator.mapping.w_avg_beta optimizer_g.beta1 optimizer_d.beta2",
}
OUTSIDE = {
    "at least 1": ("0", "-3"),
    "at least 0": ("-1",),
    "above 0": ("0", "-1"),
    "from 0 to 1": ("-0.5", "1.5"),
    "from -1 to 1": ("-2", "1.5"),
    "from 0 to below 1": ("-0.5", "1"),
}
AT_BOUND = {
    "at least 1": ("1",),
    "at least 0": ("0",),
    "above 0": ("1e-9",),
    "from 0 to 1": ("0", "1"),
    "from -1 to 1": ("-1", "1"),
    "from 0 to below 1": ("0", "0.999"),
}


@pytest.mark.parametrize(
    ("path", "bound"), [(path, bound) for bound, paths in BOUNDS.items() for path in paths.split()]
)
def test_value_out_of_bounds_is_a_sentence_with_the_bound(path, bound):
    for text in OUTSIDE[bound]:
        message = sentence(with_overrides, QC, {path: text})
        assert path.rpartition(".")[2] in message
        assert re.search(rf" is {re.escape(text)}(\.0)?, must be {bound}", message), message
    for text in AT_BOUND[bound]:
        with_overrides(QC, {path: text})


@given(st.lists(st.sampled_from(OVERRIDES), unique_by=lambda override: override[0]))
def test_differences_are_exactly_the_changed_fields(overrides):
    changed = with_overrides(QC, {path: text for path, text, _ in overrides})
    expected = {path: (value_at(QC, path), value) for path, _, value in overrides}
    lines = [f"{path}: {old} -> {new}" for path, (old, new) in sorted(expected.items()) if old != new]
    assert differences(QC, changed) == lines
    assert len(differences(changed, QC)) == len(lines)


def test_differences_show_a_group_that_comes_and_goes():
    plain = GeneratorConfig()
    quality = dataclasses.replace(plain, quality=QualityConfig())
    assert differences(plain, quality) == [
        "quality.blocks: None -> 2",
        "quality.depth: None -> 3",
        "quality.injection: None -> degrad_block",
        "quality.q_dim: None -> 16",
        "quality.variant: None -> paper",
    ]
    assert "quality.blocks: 2 -> None" in differences(quality, plain)


def test_what_a_continuation_may_change():
    changes = {"run.kimg": "7", "run.gpus": "2", "run.batch_gpu": "4", "run.workers": "0", "run.device": "cpu"}
    assert configs.defining(with_overrides(QC, changes)) == configs.defining(QC)
    for path in ("batch", "seed", "loss.r1_gamma", "augment.kimg", "ema.kimg"):
        assert configs.defining(with_overrides(QC, {path: "7"})) != configs.defining(QC)


def batches(batch, batch_gpu, group):
    run, discriminator = configs.RunConfig(batch_gpu=batch_gpu), DiscriminatorConfig(mbstd_group_size=group)
    return TrainConfig(batch=batch, run=run, discriminator=discriminator)


@pytest.mark.parametrize(
    ("config", "processes", "message"),
    [
        (TrainConfig(batch=30), 4, "--batch 30 is not divisible by 4 GPUs; try 28 or 32"),
        (TrainConfig(batch=33), 8, "--batch 33 is not divisible by 8 GPUs; try 32 or 40"),
        (TrainConfig(batch=2), 4, "--batch 2 is not divisible by 4 GPUs; try 4"),
        (batches(16, 5, 4), 1, "--batch-gpu 5 does not divide the 16 images of each GPU; try 1 or 2 or 4 or 8 or 16"),
        (batches(16, 0, 4), 2, "--batch-gpu 0 does not divide the 8 images of each GPU; try 1 or 2 or 4 or 8"),
        (
            batches(16, None, 3),
            1,
            "16 images at once are not divisible by discriminator.mbstd_group_size 3; "
            "try --set discriminator.mbstd_group_size=2",
        ),
    ],
)
def test_batches_that_do_not_divide(config, processes, message):
    assert sentence(batch_per_process, config, processes) == message


@given(
    st.integers(1, 200), st.integers(1, 9), st.none() | st.integers(-2, 64), st.none() | st.integers(1, 40), st.data()
)
def test_batch_divides_or_the_cure_does(batch, processes, batch_gpu, group, data):
    """Whoever follows the advice gets through, after at most one more advice of another kind."""
    for _ in range(4):
        try:
            share, at_once = batch_per_process(batches(batch, batch_gpu, group), processes)
            break
        except UserError as error:
            what, cure = str(error).rsplit("try ", 1)
        if "mbstd_group_size" in cure:
            group = int(cure.rpartition("=")[2])
            continue
        chosen = data.draw(st.sampled_from([int(number) for number in cure.split(" or ")]))
        batch, batch_gpu = (chosen, batch_gpu) if what.startswith("--batch ") else (batch, chosen)
    assert share * processes == batch and share % at_once == 0
    assert group is None or at_once % min(group, at_once) == 0


@pytest.mark.parametrize(
    ("name", "channel_base", "gamma"),
    [("paper256", 16384, 1.0), ("paper512", 32768, 0.5), ("church256", 32768, 100.0)],
)
def test_presets_of_the_paper(name, channel_base, gamma):
    """Table 1 of the supplement, and its section B."""
    resolution = int(name[-3:])
    config = presets.build(name, resolution, mode="qc")
    assert (config.batch, config.discriminator.mbstd_group_size, config.run.kimg) == (64, 8, 5000)
    assert batch_per_process(config, 8) == (8, 8)  # 8 GPUs
    assert batch_per_process(presets.build(name, resolution), 1) == (64, 8)  # one GPU takes as many at once
    base = presets.build(name, resolution)
    assert differences(base, config) == ["run.kimg: 25000.0 -> 5000.0"]  # StyleGAN2-ADA's length
    assert (config.generator.channel_base, config.discriminator.channel_base) == (channel_base, channel_base)
    assert (config.generator.channel_max, config.discriminator.channel_max) == (512, 512)
    full = {256: 128, 512: 64}[resolution]  # feature maps at the image's resolution, "1x"
    share = 0.5 if name == "paper256" else 1
    assert channels_at(resolution, config.generator.channel_base, config.generator.channel_max) == full * share
    for optimizer in (config.optimizer_g, config.optimizer_d):
        assert optimizer == configs.OptimizerConfig(lr=2.5e-3, beta1=0.0, beta2=0.99, eps=1e-8)
    assert config.loss.r1_gamma == gamma
    for precision in (config.generator.precision, config.discriminator.precision):
        assert precision.dtype == "fp16" and precision.blocks > 0
    assert config.generator.mapping.num_layers == 8
    assert config.loss.style_mixing_prob > 0 and config.loss.pl_weight > 0
    assert config.discriminator.architecture == "resnet"
    qc = presets.as_qc(config, "base.safetensors", config.generator)
    assert (qc.loss.distill_weight, qc.train_all) == (3.0, False)
    assert qc.generator.quality == QualityConfig(variant="paper", q_dim=16, depth=3, blocks=2)
    assert qc.generator.quality.width == 32


@pytest.mark.parametrize(
    ("batch", "processes", "at_once"), [(60, 1, 6), (14, 2, 7), (22, 2, 1), (4, 1, 4), (4, 8, None)]
)
def test_presets_of_the_paper_divide_any_batch(batch, processes, at_once):
    """What one GPU handles at once divides its share; where there are fewer images than GPUs, that is what is said."""
    config = presets.build("paper512", 512, batch, processes)
    assert config.run.batch_gpu == at_once
    if at_once is not None:
        assert batch_per_process(config, processes) == (batch // processes, at_once)


def test_cifar_has_the_adam_of_lazy_path_lengths():
    """StyleGAN2-ADA's cifar: 100,000 kimg, and the ratio 4/5 although the weight of path lengths is zero."""
    config = presets.build("cifar", 32)
    assert config.run.kimg == 100_000 and config.loss.pl_weight == 0
    assert (config.optimizer_g.lr, config.optimizer_g.beta2) == pytest.approx((0.002, 0.99**0.8))
    assert (config.optimizer_d.lr, config.optimizer_d.beta2) == (0.0025, 0.99)


def test_a_preset_for_another_size_is_said():
    assert set(presets.RESOLUTIONS) == set(presets.PRESETS) - {"auto", "demo"}
    assert presets.unsuitable("paper256", 256) is None and presets.unsuitable("auto", 64) is None
    assert presets.unsuitable("cifar", 64).startswith("--preset=cifar is for images of 32x32 and the data has 64x64")


@pytest.mark.parametrize(("resolution", "batch", "gamma"), [(128, 128, 0.5), (512, 32, 10.0), (1024, 8, 32.0)])
def test_presets_of_creps(resolution, batch, gamma):
    """Section 1.3 of the CREPS supplement, and the widths of its section 1.1."""
    config = presets.build(f"creps{resolution}", resolution)
    assert (config.batch, config.loss.r1_gamma, config.ema.kimg) == (batch, gamma, batch * 10 / 32)
    assert (config.generator.kind, config.generator.creps) == ("creps", CrepsConfig())
    assert (config.generator.channel_base, config.generator.channel_max) == (65536, 1024)
    assert (config.discriminator.channel_base, config.discriminator.channel_max) == (32768, 512)
    assert (config.loss.style_mixing_prob, config.loss.pl_weight, config.loss.pl_interval) == (0, 2, 4)
    assert config.generator.mapping == MappingConfig(w_avg_beta=0.998)
    assert config.optimizer_g.lr == config.optimizer_d.lr == 0.002
    assert presets.as_creps(config) == config
    assert presets.build(f"creps{resolution}", resolution, 64).ema.kimg == 20


ABLATIONS = {
    "A": {"loss.distill_weight: 3.0 -> 0.0", "train_all: False -> True"},
    "B": {"loss.distill_weight: 3.0 -> 0.0"},
    "C": {"generator.quality.blocks: 2 -> 1"},
    "D": {"generator.quality.depth: 3 -> 5"},
    "E": {"generator.quality.q_dim: 16 -> 8", "generator.quality.channels: None -> 64"},
    "F": {"generator.quality.variant: paper -> adain"},
}


@pytest.mark.parametrize("name", ["paper256", "demo"])
def test_ablations_change_what_table_4_says_and_nothing_else(name):
    config = presets.build(name, 256)
    config = presets.as_qc(config, "base.safetensors", config.generator)
    found = {letter: set(differences(config, change(config))) for letter, change in presets.ABLATIONS.items()}
    assert found == ABLATIONS


def test_qc_takes_the_architecture_of_its_base_network():
    config = presets.build("paper256", 256)
    base = GeneratorConfig(z_dim=64, channel_base=8192, precision=PrecisionConfig(dtype="fp32"))
    qc = presets.as_qc(config, "base.safetensors", base)
    assert dataclasses.replace(qc.generator, quality=None, precision=base.precision) == base
    assert qc.generator.precision == config.generator.precision


def degraded(G, ws, q):
    """G(w, q), without the look at q's numbers that a call of the whole network takes."""
    noise = G.synthesis.make_noise("random", len(ws))
    return G.synthesis.image(G.synthesis.content(Latents(ws), noise), q)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("auto", 64),
        ("auto", 256),
        ("auto", 1024),
        ("paper256", 256),
        ("paper512", 512),
        ("church256", 256),
        ("stylegan2", 1024),
        ("cifar", 32),
        ("creps128", 128),
        ("creps512", 512),
        ("creps1024", 1024),
        ("demo", 64),
    ],
)
def test_preset_builds_and_runs_at_its_resolution(name, resolution):
    config = presets.build(name, resolution)
    share = batch_per_process(config, 1)[0]
    qc = presets.as_qc(config, "base.safetensors", config.generator)
    images = ImageFormat(resolution, channels=3, c_dim=0)
    with torch.device("meta"):  # shapes without numbers
        z, q = torch.randn(share, config.generator.z_dim), torch.randn(share, qc.generator.quality.q_dim)
        D = build_discriminator(config.discriminator, images)
        for generator in (config.generator, qc.generator):
            G = build_generator(generator, images)
            fakes = G(z) if generator.quality is None else degraded(G, G.mapping(z, None), q)
            assert fakes.shape == (share, 3, resolution, resolution)
        assert D(fakes).shape == (share, 1)


def test_every_preset_is_built_above():
    marks = test_preset_builds_and_runs_at_its_resolution.pytestmark[0].args[1]
    assert {name for name, _ in marks} == set(presets.PRESETS)


@pytest.mark.parametrize(
    ("name", "nearest"), [("papr256", "paper256"), ("stylegan", "stylegan2"), ("cifar10", "cifar"), ("Demo", "demo")]
)
def test_unknown_preset_is_answered_with_the_nearest(name, nearest):
    message = sentence(presets.build, name, 256)
    assert message.startswith(f"unknown preset '{name}'; did you mean '{nearest}'? Known: auto, church256, ")


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("batch", [0, -8])
def test_impossible_batch_is_named_by_every_preset(name, batch):
    assert sentence(presets.build, name, 64, batch) == f"batch is {batch}, must be at least 1"


@settings(max_examples=30)
@given(st.integers(3, 10).map(lambda power: 2**power), st.none() | st.integers(1, 256))
def test_auto_grows_gamma_with_the_area_and_shrinks_it_with_the_batch(resolution, batch):
    config = presets.build("auto", resolution, batch)
    assert config.batch == batch or batch is None
    assert math.isclose(config.loss.r1_gamma * config.batch, 0.0002 * resolution**2)
