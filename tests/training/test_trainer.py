"""A training step: what moves and what must not, and that every gradient is the paper's."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from images.datasets.batches import TrainingBatches
from networks.discriminator import Discriminator
from networks.files import load_discriminator, load_generator, save_network, with_precision
from networks.latents import Latents
from tests.support.networks import small_generator
from tests.support.runs import (
    changed,
    first_round,
    new_trainer,
    run_here,
    snapshot,
    tiny_config,
    train,
    wake,
)
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import read_header
from torch_utils.purposes import TrainingPurpose
from torch_utils.seeding import BatchRandom
from training import losses, presets
from training.augment.config import PIPES
from training.config import EmaConfig
from training.loop import open_dataset
from training.optimization.ema import ema_decay, update_ema

MODES = ["base", "qc"]


def outside_the_head(G, name):
    return name.split(".")[1] not in {f"b{G.synthesis.block(index).resolution}" for index in G.synthesis.head}


@pytest.mark.parametrize("blocks", [1, 2])
def test_frozen_means_frozen(config, blocks):
    """Four steps with path lengths and R1 leave mapping, trunk and teacher as they are, and move the last M blocks."""
    trainer = new_trainer(config(generator={"quality": {"blocks": blocks}}))
    names = ("G", "G_ema", "teacher")
    before = {name: snapshot(getattr(trainer, name)) for name in names}
    train(trainer, 4)
    moved = {name: changed(before[name], snapshot(getattr(trainer, name))) for name in names}
    assert moved["teacher"] == set()
    for name in ("G", "G_ema"):
        G = getattr(trainer, name)
        assert not {parameter for parameter in moved[name] if outside_the_head(G, parameter.lstrip("."))}
        head = {f".{p}" for p, _ in G.named_parameters() if not outside_the_head(G, p)}
        assert head == moved[name], "every weight of the last M blocks moves, and no buffer"
        assert len(G.synthesis.head) == blocks


def test_teacher_is_the_base_network(config, run_files):
    base, _ = load_generator(run_files[1])
    assert not changed(snapshot(base), snapshot(train(new_trainer(config()), 1).teacher))


def test_ablation_a_trains_the_trunk(config):
    trainer = new_trainer(presets.ABLATIONS["A"](config()))
    assert trainer.teacher is None
    before = snapshot(trainer.G)
    moved = changed(before, snapshot(train(trainer, 4).G))
    assert {f".{name}" for name, _ in trainer.G.named_parameters()} | {".mapping.w_avg"} == moved


@pytest.mark.parametrize("mode", MODES)
def test_freeze_d(config, mode):
    trainer = new_trainer(config(mode, discriminator={"freeze_layers": 3}))
    before = [snapshot(stream.D) for stream in trainer.streams]
    train(trainer, 4)
    frozen = ("b16.fromrgb", "b16.conv0", "b16.conv1")
    for stream, state in zip(trainer.streams, before, strict=True):
        expected = {f".{name}" for name, _ in stream.D.named_parameters() if not name.startswith(frozen)}
        assert changed(state, snapshot(stream.D)) == expected


def test_a_discriminators_grid_starts_at_the_base_networks_discriminator(config, run_files):
    """The grid of a new discriminator is zero, then learns; logits of a base network's discriminator stay."""
    trainer = new_trainer(config(discriminator={"grid": 8}))
    images = torch.randn(4, 3, 16, 16)
    for stream in trainer.streams:
        assert torch.equal(stream.D(images), load_discriminator(run_files[1], "sharp")(images))
    D = train(trainer, 1).streams[1].D
    assert D.b16.grid.abs().amax((1, 2)).min() > 0


