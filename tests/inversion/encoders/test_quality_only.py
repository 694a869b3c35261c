"""Training of the network for q alone, beside content that an encoder tells already."""

import dataclasses
import json
import shutil

import pytest
import torch
from click.testing import CliRunner

from dnnlib.config import from_dict
from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.rendering import synthesize
from inversion.commands.train_encoder import train_encoder_command
from inversion.encoders.config import EncoderConfig, FeatureHeadConfig
from inversion.encoders.files import find_encoder, load_encoder, read_encoder_header, save_encoder
from inversion.encoders.pairs import Pairs, make_pairs
from inversion.encoders.trainer import EncoderTrainer
from inversion.quality.trace_distance import LENGTH_WEIGHT
from networks.files import load_generator
from networks.latents import Latents
from tests.inversion.encoders.test_encoder_training import FLAGS, NOWHERE, TINY, first_batch
from tests.support import encoders
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.runs import changed, png, snapshot
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

IS_TRAINED = [f for f in FLAGS if not f.startswith(("--backbone", "--width", "--input-size", "--set=loss"))]


def write_encoder(path, network, kimg=1, quality_kimg=None, **settings):
    """Write an encoder with running means and statistics of its own, without a network for q unless settings say so."""
    G = load_generator(network)[0]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = encoders.write_encoder(
            path, G, network, dataclasses.replace(encoders.TINY, **{"q_width": 0.0, **settings})
        )
        for name, values in encoder.state_dict().items():
            if values.is_floating_point() and name.endswith(("mean", "var", "avg", "spread")):
                values.uniform_(0.5, 1.5)
    save_encoder(path, encoder, G, sha256(network), {"kimg": kimg, "quality_kimg": quality_kimg})
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network-snapshot-000001.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        G = quality_generator(resolution=32)
    return write_network(path, G, kimg=1, mode="qc", degradation="noise")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(png(seed, side=32))
    return folder


@pytest.fixture(scope="module")
def content(network):
    """An encoder of w and features, without a network for q, beside its network."""
    settings = {"kind": "feature-style", "features": FeatureHeadConfig(layer=1)}
    return write_encoder(network.with_name("encoder.safetensors"), network, **settings)


@pytest.fixture(name="G")
def generator(network):
    return load_generator(network)[0]


@pytest.fixture
def config(network, photos, content):
    values = {**TINY, "batch": 6, "generator": str(network), "init_from": str(content), "quality_only": True}
    values["data"] = {"path": str(photos), "degradation": "noise", "own_share": 0.5}
    values["encoder"] = {**TINY["encoder"], "kind": "feature-style", "features": {"layer": 1}}
    return from_dict(EncoderConfig, values)


@pytest.fixture(params=["images", "traces"])
def either(config, request):
    """The training of a network for q of either kind."""
    return reading(config, request.param)


def reading(config, q_input):
    return dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, q_input=q_input))


def test_a_step_changes_the_network_for_q_and_nothing_else(either, G, content):
    trainer = EncoderTrainer(either, G, NOWHERE)
    before, average, generator = snapshot(trainer.encoder), snapshot(trainer.encoder_ema), snapshot(G)
    trainer.step(first_batch(either, G))
    weights = {f".{name}" for name, _ in trainer.encoder.named_parameters() if name.startswith("quality.")}
    for found in (changed(before, snapshot(trainer.encoder)), changed(average, snapshot(trainer.encoder_ema))):
        assert found >= weights and all(name.startswith(".quality.") for name in found)
    assert changed(generator, snapshot(G)) == set()


def test_content_stays_as_the_encoder_tells_it(either, G, content, network):
    """Bit for bit, its statistics included."""
    trainer = EncoderTrainer(either, G, NOWHERE)
    trainer.step(first_batch(either, G))
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    found, expected = trainer.encoder_ema(images), load_encoder(content, network, G)(images)
    assert expected.q is None and found.q.shape == (3, G.q_dim)
    assert torch.equal(found.ws, expected.ws) and torch.equal(found.features.values, expected.features.values)


