"""The benchmarks run, and count what they say they count; what they measure is left to them."""

import json

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from networks import SMALL_D, quality_generator, small_generator
from runs import ALONE, IMAGES, tiny_config, train, write_base, write_images
from tolerance import assert_close

from benchmarks import inversion, metrics, textbook, twins
from benchmarks.machine import Operations
from benchmarks.train_step import main
from inversion.latents import Latents
from inversion.pti import TuningOptions
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter
from training.networks import save_network
from training.networks_stylegan2 import Discriminator
from training.trainer import Trainer


@pytest.mark.parametrize("groups", [1, 3])
def test_operations_counts_a_convolution_and_its_derivatives(groups):
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    w = torch.randn(6, 3 // groups, 3, 3, requires_grad=True)
    with Operations() as counter:
        y = F.conv2d(x, w, padding=1, groups=groups)
    forward = 2 * y.numel() * 9 * 3 // groups
    assert counter.count == forward
    with Operations() as counter:
        y.sum().backward()
    assert counter.count == 2 * forward


def test_train_step(tmp_path):
    path = tmp_path / "numbers.json"
    flags = "--resolution 16 --channel-base 64 --channel-max 8 --batch 4 --repeats 1 --precision fp32 --device cpu"
    result = CliRunner().invoke(main, [*flags.split(), "--json", str(path)], catch_exceptions=False)
    for phase in ("G_reg", "fakes", "D_degraded_reg", "average step", "generate, batch 8"):
        assert phase in result.output
    records = json.loads(path.read_text())["records"]
    assert [record["mode"] for record in records] == ["base", "qc, released block", "qc, paper block"]
    assert all(record["seconds"] > 0 and record["gflop"] > 0 for record in records)


@pytest.mark.parametrize("up,down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_textbook_convolution_is_the_same_map(up, down, demodulate):
    x, w, s, f = torch.randn(2, 4, 8, 8), torch.randn(3, 4, 3, 3), torch.randn(2, 4), setup_filter([1, 3, 3, 1])
    arguments = {"up": up, "down": down, "padding": 1, "resample_filter": f, "demodulate": demodulate, "gain": 1.5}
    assert_close(textbook.modulated_conv2d(x, w, s, **arguments), modulated_conv2d(x, w, s, **arguments))


@pytest.mark.parametrize("pl_weight", [0.0, 2.0])
@pytest.mark.parametrize("mode", ["base", "qc"])
def test_textbook_step_has_the_same_gradients(tmp_path, mode, pl_weight):
    """Those of the last phase of each network: adversarial or path lengths for G, R1 for D."""
    base = write_base(tmp_path / "base.safetensors") if mode == "qc" else None
    images, still = write_images(tmp_path / "images.zip"), {"lr": 1e-12}
    config = tiny_config(
        images, base, augment={"mode": "none"}, optimizer_g=still, optimizer_d=still, loss={"pl_weight": pl_weight}
    )
    ours = train(Trainer(config, IMAGES, ALONE), 1)
    with textbook.arranged_as_usual():
        usual = train(textbook.TextbookTrainer(config, IMAGES, ALONE), 1)
    for phase, network in ours.networks().items():
        others = usual.networks()[phase].trainable_parameters()
        for name, parameter in network.trainable_parameters().items():
            if parameter.grad is None:
                assert others[name].grad is None
            else:
                assert_close(parameter.grad, others[name].grad, rtol=1e-3, what=f"{phase} {name}")


def test_twins(tmp_path):
    G = quality_generator(resolution=16)
    save_network(tmp_path / "qc.safetensors", G, {"sharp": Discriminator(SMALL_D, 0, 16, 3)}, {})
    flags = ["--network", str(tmp_path / "qc.safetensors"), "--seeds", "4", "--codes", "2"]
    assert "content correlation: twins" in CliRunner().invoke(twins.main, flags, catch_exceptions=False).output
    same = CliRunner().invoke(twins.main, [*flags, "--quality-scale", "0"], catch_exceptions=False).output
    assert "twins 1.00" in same and "min 1.00, quartiles 1.00, 1.00, 1.00, max 1.00" in same


@pytest.mark.parametrize("fakes", ["qc network", "base network", "stand-ins"])
def test_metrics_times_what_a_measurement_does(tmp_path, fakes):
    """The stages, one after the other, find the very numbers that evaluate() finds, with either cache."""
    flags, path = [f"--data={write_images(tmp_path / 'images.zip')}", "--device=cpu"], tmp_path / "numbers.json"
    if fakes != "stand-ins":
        G = quality_generator() if fakes == "qc network" else small_generator().eval()
        save_network(tmp_path / "G.safetensors", G, {"sharp": Discriminator(SMALL_D, 0, 16, 3)}, {})
        flags.append(f"--network={tmp_path / 'G.safetensors'}")
    flags += ["--images=10", "--batch=4", "--workers=0", f"--json={path}"]
    result = CliRunner().invoke(metrics.main, flags, catch_exceptions=False)
    assert "evaluate(), full cache" in result.output
    records = json.loads(path.read_text())["records"]
    assert [record["quality"] for record in records] == ["sharp"] + ["degraded"] * (fakes != "base network")
    for record in records:
        assert [(stage["name"], stage["images"]) for stage in record["stages"] + record["whole"]] == [
            ("reading stand-ins" if fakes == "stand-ins" else "generating", 10),
            ("reading" if record["quality"] == "sharp" else "reading and degrading", 10),
            *[("features", 20), ("fd10_cifar", 20), ("kd10_cifar", 20), ("pr10_cifar", 20)],
            *[("evaluate(), empty cache", 20), ("evaluate(), full cache", 10)],
        ]
        values = record["values"]
        assert values["stages"] == values["empty cache"] == values["full cache"]
        is_same_set = fakes == "stand-ins" and record["quality"] == "sharp"
        assert (values["stages"]["fd10_cifar"] < 1e-6) == is_same_set


def test_metrics_refuses_an_unknown_detector(tmp_path):
    flags = [f"--data={write_images(tmp_path / 'images.zip')}", "--detector=nobody", "--device=cpu"]
    result = CliRunner().invoke(metrics.main, flags)
    assert result.exit_code == 1 and "unknown detector 'nobody'" in result.output


@pytest.mark.parametrize("with_data", [True, False])
def test_inversion(tmp_path, with_data):
    G, path = quality_generator(), tmp_path / "numbers.json"
    save_network(tmp_path / "G.safetensors", G, {"sharp": Discriminator(SMALL_D, 0, 16, 3)}, {})
    flags = ["--network", str(tmp_path / "G.safetensors"), "--photos=2", "--device=cpu", "--json", str(path)]
    flags += ["--projector-steps=2", "--tuning-steps=3", "--measured-steps=2"]
    flags += [f"--data={write_images(tmp_path / 'images.zip')}"] if with_data else []
    result = CliRunner().invoke(inversion.main, flags, catch_exceptions=False)
    assert "plain baseline, fp32 *" in result.output
    records = {record["stage"]: record for record in json.loads(path.read_text())["records"]}
    assert [records[name]["steps"] for name in ("projector", "tuning", "plain baseline, fp32")] == [2, 3, 500]
    assert all(record["seconds_per_step"] > 0 for record in records.values())


def test_inversion_needs_a_quality_code(tmp_path):
    save_network(tmp_path / "G.safetensors", small_generator(), {"sharp": Discriminator(SMALL_D, 0, 16, 3)}, {})
    result = CliRunner().invoke(inversion.main, ["--network", str(tmp_path / "G.safetensors"), "--device=cpu"])
    assert result.exit_code == 1 and "has no quality code" in result.output


def test_inversion_baseline_tunes_nothing_of_the_network_itself():
    G = quality_generator().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    latents, targets = Latents(torch.randn(1, G.num_ws, G.w_dim), torch.randn(1, G.q_dim)), torch.rand(1, 3, 16, 16)
    inversion._plain(G, latents, targets, inversion._perceptual(targets), TuningOptions(steps=2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())