@pytest.mark.parametrize("grid", [0, 8])
def test_degraded_images_may_be_judged_by_windows(config, run_files, grid, monkeypatch):
    """D sees nothing else, and drives the DegradBlocks; it begins as the first block of the base network's."""
    seen = []
    forward = Discriminator.forward
    monkeypatch.setattr(
        Discriminator, "forward", lambda D, img, *rest: seen.append(img.shape) or forward(D, img, *rest)
    )
    trainer = new_trainer(config(train_degrad_only=True, discriminator={"grid": grid, "window": 8}))
    (stream,) = trainer.streams
    assert stream.D.block_resolutions == [16] and trainer.G.img_resolution == 16
    base = dict(load_discriminator(run_files[1], "sharp").named_parameters())
    own = {name: value for name, value in stream.D.named_parameters() if not name.endswith("grid")}
    assert all(torch.equal(value, base[name]) for name, value in own.items())
    before = snapshot(trainer.G)
    moved = changed(before, snapshot(train(trainer, 2).G))
    assert moved and all(".degrade." in name for name in moved)
    assert {tuple(shape[1:]) for shape in seen} == {(3, 8, 8)}


def test_degraded_images_have_their_own_pipe(config):
    trainer = new_trainer(config(augment={"mode": "fixed", "p": 0.5, "pipe_degraded": "pc"}))
    assert [stream.augment.config for stream in trainer.streams] == [PIPES["bgc"], PIPES["pc"]]


def test_training_starts_at_the_base_network(config, run_files):
    """The images of q = 0 are the file's bit for bit, so are the features, and the distillation loss is zero."""
    trainer = new_trainer(config())
    base, _ = load_generator(run_files[1])
    z = torch.randn(4, 16)
    expected = base(z, noise_mode="const")
    for G in (trainer.G, trainer.G_ema):
        assert torch.equal(G(z, q=torch.zeros(4, 4), noise_mode="const"), expected)
        assert torch.equal(G(z, noise_mode="const"), expected)
    synthesis, ws = trainer.G.synthesis, base.mapping(z, None)
    noise = synthesis.make_noise("random", 4)
    content = synthesis.content(Latents(ws), noise)
    teacher_features = trainer._teacher_features(trainer.teacher_passes, content)
    for student, teacher in zip(synthesis.features(content), teacher_features, strict=True):
        assert torch.equal(student, teacher)
    trainer.train_generator([first_round(trainer)])
    assert trainer.statistics.read()["Loss/G/distillation"] == 0


class Draws:
    """The random numbers of the generator's phases, drawn again in their order."""

    def __init__(self, trainer, purpose, rows=slice(None)):
        config, G = trainer.config, trainer.G
        rng = BatchRandom((config.seed, trainer.images_seen, purpose, 0), config.batch, rows)
        z, other = rng.randn(G.z_dim), rng.randn(G.z_dim)
        cutoff, mixed = rng.randint(1, G.num_ws, 1), rng.rand(1) < config.loss.style_mixing_prob
        self.ws = torch.stack(
            [
                torch.stack([(w2 if mix and layer >= cut else w1)[layer] for layer in range(G.num_ws)])
                for w1, w2, cut, mix in zip(G.mapping(z, None), G.mapping(other, None), cutoff, mixed, strict=True)
            ]
        )
        sizes = [4, 8, 8, 16, 16]
        flat = [rng.randn(1, size, size) for size in sizes]
        self.noise = [flat[:1], flat[1:3], flat[3:]]
        self.q = rng.randn(G.q_dim) if config.mode == "qc" else None
        self.rng = rng


def features_of(G, draws):
    """Return the outputs of the last two blocks on the way to the sharp image, from a plain forward call."""
    features = []
    hooks = [
        G.synthesis.block(index).register_forward_hook(lambda _, __, output: features.append(output[0]))
        for index in (-2, -1)
    ]
    G.synthesis(draws.ws, noise=draws.noise)
    for hook in hooks:
        hook.remove()
    return features


def assert_gradients(network, loss, rtol=1e-4):
    """Assert that a phase has left the gradients of `loss`, to be had once more from the same weights."""
    parameters = network.trainable_parameters()
    actual = {name: parameter.grad for name, parameter in parameters.items()}
    expected = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in expected)
    for name, gradient in zip(parameters, expected, strict=True):
        if gradient is None:
            assert actual[name] is None, name
        else:
            assert_close(actual[name], gradient, rtol, what=name)