def test_the_loss_falls_and_is_the_sum_of_its_terms(either, G):
    trainer = EncoderTrainer(either, G, NOWHERE)
    pairs = make_pairs(either, G, first_batch(either, G), 0)
    losses = []
    for _ in range(30):
        trainer.optimizer.zero_grad()
        loss = trainer.loss(pairs)
        means = trainer.statistics.read()
        expected = either.loss.traces * means["Loss/traces"] + either.loss.own_q * means["Loss/own/q"]
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        loss.backward()
        trainer.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


class Knowing:
    """Stands in for an encoder: it tells these codes."""

    def __init__(self, latents):
        self.latents = latents

    def content_codes(self, images):
        return Latents(self.latents.ws[: len(images)])

    def quality_codes(self, images):
        return self.latents.q


def test_right_codes_cost_their_length_alone(config, G):
    """Photos that the network itself shows, with known samples behind them: only the prior of q is left."""
    trainer = EncoderTrainer(config, G, NOWHERE)
    latents = Latents(torch.randn(5, G.num_ws, G.w_dim), q=0.3 * torch.randn(5, G.q_dim))
    sharp, degraded = synthesize(G, latents.sharp()), synthesize(G, latents)
    terms, judged = trainer.objective.terms(Knowing(latents), Pairs(sharp, degraded, latents[3:]), 0)
    assert judged is None
    values = {term.name: term.values for term in terms}
    assert values["own/q"].shape == (2,) and values["own/q"].max() == 0
    without_colours = values["traces"] - LENGTH_WEIGHT * latents.q[:3].square().sum(1)
    means = torch.nn.functional.avg_pool2d(degraded - sharp, 8)[:3].square().mean((1, 2, 3))
    assert_close(without_colours, 20 * means, rtol=1e-3)


def test_photos_are_compared_at_the_content_of_their_sharp_partners(config, G):
    trainer = EncoderTrainer(config, G, NOWHERE)
    seen = []

    class Noting(Knowing):
        def content_codes(self, images):
            seen.append(images)
            return super().content_codes(images)

    latents = Latents(torch.randn(3, G.num_ws, G.w_dim), q=torch.randn(3, G.q_dim))
    sharp, degraded = torch.rand(2, 3, 3, 32, 32)
    trainer.objective.terms(Noting(latents), Pairs(sharp, degraded, latents[2:]), 0)
    assert len(seen) == 1 and torch.equal(seen[0], sharp[:2])


def test_a_resumed_training_goes_on_with_the_same_bits(either, G, tmp_path):
    batches = [first_batch(either, G)] * 4
    whole = EncoderTrainer(either, G, NOWHERE)
    for batch in batches[:2]:
        whole.step(batch)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    resumed = EncoderTrainer(either, G, NOWHERE)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for trainer in (whole, resumed):
        for batch in batches[2:]:
            trainer.step(batch)
    assert changed(snapshot(whole.state_dict()), snapshot(resumed.state_dict())) == set()


@pytest.mark.parametrize("q_input", ["images", "traces"])
def test_q_goes_on_where_an_encoder_tells_it(config, G, network, tmp_path, q_input):
    path = write_encoder(tmp_path / "both.safetensors", network, 1, 5, kind="psp", q_width=0.125, q_input=q_input)
    both = dataclasses.replace(config, init_from=str(path), encoder=dataclasses.replace(config.encoder, kind="psp"))
    images = torch.rand(2, 3, 32, 32)
    expected = load_encoder(path, network, G)(images).q
    trainer = EncoderTrainer(reading(both, q_input), G, NOWHERE)
    assert torch.equal(trainer.encoder_ema(images).q, expected)
    assert trainer.trained_before == {"kimg": 1, "quality_kimg": 5}


@pytest.mark.parametrize(("theirs", "ours"), [("images", "traces"), ("traces", "images")])
def test_q_begins_anew_where_another_kind_tells_it(config, G, network, tmp_path, theirs, ours):
    """As beside the same content without any, and its training counts from there."""
    path = write_encoder(tmp_path / "both.safetensors", network, quality_kimg=5, q_width=0.125, q_input=theirs)
    alone = write_encoder(tmp_path / "content.safetensors", network)
    encoder = dataclasses.replace(config.encoder, kind="psp", q_input=ours)
    found, expected = (
        EncoderTrainer(dataclasses.replace(config, init_from=str(file), encoder=encoder), G, NOWHERE)
        for file in (path, alone)
    )
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(found.encoder_ema(images).q, expected.encoder_ema(images).q)
    assert found.trained_before == {"kimg": 1, "quality_kimg": 0}


