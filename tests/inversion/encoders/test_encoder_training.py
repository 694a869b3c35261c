"""Training of encoders: the loss, the data, continuation, files and the command."""

import json
import math
import os
import shutil
import signal
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from dnnlib.config import from_dict, with_overrides
from dnnlib.errors import UserError
from generation.rendering import synthesize
from images.datasets.batches import TrainingBatches
from inversion.commands.train_encoder import train_encoder_command
from inversion.encoders import training
from inversion.encoders.config import EncoderConfig
from inversion.encoders.files import load_encoder
from inversion.encoders.losses import ImageTerms, code_terms, w_norm
from inversion.encoders.pairs import Pairs, degrade_known, make_pairs, open_photos, reconstruct
from inversion.encoders.trainer import EncoderTrainer, learning_rate
from inversion.encoders.training import open_generator, train_encoder
from metrics.weights.directory import WeightsDirectory
from networks.files import load_generator
from networks.latents import Latents
from tests.support.networks import conditional_generator, quality_generator, write_network
from tests.support.processes import run_distributed
from tests.support.runs import changed, png, read_stats, snapshot, write_base
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World

NOWHERE = WeightsDirectory(None)
ALONE = World(0, 1, torch.device("cpu"))
TINY = {
    "batch": 4,
    "encoder": {"backbone": "resnet34", "width": 0.125, "q_width": 0.125, "input_size": 32},
    "loss": {"degraded": {"perceptual": 0.0}, "sharp": {"perceptual": 0.0}},
    "optimizer": {"lr": 0.002},
    "schedule": {"warmup_kimg": 0.0},
    "run": {"workers": 0, "device": "cpu", "kimg": 0.016, "kimg_per_tick": 0.008},
}
FLAGS = [
    *["--backbone=resnet34", "--width=0.125", "--input-size=32", "--batch=4", "--device=cpu", "--workers=0"],
    *["--set=loss.degraded.perceptual=0", "--set=loss.sharp.perceptual=0", "--precision=fp32", "--tick=0.008"],
]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A QC network of which all that makes it one has an effect."""
    path = tmp_path_factory.mktemp("network") / "network-snapshot-000001.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        G = quality_generator()
        G.mapping.w_avg.normal_()
    return write_network(path, G, kimg=1, mode="qc", degradation="noise", licence="of the network")


@pytest.fixture(scope="module")
def photos(run_files):
    return run_files[0]


@pytest.fixture(scope="module")
def whole_run(network, photos, tmp_path_factory):
    """The directory of a run that has come to its end."""
    path = tmp_path_factory.mktemp("run")
    train_encoder(config_of(network, photos), path, ALONE, NOWHERE)
    return path


@pytest.fixture
def finished(whole_run, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole_run, tmp_path / "run")


@pytest.fixture(name="G")
def generator(network):
    return load_generator(network)[0]


def config_of(network, photos, **overrides):
    values = {**TINY, "generator": str(network), "data": {"path": str(photos), "degradation": "noise"}}
    config = from_dict(EncoderConfig, values)
    return with_overrides(config, {name.replace("__", "."): json.dumps(value) for name, value in overrides.items()})


def first_batch(config, G):
    return next(iter(TrainingBatches(open_photos(config, G), config.photos, slice(config.photos), config.seed)))


def test_loss_falls_on_a_fixed_batch(network, photos, G):
    config = config_of(network, photos, data__own_share=0.5)
    trainer = EncoderTrainer(config, G, NOWHERE)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    before = trainer.loss(pairs).item()
    for _ in range(12):
        trainer.optimizer.zero_grad()
        loss = trainer.loss(pairs)
        loss.backward()
        trainer.optimizer.step()
    assert loss.item() < 0.6 * before


def step_in_a_process(world, config, photos, folder):
    G = load_generator(config.generator)[0]
    trainer = EncoderTrainer(config, G, NOWHERE, world)
    batches = TrainingBatches(open_photos(config, G), config.photos, world.rows(config.photos), config.seed)
    for _, batch in zip(range(2), batches, strict=False):
        trainer.step(batch)
    trainer.require_finite()
    means = trainer.statistics.read(world.sum)
    torch.save({"weights": snapshot(trainer.encoder), "means": means}, folder / f"{world.rank}.pt")


class Half(World):
    """One of two processes, alone: it sees its rows."""

    def any(self, flag):
        return flag


def test_processes_average_their_gradients(network, photos, G, tmp_path):
    """They keep the same weights, those of a step along the mean of the gradients of their parts of the batch."""
    config = config_of(network, photos, batch=8, data__own_share=0.25)
    run_distributed(step_in_a_process, 2, config, photos, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["means"] == second["means"]
    parameters = [f".{name}" for name, _ in EncoderTrainer(config, G, NOWHERE).encoder.named_parameters()]
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in parameters)

    halves = [EncoderTrainer(config, G, NOWHERE, Half(rank, 2, G.device)) for rank in range(2)]
    streams = [iter(TrainingBatches(open_photos(config, G), 6, half.world.rows(6), config.seed)) for half in halves]
    for step in range(2):
        for half, stream in zip(halves, streams, strict=True):
            half.optimizer.zero_grad(set_to_none=True)
            half.loss(make_pairs(config, G, next(stream), step * 8, half.world)).backward()
            for group in half.optimizer.param_groups:
                group["lr"] = learning_rate(config, (step + 1) * 8)
        for ours, theirs in zip(*(half.encoder.parameters() for half in halves), strict=True):
            ours.grad = theirs.grad = (ours.grad + theirs.grad) / 2
        for half in halves:
            half.optimizer.step()
    weights = snapshot(halves[0].encoder)
    for name in parameters:
        assert_close(first["weights"][name], weights[name])


def test_a_batch_that_processes_cannot_share(network, photos, tmp_path):
    flags = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", *FLAGS, "--gpus=3"]
    result = CliRunner().invoke(train_encoder_command, flags)
    expected = "--batch=4 is 3 photos and 1 own sample, which 3 processes cannot share; give --batch=24, say"
    assert result.exit_code == 1 and expected in result.output
    assert not (tmp_path / "run").exists()


def test_a_step_changes_all_of_the_encoder_and_nothing_of_the_generator(network, photos, G):
    config = config_of(network, photos)
    trainer = EncoderTrainer(config, G, NOWHERE)
    encoder, average, generator = snapshot(trainer.encoder), snapshot(trainer.encoder_ema), snapshot(G)
    trainer.step(first_batch(config, G))
    weights = {f".{name}" for name, _ in trainer.encoder.named_parameters()}
    assert changed(encoder, snapshot(trainer.encoder)) >= weights
    assert changed(average, snapshot(trainer.encoder_ema)) >= weights
    assert changed(generator, snapshot(G)) == set()
    assert all(p.grad is None for p in G.parameters())


def test_the_loss_is_the_weighted_sum_of_what_is_reported(network, photos, G):
    weights = {"loss__degraded__l2": 2.0, "loss__sharp__perceptual": 0.5, "loss__w_norm": 0.3, "loss__own_q": 0.7}
    config = config_of(network, photos, **weights)
    trainer = EncoderTrainer(config, G, NOWHERE)
    total = trainer.loss(make_pairs(config, G, first_batch(config, G), 0)).item()
    means = trainer.statistics.read()
    expected = 2 * means["Loss/degraded/l2"] + means["Loss/sharp/l2"] + 0.5 * means["Loss/sharp/perceptual"]
    expected += 0.3 * means["Loss/w/norm"] + config.loss.own_w * means["Loss/own/w"] + 0.7 * means["Loss/own/q"]
    assert math.isclose(total, expected, rel_tol=1e-5)
    assert means["Loss/sharp/perceptual"] > 0


def test_the_known_codes_have_no_loss(network, photos, G):
    """An encoder that finds the codes of own samples is asked for nothing more than the norm of w."""
    config = config_of(network, photos, batch=8, data__own_share=0.5, loss__sharp__perceptual=1.0, loss__w_norm=0.0)
    trainer = EncoderTrainer(config, G, NOWHERE)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    own = Pairs(pairs.sharp[4:], pairs.degraded[4:], pairs.known)
    encoder, trainer.encoder = trainer.encoder, lambda images: own.known
    trainer.encoder.w_avg, trainer.encoder.w_spread = encoder.w_avg, encoder.w_spread
    assert trainer.loss(own).item() < 1e-6


def test_own_samples_come_last_and_some_are_sharp(network, photos, G):
    config = config_of(network, photos, batch=32, data__own_share=0.5, data__sharp_share=0.5)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    assert len(pairs.sharp) == len(pairs.degraded) == 32 and len(pairs.known) == 16
    assert_close(pairs.sharp[16:], synthesize(G, pairs.known.sharp()))
    assert_close(pairs.degraded[16:], synthesize(G, pairs.known))
    is_sharp = (pairs.sharp == pairs.degraded).flatten(1).all(1)
    assert torch.equal(is_sharp[16:], pairs.known.q.eq(0).all(1))
    for rows in (slice(16), slice(16, 32)):
        assert 2 <= is_sharp[rows].sum() <= 14


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 16)])
def test_sharp_share(network, photos, G, share, count):
    config = config_of(network, photos, batch=16, data__sharp_share=share)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    assert (pairs.sharp == pairs.degraded).flatten(1).all(1).sum() == count


def test_a_step_without_own_samples(network, photos, G):
    config = config_of(network, photos, data__own_share=0.0)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    assert pairs.known is None and len(pairs.sharp) == 4
    trainer = EncoderTrainer(config, G, NOWHERE)
    trainer.step(first_batch(config, G))
    assert not any(name.startswith("Loss/own") for name in trainer.statistics.read())


def test_both_reconstructions_are_those_of_the_codes(G):
    latents = Latents(torch.randn(3, G.num_ws, G.w_dim), q=torch.randn(3, G.q_dim))
    sharp, degraded = reconstruct(G, latents)
    assert_close(degraded, synthesize(G, latents))
    assert_close(sharp, synthesize(G, latents.sharp()))
    assert not torch.allclose(sharp, degraded)


def test_a_known_w_makes_the_degraded_image_of_any_q(G):
    known, q = Latents(torch.randn(3, G.num_ws, G.w_dim)), torch.randn(3, G.q_dim, requires_grad=True)
    images = degrade_known(G, known, q)
    assert_close(images, synthesize(G, Latents(known.ws, q=q)))
    (gradient,) = torch.autograd.grad(images.square().sum(), q)
    assert gradient.any()


def test_q_of_own_samples_is_learnt_at_their_known_w(network, photos, G):
    """Only photos hold q to images that the predicted w makes."""
    config = config_of(network, photos, data__own_share=0.75, loss__own_q=0.0)
    pairs = make_pairs(config, G, first_batch(config, G), 0)
    trainer = EncoderTrainer(config, G, NOWHERE)
    trainer.loss(pairs)
    predicted = trainer.encoder(pairs.degraded)
    own = len(pairs.known)
    known = degrade_known(G, pairs.known, predicted.q[-own:])
    images = torch.cat([synthesize(G, predicted[:-own]), known])
    expected = (images - pairs.degraded).square().mean((1, 2, 3))
    assert trainer.statistics.read()["Loss/degraded/l2"] == pytest.approx(expected.mean().item(), rel=1e-3)


def test_terms_of_equal_images_are_zero_and_carry_gradients():
    terms = ImageTerms(EncoderConfig().loss, NOWHERE, ALONE.device)
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    assert all(values.abs().max() < 1e-6 for values in terms(images, images.detach()).values())
    found = terms(images, torch.zeros(2, 3, 16, 16))
    assert_close(found["l2"], images.square().mean((1, 2, 3)))
    for values in found.values():
        (gradient,) = torch.autograd.grad(values.sum(), images, retain_graph=True)
        assert gradient.any()


def test_identity_needs_published_weights(network, photos, G):
    with pytest.raises(UserError, match="weights --fetch=arcface"):
        EncoderTrainer(config_of(network, photos, loss__sharp__identity=0.1), G, NOWHERE)


def test_codes_are_measured_in_units_of_their_spread():
    known = Latents(torch.zeros(2, 3, 4), q=torch.zeros(2, 5))
    found = Latents(torch.full((2, 3, 4), 6.0), q=torch.full((2, 5), 3.0))
    terms = code_terms(found, known, torch.tensor(2.0))
    assert_close(terms["w"], torch.full((2,), 9.0))
    assert_close(terms["q"], torch.full((2,), 9.0))
    assert_close(w_norm(found.ws, torch.full((4,), 2.0), torch.tensor(2.0)), torch.full((2,), 4.0))


def test_the_learning_rate_rises_and_falls(network, photos):
    config = config_of(network, photos, run__kimg=10.0, schedule__warmup_kimg=1.0, schedule__final=0.1)
    rates = [learning_rate(config, images) / config.optimizer.lr for images in (500, 1000, 5000, 10000, 12000)]
    falling = [0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2 for progress in (0.05, 0.1, 0.5, 1, 1)]
    assert_close(np.array(rates), np.array([0.5 * falling[0], *falling[1:]]))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_network_computes_in_the_precision_of_the_run(network, photos, precision):
    G, licence = open_generator(config_of(network, photos, run__precision=precision), torch.device("cpu"))
    assert G.config.precision.dtype == precision and licence == "of the network"


def test_a_resumed_run_equals_an_uninterrupted_one(network, photos, finished, tmp_path, monkeypatch):
    config = config_of(network, photos)

    def step_and_signal(trainer, batch, step=EncoderTrainer.step):
        step(trainer, batch)
        if trainer.images_seen == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(training.EncoderTrainer, "step", step_and_signal)
        train_encoder(config, tmp_path / "parts", ALONE, NOWHERE)
    assert "Stopped by SIGTERM at 0.0 kimg" in (tmp_path / "parts" / "log.txt").read_text()
    assert not list((tmp_path / "parts").glob("encoder-*"))
    train_encoder(config, tmp_path / "parts", ALONE, NOWHERE)
    whole, parts = (torch.load(tmp_path / n / "training-state.pt", weights_only=True) for n in ("run", "parts"))
    assert changed(snapshot(whole), snapshot(parts)) == set()
    assert read_stats(finished) == read_stats(tmp_path / "parts")
    name = "encoder-000000.016.safetensors"
    assert (finished / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder__kind": "padding", "encoder__padding__layers": 2, "loss__adversarial": 0.05, "loss__w_length": 0.003},
        {
            "encoder__kind": "feature-style",
            "encoder__features__layer": 1,
            "loss__features": 0.1,
            "loss__own_features": 0.1,
        },
    ],
    ids=["padding", "feature-style"],
)
def test_every_kind_is_trained_and_continued_with_the_same_bits(network, photos, G, tmp_path, changes):
    config = config_of(network, photos, schedule__blend_kimg=0.012, **changes)
    whole = EncoderTrainer(config, G, NOWHERE)
    batches = TrainingBatches(open_photos(config, G), config.photos, slice(config.photos), config.seed)
    batches = [batch for batch, _ in zip(batches, range(4), strict=False)]
    for batch in batches[:2]:
        whole.step(batch)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    for batch in batches[2:]:
        whole.step(batch)
    continued = EncoderTrainer(config, G, NOWHERE)
    continued.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for batch in batches[2:]:
        continued.step(batch)
    assert changed(snapshot(whole.state_dict()), snapshot(continued.state_dict())) == set()
    names = {name for name in whole.statistics.read() if name.startswith("Loss/")}
    if config.encoder.kind == "padding":
        assert {"Loss/sharp/adversarial", "Loss/adversary/D", "Loss/adversary/r1_penalty", "Loss/w/length"} <= names
    else:
        assert {"Loss/features/own", "Loss/own/features"} <= names


def test_what_a_run_leaves(network, photos, G, finished):
    path = finished / "encoder-000000.016.safetensors"
    header = read_header(path)
    assert header["kind"] == "encoder" and header["licence"] == "of the network" and header["degradation"] == "noise"
    assert header["kimg"] == 0.016 and header["network"]["resolution"] == 16 and header["network"]["q_dim"] == 4
    encoder = load_encoder(path, network, G)
    assert len(encoder(torch.zeros(2, 3, 16, 16))) == 2
    assert [record["images_seen"] for record in read_stats(finished)] == [8, 16]
    assert list(finished.glob("events.*"))
    with PIL.Image.open(finished / "grid000000.000.png") as grid:
        assert grid.size == (8 * 16, 8 * 16)
    train_encoder(config_of(network, photos), finished, ALONE, NOWHERE)
    assert "Nothing to do: the run has its 0.016 kimg; raise --kimg" in (finished / "log.txt").read_text()


def test_the_grid_shows_degraded_reconstruction_restored_and_sharp(finished):
    with PIL.Image.open(finished / "grid000000.000.png") as grid:
        tiles = np.asarray(grid).reshape(8, 16, 8, 16, 3).swapaxes(1, 2)  # [rows, columns, H, W, C]
    with PIL.Image.open(BytesIO(png(0))) as photo:
        assert np.array_equal(tiles[0, 3], np.asarray(photo))
    assert not np.array_equal(tiles[0, 0], tiles[0, 3])
    assert not np.array_equal(tiles[0, 1], tiles[0, 2])


def test_a_plain_generator_is_trained_on_sharp_photos(photos, tmp_path):
    base = write_base(tmp_path / "base.safetensors")
    train_encoder(config_of(base, photos, data__degradation=None), tmp_path / "run", ALONE, NOWHERE)
    G, _ = load_generator(base)
    encoder = load_encoder(tmp_path / "run" / "encoder-000000.016.safetensors", base, G)
    assert encoder(torch.zeros(1, 3, 16, 16)).q is None
    assert {name for name in read_stats(tmp_path / "run")[-1] if name.startswith("Loss/")} == {
        *["Loss/total", "Loss/sharp/l2", "Loss/w/norm", "Loss/own/w"]
    }
    with PIL.Image.open(tmp_path / "run" / "grid000000.000.png") as grid:
        assert grid.size == (4 * 16, 8 * 16)


def test_a_plain_generator_may_be_trained_on_degraded_photos(photos, tmp_path):
    """The sharp photo is what the reconstruction is compared with."""
    base = write_base(tmp_path / "base.safetensors")
    config = config_of(base, photos)
    trainer = EncoderTrainer(config, load_generator(base)[0], NOWHERE)
    batch = first_batch(config, trainer.G)
    assert not torch.equal(batch.degraded, batch.images)
    pairs = make_pairs(config, trainer.G, batch, 0)
    sharp, _ = reconstruct(trainer.G, trainer.encoder(pairs.degraded))
    trainer.loss(pairs)
    expected = (sharp - pairs.sharp).square().mean()
    assert trainer.statistics.read()["Loss/sharp/l2"] == pytest.approx(expected.item(), rel=1e-3)


def test_an_encoder_begins_with_another_ones_weights(network, photos, G, finished, tmp_path):
    """That of a QC network gives all of its weights, that of a plain one those of the network for w."""
    start = finished / "encoder-000000.016.safetensors"
    config = config_of(network, photos, init_from=str(start), seed=5)
    fresh = snapshot(EncoderTrainer(config_of(network, photos, seed=5), G, NOWHERE).encoder)
    trained = snapshot(EncoderTrainer(config, G, NOWHERE).encoder)
    assert changed(trained, snapshot(load_encoder(start, network, G))) == set()
    base = write_base(tmp_path / "base.safetensors")
    train_encoder(config_of(base, photos), tmp_path / "plain", ALONE, NOWHERE)
    plain = tmp_path / "plain" / "encoder-000000.016.safetensors"
    mixed = snapshot(EncoderTrainer(config_of(network, photos, init_from=str(plain), seed=5), G, NOWHERE).encoder)
    content = {name for name in mixed if name.startswith(".content.")}
    plain_weights = snapshot(load_encoder(plain, base, load_generator(base)[0]))
    assert all(torch.equal(mixed[name], plain_weights[name]) for name in content)
    assert all(torch.equal(mixed[name], fresh[name]) for name in set(mixed) - content)


def test_an_encoder_of_other_sizes_is_no_beginning(network, photos, G, finished):
    config = config_of(network, photos, init_from=str(finished / "encoder-000000.016.safetensors"), encoder__width=0.25)
    with pytest.raises(UserError, match=r"of other sizes \(encoder.width: 0.125 -> 0.25\); train one of"):
        EncoderTrainer(config, G, NOWHERE)
    with pytest.raises(UserError, match="is no encoder; give an encoder-"):
        EncoderTrainer(config_of(network, photos, init_from=str(network)), G, NOWHERE)


def test_a_run_is_not_continued_as_another(network, photos, finished):
    with pytest.raises(UserError, match=r"another configuration \(batch: 4 -> 6\)"):
        train_encoder(config_of(network, photos, batch=6), finished, ALONE, NOWHERE)
    copy = write_network(finished / network.name, quality_generator())
    with pytest.raises(UserError, match="holds an encoder for another network"):
        train_encoder(config_of(copy, photos), finished, ALONE, NOWHERE)


BAD = {
    "loss": (lambda trainer: trainer.encoder.content.heads.heads[0][0].linear.bias, "the loss"),
    "average": (
        lambda trainer: trainer.encoder_ema.content.heads.heads[0][0].linear.bias,
        "encoder_ema.content.heads.heads.0.0.linear.bias",
    ),
    "moment": (
        lambda trainer: trainer.optimizer.state[next(trainer.encoder.parameters())]["exp_avg_sq"],
        r"optimizer.state\[0\].exp_avg_sq",
    ),
}


@pytest.mark.parametrize(("place", "name"), BAD.values(), ids=BAD)
def test_what_is_not_finite_leaves_the_last_state(network, photos, finished, monkeypatch, place, name):
    """An infinity that comes up while a run goes on reaches neither the state nor a file of an encoder."""
    saved = [finished / "training-state.pt", finished / "encoder-000000.016.safetensors"]
    before = [path.read_bytes() for path in saved]
    load = EncoderTrainer.load_state_dict

    def spoil(trainer, state):
        load(trainer, state)
        with torch.no_grad():
            spoiled = place(trainer)
            spoiled[(0,) * spoiled.ndim] = math.inf

    monkeypatch.setattr(EncoderTrainer, "load_state_dict", spoil)
    with pytest.raises(UserError, match=f"{name} became NaN or infinite before 0.024 kimg; the last saved state"):
        train_encoder(config_of(network, photos, run__kimg=0.04), finished, ALONE, NOWHERE)
    assert before == [path.read_bytes() for path in saved]


def test_photos_must_fit_the_network(network, tmp_path, G):
    side = tmp_path / "large"
    side.mkdir()
    PIL.Image.new("RGB", (32, 32)).save(side / "a.png")
    with pytest.raises(UserError, match="holds images of side 32, not 16"):
        open_photos(config_of(network, side), G)
    gray = tmp_path / "gray"
    gray.mkdir()
    PIL.Image.new("L", (16, 16)).save(gray / "a.png")
    with pytest.raises(UserError, match="has images with 1 channel, the network makes 3"):
        open_photos(config_of(network, gray), G)


def test_bf16_computes_nearly_the_same(network, photos, G):
    losses = []
    for precision in ("fp32", "bf16"):
        config = config_of(network, photos, batch=8, run__precision=precision, loss__sharp__perceptual=1.0)
        trainer = EncoderTrainer(config, G, NOWHERE)
        losses.append(trainer.loss(make_pairs(config, G, first_batch(config, G), 0)).item())
    assert losses[0] != losses[1] and math.isclose(*losses, rel_tol=0.03)


def test_a_conditional_generator(photos, tmp_path):
    path = write_network(tmp_path / "conditional.safetensors", conditional_generator())
    conditional, _ = load_generator(path)
    config = config_of(path, photos, batch=8, data__own_share=0.5)
    pairs = make_pairs(config, conditional, first_batch(config, conditional), 0)
    assert pairs.known.ws.shape == (4, conditional.num_ws, conditional.w_dim)


def test_command_resolves_what_is_left_open(network, photos, tmp_path):
    arguments = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", "--set=run.device=cpu"]
    result = CliRunner().invoke(train_encoder_command, [*arguments, "--set=encoder.q_width=0.5", "--dry-run"])
    assert result.exit_code == 0, result.output
    config = json.loads(result.output)
    assert config["data"]["degradation"] == "noise" and config["encoder"]["input_size"] == 64
    assert config["encoder"]["q_width"] == 0.5 and config["encoder"]["width"] == 1.0
    assert not (tmp_path / "run").exists()
    base = write_base(tmp_path / "base.safetensors")
    for extra, degradation in ([], None), (["--degradation=blur"], "blur"):
        plain = [f"--network={base}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", *extra, "--dry-run"]
        config = json.loads(CliRunner().invoke(train_encoder_command, plain).output)
        assert config["data"]["degradation"] == degradation


def test_command_trains(network, photos, tmp_path):
    arguments = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", "--kimg=0.008", *FLAGS]
    result = CliRunner().invoke(train_encoder_command, arguments)
    assert result.exit_code == 0, result.output
    assert "Done: " in result.output and (tmp_path / "run" / "encoder-000000.008.safetensors").exists()


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--degradation=blurr"], "unknown degradation recipe 'blurr'; did you mean 'blur'?"),
        (["--set=batch"], "--set batch has no value; write --set field=value"),
        (["--set=encoder.size=64"], "unknown field 'encoder.size'"),
        (["--backbone=vgg"], "unknown backbone 'vgg'; known: ir_se50, resnet34"),
        (["--set=encoder.q_width=0"], "encoder.q_width is 0, must be above 0, as this network has a quality code"),
        (["--device=tpu"], "unknown device 'tpu'; try cuda, mps or cpu"),
        (["--arcface"], "the published ArcFace weights are those of ir_se50, not resnet34; leave out --arcface"),
    ],
)
def test_command_ends_in_a_sentence(network, photos, tmp_path, extra, sentence):
    arguments = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", *FLAGS, *extra]
    result = CliRunner().invoke(train_encoder_command, arguments)
    assert result.exit_code == 1
    assert sentence in result.output