def without_step(optimizer, monkeypatch):
    monkeypatch.setattr(optimizer, "step", lambda: None)


@pytest.mark.parametrize("norm", ["relative", "elements", "sum"])
def test_the_distance_of_eq_11_has_its_unit(norm):
    x0, x = torch.randn(2, 3, 5, 4, 4), torch.randn(2, 3, 5, 4, 4)
    teacher, student = list(x0), list(x)
    mean = (x - x0).square().mean((2, 3, 4))  # [blocks, images]
    power = x0.square().mean((2, 3, 4))
    expected = {"relative": mean / power, "elements": mean, "sum": mean * 5 * 4 * 4}[norm].mean(1).sum()
    assert_close(losses.distillation_loss(teacher, student, norm), expected)


def test_relative_distance_knows_no_scale_and_no_resolution():
    teacher, student = [torch.randn(3, 5, 4, 4)], [torch.randn(3, 5, 4, 4)]
    distance = losses.distillation_loss(teacher, student, "relative")
    assert_close(losses.distillation_loss([1e-3 * teacher[0]], [1e-3 * student[0]], "relative"), distance)
    enlarged = [features.repeat_interleave(2, 2).repeat_interleave(2, 3) for features in (*teacher, *student)]
    assert_close(losses.distillation_loss(enlarged[:1], enlarged[1:], "relative"), distance)
    nothing = [torch.zeros(3, 5, 4, 4)]
    assert losses.distillation_loss(nothing, nothing, "relative") == 0


@pytest.mark.parametrize("train_all", [False, True])
def test_generator_gradient_is_the_papers(config, monkeypatch, train_all):
    """-log sigmoid(D_s(G(w, 0))) - log sigmoid(D_d(G(w, q))) + lambda_KD times Eq. 11, each term from its own pass."""
    trainer = wake(new_trainer(config(augment={"mode": "none"}, train_all=train_all)))
    without_step(trainer.optimizer_g, monkeypatch)
    trainer.train_generator([first_round(trainer)])
    draws = Draws(trainer, TrainingPurpose.GENERATOR)
    sharp, degraded = (stream.D for stream in trainer.streams)
    G, teacher = trainer.G, trainer.teacher
    loss = -torch.sigmoid(sharp(G.synthesis(draws.ws, noise=draws.noise))).log().mean()
    loss = loss - torch.sigmoid(degraded(G.synthesis(draws.ws, draws.q, noise=draws.noise))).log().mean()
    with torch.no_grad():
        targets = features_of(teacher, draws)
    pairs = zip(targets, features_of(G, draws), strict=True)
    power = (1, 2, 3)
    distillation = sum(((x0 - x).square().mean(power) / x0.square().mean(power)).mean() for x0, x in pairs)
    assert distillation > 0.01, "the student has moved"
    assert_gradients(G, loss + 3.0 * distillation)


def test_generator_gradient_in_base_mode(config, monkeypatch):
    trainer = new_trainer(config("base", augment={"mode": "none"}))
    without_step(trainer.optimizer_g, monkeypatch)
    trainer.train_generator([first_round(trainer)])
    draws = Draws(trainer, TrainingPurpose.GENERATOR)
    logits = trainer.streams[0].D(trainer.G.synthesis(draws.ws, noise=draws.noise))
    assert_gradients(trainer.G, F.softplus(-logits).mean())


def test_discriminators_gradients(config, monkeypatch):
    """Each discriminator sees its own reals and its own fakes of one content."""
    trainer = wake(new_trainer(config(augment={"mode": "none"})))
    round_ = first_round(trainer)
    draws = Draws(trainer, TrainingPurpose.FAKES)
    fakes = trainer.make_fakes(round_)
    for stream, q in zip(trainer.streams, (None, draws.q), strict=True):
        images = trainer.G.synthesis(draws.ws, q, noise=draws.noise).detach()
        assert_close(fakes[stream.name], images)
        without_step(stream.optimizer, monkeypatch)
        trainer.train_discriminator(stream, [round_], [fakes])
        real, fake = stream.D(round_.reals[stream.name]), stream.D(images)
        assert_gradients(stream.D, -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean())