def test_an_encoder_of_another_network_is_refused(config, tmp_path):
    other = write_network(tmp_path / "network-snapshot-000002.safetensors", quality_generator(resolution=32))
    with pytest.raises(UserError, match="was trained for another network"):
        EncoderTrainer(dataclasses.replace(config, generator=str(other)), load_generator(other)[0], NOWHERE)


def test_a_plain_network_is_refused(config, tmp_path):
    plain = write_network(tmp_path / "network-snapshot-000002.safetensors", small_generator(32))
    with pytest.raises(UserError, match="is plain, without quality codes to tell; leave out --quality-only"):
        EncoderTrainer(dataclasses.replace(config, generator=str(plain)), load_generator(plain)[0], NOWHERE)


def test_another_size_is_refused(config, G):
    wider = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, width=0.25))
    with pytest.raises(UserError, match=r"other sizes \(encoder.width: 0.125 -> 0.25\); take all sizes as"):
        EncoderTrainer(wider, G, NOWHERE)


@pytest.mark.parametrize(("part", "is_beside"), [("content.", True), ("quality.", True), ("content.", False)])
@pytest.mark.parametrize("change", [None, torch.zeros(3, 3)])
def test_a_file_of_other_tensors_than_its_header_says_is_refused(config, G, network, tmp_path, part, is_beside, change):
    path = write_encoder(tmp_path / "both.safetensors", network, kind="psp", q_width=0.125)
    both = dataclasses.replace(config, init_from=str(path), encoder=dataclasses.replace(config.encoder, kind="psp"))
    tensors = load_tensors(path)
    name = next(name for name in tensors if name.startswith(f"encoder.{part}"))
    tensors.pop(name)
    save_tensors(path, tensors | ({} if change is None else {name: change}), read_header(path))
    with pytest.raises(UserError, match=r"both.safetensors does not hold what its header says"):
        EncoderTrainer(dataclasses.replace(both, quality_only=is_beside), G, NOWHERE)


def run(network, photos, outdir, *extra):
    flags = [f"--network={network}", f"--data={photos}", f"--outdir={outdir}", "--quality-only", *IS_TRAINED, *extra]
    return CliRunner().invoke(train_encoder_command, flags)


def test_the_command_takes_the_networks_own_encoder(network, photos, content, tmp_path):
    planned = json.loads(run(network, photos, tmp_path / "run", "--dry-run").output)
    assert planned["init_from"] == str(content) and planned["quality_only"]
    assert planned["encoder"]["kind"] == "feature-style"
    assert (planned["encoder"]["q_input"], planned["encoder"]["q_width"]) == ("traces", 1)
    assert (planned["data"]["own_share"], planned["loss"]["own_q"]) == (0.5, 1)

    result = run(network, photos, tmp_path / "run", "--kimg=0.008")
    assert result.exit_code == 0, result.output
    G = load_generator(network)[0]
    trained = tmp_path / "run" / "encoder-000000.008.safetensors"
    assert load_encoder(trained, network, G).quality is not None
    header = read_encoder_header(trained)
    assert (header["kimg"], header["quality_kimg"]) == (1, 0.008)


