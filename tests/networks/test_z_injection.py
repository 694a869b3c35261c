"""The quality code beside z: one mapping of both, sharp images as without it, and refusals of what needs codes."""

import dataclasses
import os

import pytest
import torch

from dnnlib.errors import UserError
from exchange.exportable import ExportRequest, exportable
from exchange.inspect import main as inspect
from generate import main as generate
from inversion.commands.directions import directions_command
from inversion.encoders.config import EncoderConfig
from inversion.encoders.training import open_generator
from inversion.inverter import Inverter
from networks.config import QualityConfig
from networks.files import ImageFormat, build_generator
from networks.latents import Latents
from tests.support import commands
from tests.support.networks import SMALL, write_network
from tests.support.tolerance import assert_close
from torch_utils.ops.bias_act import bias_act

CPU = torch.device("cpu")


def coded_generator(c_dim=0):
    config = dataclasses.replace(SMALL, quality=QualityConfig(q_dim=4, injection="concat_z"))
    G = build_generator(config, ImageFormat(16, 3, c_dim)).eval().requires_grad_(False)
    G.mapping.code_weight.normal_()
    G.mapping.w_avg.normal_()
    return G


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return str(write_network(tmp_path_factory.mktemp("z") / "z.safetensors", coded_generator()))


@pytest.mark.parametrize("c_dim", [0, 3])
def test_the_code_is_concatenated_with_z(c_dim):
    """What the blocks see is the mapping of `[z, q]` by the joined matrix of the first layer."""
    G = coded_generator(c_dim)
    mapping, q = G.mapping, torch.randn(2, 4)
    c = torch.eye(c_dim)[:2] if c_dim else None
    ws = mapping(torch.randn(2, G.z_dim), c)
    content = G.synthesis.content(Latents(ws), G.synthesis.make_noise("const", 2), blocks=0)
    _, coded = G.synthesis.coded(0, content, q)
    first = mapping.fc0
    joined = torch.cat([first.weight * first.weight_gain, mapping.code_weight * mapping.code_gain], dim=1)
    inputs = torch.cat([content.z[:, 0], q], dim=1)
    w = bias_act(inputs @ joined.t(), first.bias * first.bias_gain, act="lrelu")
    for index in range(1, mapping.num_layers):
        w = getattr(mapping, f"fc{index}")(w)
    assert_close(coded[:, 0], w, rtol=1e-4)


def test_zero_codes_and_truncation_leave_the_plain_networks_image():
    G = coded_generator()
    plain = build_generator(SMALL, ImageFormat(16, 3, 0)).eval()
    plain.load_state_dict({name: value for name, value in G.state_dict().items() if name != "mapping.code_weight"})
    z, q = torch.randn(3, G.z_dim), torch.randn(3, 4)
    q[1] = 0
    kwargs = {"truncation_psi": 0.6, "truncation_cutoff": 3, "noise_mode": "const"}
    sharp = plain(z, **kwargs)
    assert torch.equal(G(z, **kwargs), sharp) and torch.equal(G(z, q=torch.zeros_like(q), **kwargs), sharp)
    degraded = G(z, q=q, **kwargs)
    assert_close(degraded[1], sharp[1]) and not torch.allclose(degraded[0], sharp[0])


def test_the_average_is_of_w_alone():
    G = coded_generator()
    before = G.mapping.w_avg.clone()
    mean = torch.randn(G.w_dim)
    G.mapping.track_average(mean)
    assert_close(G.mapping.w_avg, before.lerp(mean[: len(before)], 1 - G.mapping.w_avg_beta))


def test_seeds_through_codes_are_generated_and_it_is_inspected(network, tmp_path):
    commands.done(generate, f"--network={network}", "--seeds=0", "--degradations=1", "-o", tmp_path, "--device=cpu")
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert "variant concat_z, q_dim 4, last 3 blocks" in commands.done(inspect, network)


USES = {
    "inversion": lambda path, folder: Inverter(path, CPU),
    "an encoder": lambda path, folder: open_generator(EncoderConfig(generator=path), CPU),
    "export": lambda path, folder: exportable(ExportRequest(path, "synthesis")),
}


@pytest.mark.parametrize("use", USES)
def test_what_needs_codes_of_their_own_is_refused(network, tmp_path, use):
    with pytest.raises(UserError, match=r"^\S+z.safetensors has generator.quality.injection=concat_z.*; give a netw"):
        USES[use](network, tmp_path)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(generate, ["--seeds=0", "--save-codes", "-o", "out"]), (directions_command, ["--method=sefa", "-o", "out"])],
)
def test_commands_that_store_codes_refuse_it(network, tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    assert "no codes of their own" in commands.refused(command, f"--network={network}", *arguments, "--device=cpu")
    assert not os.listdir(tmp_path)