@pytest.mark.parametrize("mode", MODES)
def test_r1_gradient(config, monkeypatch, mode):
    """gamma / 2 E |grad D(x)|^2, times the interval at which it is taken."""
    loss = {"r1_gamma": 0.7, "r1_interval": 5}
    trainer = new_trainer(config(mode, augment={"mode": "none"}, loss=loss, discriminator={"mbstd_group_size": 1}))
    round_ = first_round(trainer)
    for stream in trainer.streams:
        without_step(stream.optimizer, monkeypatch)
        trainer.regularize_discriminator(stream, [round_])
        norms = []
        for image in round_.reals[stream.name]:
            image = image[None].requires_grad_()
            [gradient] = torch.autograd.grad(stream.D(image), image, torch.ones(1, 1), create_graph=True)
            norms.append((gradient**2).sum())
        assert_gradients(stream.D, 0.7 / 2 * 5 * sum(norms) / len(norms))


@pytest.mark.parametrize("mode", MODES)
def test_path_length_gradient(config, monkeypatch, mode):
    """(|J^T y| - a)^2 over every second image, times weight and interval; each mode has its own running mean a."""
    trainer = new_trainer(config(mode, loss={"pl_weight": 1.5, "pl_interval": 3, "pl_decay": 0.25}))
    if mode == "qc":
        wake(trainer)
    for value, stream in enumerate(trainer.streams, start=2):
        stream.pl_mean.fill_(value)
    without_step(trainer.optimizer_g, monkeypatch)
    trainer.regularize_generator([first_round(trainer)])
    draws = Draws(trainer, TrainingPurpose.PATH_LENGTH, slice(0, 8, 2))
    loss = 0
    for value, (stream, q) in enumerate(zip(trainer.streams, (None, draws.q), strict=False), start=2):
        y = draws.rng.randn(3, 16, 16) / math.sqrt(16 * 16)
        lengths = []
        for image in range(4):
            noise = [[layer[image : image + 1] for layer in block] for block in draws.noise]
            ws = draws.ws[image : image + 1]
            ws = ws if ws.requires_grad else ws.requires_grad_()
            code = {} if q is None else {"q": q[image : image + 1]}
            img = trainer.G.synthesis(ws, noise=noise, **code)
            [gradient] = torch.autograd.grad(img, ws, y[image : image + 1], create_graph=True)
            lengths.append((gradient[0] ** 2).sum(1).mean().sqrt())
        lengths = torch.stack(lengths)
        loss = loss + 1.5 * 3 * ((lengths - value) ** 2).mean()
        assert_close(stream.pl_mean, 0.75 * value + 0.25 * lengths.mean(), what=stream.name)
    assert_gradients(trainer.G, loss, rtol=1e-3)


@pytest.mark.parametrize(("pl_weight", "r1_gamma"), [(2.0, 1.0), (0.0, 0.0)])
def test_lazy_regularisation_slows_adam_down(config, pl_weight, r1_gamma):
    """With k + 1 steps in an interval of k: lr k/(k+1), beta^(k/(k+1)) (StyleGAN2, appendix B); else as configured."""
    loss = {"pl_interval": 4, "r1_interval": 16, "pl_weight": pl_weight, "r1_gamma": r1_gamma}
    trainer = new_trainer(config(loss=loss, optimizer_g={"beta1": 0.5}, optimizer_d={"lr": 0.002}))
    g, d = (4 / 5, 16 / 17) if pl_weight else (1, 1)
    [group_g], [group_d] = trainer.optimizer_g.param_groups, trainer.streams[1].optimizer.param_groups
    assert (group_g["lr"], *group_g["betas"]) == pytest.approx((0.0025 * g, 0.5**g, 0.99**g))
    assert (group_d["lr"], *group_d["betas"]) == pytest.approx((0.002 * d, 0, 0.99**d))
    count = sum(p.numel() for p in trainer.G.trainable_parameters().values())
    assert sum(p.numel() for p in group_g["params"]) == count