@pytest.mark.parametrize(
    ("theirs", "flags", "expected"),
    [
        ({"q_width": 0.0}, [], ("traces", 1)),
        ({"q_width": 0.0}, ["--set=encoder.q_input=images"], ("images", 0.125)),
        ({"q_width": 0.0}, ["--set=encoder.q_width=0.5"], ("traces", 0.5)),
        ({"q_width": 0.25}, [], ("images", 0.25)),
        ({"q_width": 0.25}, ["--set=encoder.q_input=traces"], ("traces", 1)),
        ({"q_width": 2.0, "q_input": "traces"}, [], ("traces", 2)),
        ({"q_width": 2.0, "q_input": "traces"}, ["--set=encoder.q_input=images"], ("images", 0.125)),
    ],
)
def test_what_the_network_for_q_reads(network, photos, tmp_path, theirs, flags, expected):
    """Traces, unless flags or the encoder that is there say otherwise."""
    path = write_encoder(tmp_path / "encoder.safetensors", network, **theirs)
    result = run(network, photos, tmp_path / "run", f"--init-from={path}", "--dry-run", *flags)
    encoder = json.loads(result.output)["encoder"]
    assert (encoder["q_input"], encoder["q_width"]) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], ("traces", 2)),
        (["--set=encoder.q_width=0.5"], ("traces", 0.5)),
        (["--set=encoder.q_input=images"], ("images", 0.125)),
    ],
)
def test_a_whole_encoder_goes_on_as_what_it_begins_with_tells_q(network, photos, tmp_path, flags, expected):
    path = write_encoder(tmp_path / "encoder.safetensors", network, q_width=2.0, q_input="traces")
    command = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", *FLAGS]
    result = CliRunner().invoke(train_encoder_command, [*command, f"--init-from={path}", "--dry-run", *flags])
    encoder = json.loads(result.output)["encoder"]
    assert (encoder["q_input"], encoder["q_width"], encoder["width"]) == (*expected, 0.125)


def test_whole_encoders_of_other_sizes_name_what_stands_in_the_way(config, G, network, tmp_path):
    """Which is not what q is told by, since that begins anew."""
    path = write_encoder(tmp_path / "encoder.safetensors", network, q_width=2.0, q_input="traces")
    encoder = dataclasses.replace(config.encoder, kind="psp", width=0.25, q_width=0.25)
    whole = dataclasses.replace(config, init_from=str(path), encoder=encoder, quality_only=False)
    with pytest.raises(UserError, match=r"other sizes \(encoder.width: 0.125 -> 0.25\)"):
        EncoderTrainer(whole, G, NOWHERE)


def test_beside_its_network_it_comes_before_the_encoder_that_it_was_made_of(network, tmp_path):
    """Both have the same content; of two such ones that comes whose network for q was trained longer."""
    there = shutil.copy(network, tmp_path / "network.safetensors")
    for name, facts in {"z": {}, "b": {"quality_kimg": 0.5}, "c": {"quality_kimg": 2.0}, "a": {"kimg": 0.5}}.items():
        write_encoder(tmp_path / f"{name}.safetensors", there, **facts)
    assert find_encoder(there).name == "c.safetensors"


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--width=0.5"], "encoder.width has no effect with --quality-only"),
        (["--kind=psp"], "encoder.kind has no effect with --quality-only"),
        (["--set=loss.own_w=1"], "loss.own_w has no effect with --quality-only"),
        (["--set=loss.sharp.l2=1"], "loss.sharp.l2 has no effect with --quality-only"),
        (["--set=loss.degraded.l2=1"], "loss.degraded.l2 has no effect with --quality-only"),
        (["--perceptual=cifar"], "loss.perceptual has no effect with --quality-only"),
        (["--arcface"], "arcface has no effect with --quality-only"),
        (["--ablation=C"], "--ablation has no effect with --quality-only"),
        (["--init-from=nowhere.safetensors"], "nowhere.safetensors"),
        (["--set=loss.traces=-1"], "loss.traces is -1.0, must be at least 0"),
    ],
)
def test_the_command_ends_in_a_sentence(network, photos, content, tmp_path, extra, sentence):
    result = run(network, photos, tmp_path / "run", *extra)
    assert result.exit_code == 1 and sentence in result.output and not (tmp_path / "run").exists()


def test_no_encoder_beside_the_network(network, photos, tmp_path):
    alone = shutil.copy(network, tmp_path / "network.safetensors")
    result = run(alone, photos, tmp_path / "run")
    assert result.exit_code == 1
    assert f"there is no encoder beside {alone} for --quality-only; give one by --init-from=ENCODER" in result.output


def test_weights_of_traces_need_the_flag(network, photos, tmp_path):
    flags = [f"--network={network}", f"--data={photos}", f"--outdir={tmp_path / 'run'}", *FLAGS, "--set=loss.traces=1"]
    result = CliRunner().invoke(train_encoder_command, flags)
    assert result.exit_code == 1 and "loss.traces has no effect without --quality-only" in result.output


def test_a_configuration_without_an_encoder_to_start_from():
    with pytest.raises(UserError, match="--quality-only trains beside an encoder of content"):
        EncoderConfig(quality_only=True)