def test_phases_come_at_their_intervals(config, monkeypatch):
    trainer = new_trainer(config(loss={"pl_interval": 2, "r1_interval": 3}))
    taken = []
    for name in ("regularize_generator", "regularize_discriminator"):
        method = getattr(trainer, name)

        def noted(*arguments, name=name, method=method):
            taken.append((trainer.steps, name))
            method(*arguments)

        monkeypatch.setattr(trainer, name, noted)
    train(trainer, 5)
    expected = [(step, "regularize_generator") for step in (0, 2, 4)]
    expected += [(step, "regularize_discriminator") for step in (0, 0, 3, 3)]
    assert sorted(taken) == sorted(expected)
    assert (trainer.steps, trainer.images_seen) == (5, 40)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_style_mixing(config, probability):
    """Layers before the cutoff share one w, those from there on share another."""
    trainer = new_trainer(config(batch=64, loss={"style_mixing_prob": probability}))
    ws = trainer._sample_ws(BatchRandom((3,), 64), torch.zeros(64, 0))
    G = trainer.G
    first = G.mapping(BatchRandom((3,), 64).randn(16), None)
    cutoffs = []
    for w, plain in zip(ws, first, strict=True):
        assert torch.equal(w[0], plain[0])
        same = [torch.equal(layer, w[0]) for layer in w]
        cutoff = same.index(False) if False in same else G.num_ws
        assert all(torch.equal(layer, w[-1]) for layer in w[cutoff:])
        cutoffs.append(cutoff)
    mixed = [cutoff for cutoff in cutoffs if cutoff < G.num_ws]
    assert len(mixed) / 64 == pytest.approx(probability, abs=0.2)
    assert set(mixed) == (set(range(1, G.num_ws)) if mixed else set())


@given(kimg=st.floats(0.1, 100), steps=st.integers(1, 64))
def test_ema_has_the_half_life_it_is_given(kimg, steps):
    """After kimg * 1000 images half of an average is left, in however many steps they came."""
    batch = kimg * 1000 / steps
    assert ema_decay(EmaConfig(kimg, rampup=None), batch, 0) ** steps == pytest.approx(0.5)


@given(images_seen=st.integers(1, 10**7))
def test_ema_ramps_up(images_seen):
    decay = ema_decay(EmaConfig(kimg=10, rampup=0.05), 32, images_seen)
    assert decay == pytest.approx(0.5 ** (32 / min(10_000, 0.05 * images_seen)))


def test_ema_begins_as_a_copy():
    assert ema_decay(EmaConfig(kimg=10, rampup=0.05), 32, 0) == 0
    assert ema_decay(EmaConfig(kimg=0, rampup=None), 32, 1000) == 0


def test_ema_update():
    G, G_ema = small_generator(), small_generator()
    G.mapping.w_avg.fill_(3)
    before = {name: value.clone() for name, value in G_ema.named_parameters()}
    update_ema(G_ema, G, 0.75)
    for name, weight in G.named_parameters():
        assert_close(G_ema.get_parameter(name), 0.75 * before[name] + 0.25 * weight, what=name)
    for name, buffer in G.named_buffers():
        assert torch.equal(G_ema.get_buffer(name), buffer)


def test_trainer_averages_its_weights(config):
    trainer = new_trainer(config("base"))
    average = snapshot(trainer.G_ema)
    train(trainer, 2)
    before = snapshot(trainer.G_ema)
    train(trainer, 1)
    decay = 0.5 ** (8 / min(50, 0.05 * 24))
    for name, weight in trainer.G.named_parameters():
        expected = decay * before[f".{name}"] + (1 - decay) * weight
        assert_close(trainer.G_ema.get_parameter(name), expected, what=name)
    assert changed(average, before)


def test_w_avg_follows_in_base_mode(config):
    trainer = new_trainer(config("base"))
    draws = Draws(trainer, TrainingPurpose.GENERATOR)
    beta = trainer.config.generator.mapping.w_avg_beta
    train(trainer, 1)
    assert_close(trainer.G.mapping.w_avg, (1 - beta) * draws.ws[:, 0].mean(0), rtol=1e-4)


def with_data(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


@pytest.mark.parametrize("place", ["workers", "device"])
def test_a_plain_network_may_see_degraded_images_alone(config, place):
    """Those of the run's recipe and seed, which in mode qc are the second stream."""
    both, plain = (with_data(config(mode), degradation="noise") for mode in ("qc", "base"))
    degraded = with_data(plain, reals="degraded")
    reals = {}
    for name, each in {"both": both, "plain": plain, "degraded": degraded}.items():
        trainer = new_trainer(each)
        dataset = open_dataset(each)
        stream = TrainingBatches(dataset, each.batch, slice(0, each.batch), each.seed, degrade=place == "workers")
        [round_] = trainer._rounds(next(iter(stream)))
        reals[name] = round_.reals
    assert reals["plain"].keys() == reals["degraded"].keys() == {"sharp"}
    assert torch.equal(reals["plain"]["sharp"], reals["both"]["sharp"])
    assert torch.equal(reals["degraded"]["sharp"], reals["both"]["degraded"])
    assert not torch.equal(reals["degraded"]["sharp"], reals["plain"]["sharp"])


def test_a_network_of_degraded_images_says_so(config, tmp_path):
    for reals, degradation in (("degraded", "noise"), ("sharp", None)):
        short = config("base", run={"kimg": 0.008, "kimg_per_tick": 0.008})
        run_here(with_data(short, reals=reals, degradation="noise"), tmp_path / reals)
        [network] = (tmp_path / reals).glob("network-*.safetensors")
        header = read_header(network)
        assert (header["mode"], header["degradation"]) == ("base", degradation)
        assert (tmp_path / reals / "reals-degraded.png").is_file() == (reals == "degraded")


def test_each_stream_has_its_own_augmentation(config):
    """A discriminator that believes every real sees more augmentation, one that believes none sees less."""
    trainer = new_trainer(config(optimizer_d={"lr": 1e-9}))
    sharp, degraded = trainer.streams
    with torch.no_grad():
        sharp.D.b4.out.bias.fill_(100)
        degraded.D.b4.out.bias.fill_(-100)
    train(trainer, 4)  # two adjustments of batch * interval / (kimg * 1000)
    assert sharp.augment.p.item() == pytest.approx(0.3 + 2 * 8 * 2 / 1000)
    assert degraded.augment.p.item() == pytest.approx(0.3 - 2 * 8 * 2 / 1000)
    assert sharp.augment.p is not degraded.augment.p


@pytest.mark.parametrize("mode", MODES)
def test_fixed_augmentation_stays(config, mode):
    trainer = train(new_trainer(config(mode, augment={"mode": "fixed", "p": 0.4})), 4)
    assert [stream.augment.p.item() for stream in trainer.streams] == pytest.approx([0.4] * len(trainer.streams))


@pytest.mark.parametrize("mode", MODES)
def test_global_random_state_has_no_part(config, mode):
    """Training neither reads torch's global random state nor moves it."""
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        states.append(snapshot(train(new_trainer(config(mode)), 2)))
        assert torch.equal(torch.get_rng_state(), before)
    assert not changed(*states)


def test_the_runs_seed_has_its_part(config):
    runs = [train(new_trainer(dataclasses.replace(config("base"), seed=seed)), 1) for seed in (0, 1)]
    weights = {f".{name}" for name, parameter in runs[0].G.named_parameters() if parameter.abs().max() > 0}
    assert weights <= changed(*(snapshot(run.G) for run in runs))


def test_the_teacher_computes_as_the_student_does(run_files, tmp_path):
    """A base network stored in bfloat16 makes no distance to a float32 student that begins as its copy."""
    data, network = run_files
    base, _ = load_generator(network)
    half = tmp_path / "half.safetensors"
    save_network(half, with_precision(base, "bf16"), {"sharp": load_discriminator(network, "sharp")}, {})
    trainer = new_trainer(tiny_config(data, half))
    assert {trainer.teacher.synthesis.block(index).dtype for index in range(3)} == {torch.float32}


@pytest.mark.parametrize("variant", ["paper", "paper+", "pixels", "adain"])
def test_only_degradblocks_train_where_they_train_alone(run_files, variant):
    """Sharp images stay the base network's bit for bit, whatever the loss, and there is no sharp discriminator."""
    quality = {"q_dim": 4, "channels": 8, "variant": variant}
    changes = {"train_degrad_only": True, "generator": {"quality": quality}, "loss": {"pl_weight": 1.0}}
    trainer = new_trainer(tiny_config(*run_files, **changes))
    assert [stream.name for stream in trainer.streams] == ["degraded"] and trainer.teacher is None
    before = {name: snapshot(G) for name, G in (("G", trainer.G), ("G_ema", trainer.G_ema))}
    train(trainer, 2)
    for name, G in (("G", trainer.G), ("G_ema", trainer.G_ema)):
        moved = changed(before[name], snapshot(G))
        assert moved and all(".degrade." in parameter for parameter in moved), moved
    base, _ = load_generator(run_files[1])
    z, q = torch.randn(4, 16), torch.randn(4, 4)
    assert torch.equal(trainer.G_ema(z, q=0 * q, noise_mode="const"), base(z, noise_mode="const"))
    assert not torch.equal(trainer.G_ema(z, q=q, noise_mode="const"), base(z, noise_mode="const"))


def test_degradblocks_alone_go_on_from_a_state(run_files):
    config = tiny_config(*run_files, train_degrad_only=True)
    whole, first, second = (new_trainer(config) for _ in range(3))
    train(whole, 4)
    train(first, 2)
    second.load_state_dict(first.state_dict())
    train(second, 2)
    assert changed(snapshot(whole.state_dict()), snapshot(second.state_dict())) == set()


def test_degradblocks_of_a_qc_network_are_trained_on(run_files, tmp_path):
    """A run from a QC network begins with its weights and its discriminator of degraded images."""
    first = train(new_trainer(tiny_config(*run_files, train_degrad_only=True)), 3)
    network = tmp_path / "qc.safetensors"
    save_network(network, first.G_ema, {stream.name: stream.D for stream in first.streams}, {})
    second = new_trainer(tiny_config(run_files[0], network, train_degrad_only=True, seed=9))
    assert changed(snapshot(first.G_ema), snapshot(second.G)) == set()
    assert changed(snapshot(first.streams[0].D), snapshot(second.streams[0].D)) == set()
    moved = changed(snapshot(first.G_ema), snapshot(train(second, 2).G))
    assert moved and all(".degrade." in parameter for parameter in moved)


def test_content_loss_sees_coarse_means_alone():
    """A pattern within cells has none; a shift of all levels by s has s squared."""
    sharp = torch.randn(2, 3, 64, 64)
    pattern = torch.tensor([1.0, -1.0]).repeat(32)[:, None] * torch.ones(64)
    assert losses.content_loss(sharp, sharp + pattern) < 1e-12
    assert_close(losses.content_loss(sharp, sharp - 0.5), torch.tensor(0.25))
    assert_close(losses.content_loss(sharp[..., :8, :8], sharp[..., :8, :8] + 1), torch.tensor(1.0))


@pytest.mark.parametrize("degrad_only", [False, True])
def test_content_weight_keeps_the_content_and_moves_no_sharp_image(run_files, degrad_only):
    """Its gradient is that of the degraded side alone, and training with it keeps cells where they are."""
    drift = {}
    for weight in (0.0, 100.0):
        changes = {"loss": {"content_weight": weight, "distill_weight": 0.0, "pl_weight": 0.0}}
        changes |= {"augment": {"mode": "none"}, "optimizer_g": {"lr": 0.03}}
        trainer = new_trainer(tiny_config(*run_files, train_degrad_only=degrad_only, **changes))
        train(trainer, 5)
        z, q = torch.randn(16, 16), torch.randn(16, trainer.G.q_dim)
        with torch.no_grad():
            sharp, degraded = (trainer.G(z, q=code, noise_mode="const") for code in (None, q))
        drift[weight] = losses.content_loss(sharp, degraded).item()
    assert drift[100.0] < 0.3 * drift[0.0]
    round_ = first_round(trainer)
    rng = BatchRandom((1,), trainer.config.batch)
    fakes, _ = trainer._synthesize(trainer._sample_ws(rng, round_.c), rng, distill=True)
    loss = losses.content_loss(fakes["sharp"].detach(), fakes["degraded"])
    assert loss > 0 and ("sharp" in fakes) and fakes["sharp"].requires_grad == (not degrad_only)


@pytest.mark.parametrize("injection", ["concat_z", "concat_w", "dual_style"])
def test_other_injections_of_the_code_are_trained_by_the_same_step(run_files, tmp_path, injection):
    data, base = run_files
    config = tiny_config(data, base, generator={"quality": {"q_dim": 4, "injection": injection}})
    trainer = new_trainer(config)
    plain, _ = load_generator(base)
    z, q = torch.randn(2, plain.z_dim), torch.randn(2, 4)
    ws = trainer.G.mapping(z, None)
    start = plain(z, noise_mode="const")
    for code in (None, torch.zeros_like(q), q):  # what a code adds begins at zero
        assert_close(trainer.G.synthesis(ws, code, noise_mode="const"), start, rtol=1e-5)
    before = {name: value.clone() for name, value in trainer.G.state_dict().items()}
    train(trainer, 3)
    moved = changed(before, trainer.G.state_dict())
    coded = "mapping.code_weight" if injection == "concat_z" else "synthesis.b16.conv1.affine.code_weight"
    assert {coded, "synthesis.b16.conv1.weight"} <= moved
    assert ("synthesis.b4.conv1.weight" in moved) == (injection != "dual_style")
    assert not any(name.startswith("mapping.") for name in moved - {coded})
    G = trainer.G_ema
    assert torch.equal(G.synthesis(ws, torch.zeros_like(q), noise_mode="const"), G.synthesis(ws, noise_mode="const"))
    assert not torch.equal(trainer.G.synthesis(ws, q, noise_mode="const"), trainer.G.synthesis(ws, noise_mode="const"))
    save_network(tmp_path / "qc.safetensors", G, {}, {"kimg": 0})
    loaded, _ = load_generator(tmp_path / "qc.safetensors")
    assert torch.equal(loaded.synthesis(ws, q, noise_mode="const"), G.synthesis(ws, q, noise_mode="const"))


@pytest.mark.parametrize("injection", ["concat_z", "concat_w", "dual_style"])
def test_other_injections_alone_leave_sharp_images_as_they_are(run_files, injection):
    data, base = run_files
    quality = {"q_dim": 4, "injection": injection}
    trainer = train(new_trainer(tiny_config(data, base, generator={"quality": quality}, train_degrad_only=True)), 2)
    plain, _ = load_generator(base)
    z, q = torch.randn(2, plain.z_dim), torch.randn(2, 4)
    kwargs = {"noise_mode": "const", "truncation_psi": 0.7}
    sharp = trainer.G(z, **kwargs)
    assert torch.equal(sharp, plain(z, **kwargs))
    assert not torch.equal(trainer.G(z, q=q, **kwargs), sharp)
