"""How a step grows, and what it needs in memory: exponents of known laws, sizes that can be counted by hand."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from benchmarks.training import encoders, scaling
from benchmarks.training.memory import needed, saved_bytes
from networks.files import load_generator
from tests.support.commands import done
from tests.support.encoders import write_encoder
from tests.support.networks import quality_generator, write_network
from tests.support.runs import IMAGES, new_trainer, png, tiny_config


def test_exponents_of_a_law_are_found():
    points = [(side, batch, 32) for side in (16, 32, 64) for batch in (2, 4)]
    exponents, error = scaling.fitted_exponents({point: 3e-5 * point[0] ** 1.7 * point[1] ** 0.9 for point in points})
    assert exponents == pytest.approx({"resolution": 1.7, "batch": 0.9}) and error == pytest.approx(0, abs=1e-9)
    assert scaling.fitted_exponents({points[0]: 2.0})[0] == {}
    _, error = scaling.fitted_exponents({(16, 1, 1): 1.0, (32, 1, 1): 1.0, (64, 1, 1): 2.0})
    assert 0.1 < error < 0.5


def test_saved_memory_counts_once_and_without_weights():
    x = torch.randn(4, 8, requires_grad=True)
    weight = torch.nn.Parameter(torch.randn(8, 8))
    assert saved_bytes(lambda: F.linear(x, weight), [weight]) == x.nbytes
    assert saved_bytes(lambda: F.linear(x, weight)) == x.nbytes + weight.nbytes
    assert saved_bytes(lambda: x * x) == x.nbytes
    assert saved_bytes(lambda: (x.square(), x.t() * x.t(), x.exp())) == 2 * x.nbytes  # of exp its result
    with torch.no_grad():
        assert saved_bytes(lambda: x * x) == 0


@pytest.mark.parametrize("mode", ["base", "qc"])
def test_memory_is_that_of_the_trainer(run_files, mode):
    config = tiny_config("", run_files[1] if mode == "qc" else None, augment={"mode": "none"})
    trainer = new_trainer(tiny_config(*run_files[: 1 + (mode == "qc")], augment={"mode": "none"}))
    memory = needed(config, IMAGES)
    trained = [p for network in trainer.networks().values() for p in network.trainable_parameters().values()]
    assert memory.gradients == sum(parameter.nbytes for parameter in trained) == memory.adam / 2
    assert memory.ema == sum(tensor.nbytes for tensor in trainer.G_ema.state_dict().values())
    networks = [*trainer.networks().values(), *([trainer.teacher] if mode == "qc" else [])]
    assert memory.weights == sum(tensor.nbytes for network in networks for tensor in network.state_dict().values())
    assert memory.kept == memory.weights + 3 * memory.gradients + memory.ema
    assert memory.of(8) - memory.of(6) == 2 * memory.activations > 2 * 16 * 16**2 * 4


def test_scaling_at_a_tiny_size(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "average_step", lambda point, device, repeats: point[0] ** 2 * point[1] / 1e4)
    monkeypatch.setattr(scaling, "memory_of", lambda preset, mode, side: (preset, mode, side))
    monkeypatch.setattr(scaling, "_print_memory", lambda rows: print(sorted(rows.values())))
    monkeypatch.setattr(scaling, "vars", lambda row: {"row": row}, raising=False)
    path = tmp_path / "numbers.json"
    flags = ["--device=cpu", "--memory=paper512", "--memory=demo", f"--json={path}"]
    result = CliRunner().invoke(scaling.main, flags, catch_exceptions=False)
    words = "seconds grow as resolution^2.00 batch^1.00 channels^0.00, by at most 0% beside that"
    assert words in result.output.replace("-0.00", "0.00")
    for row in (("demo", "base", 256), ("demo", "qc", 256), ("paper512", "base", 512), ("paper512", "qc", 512)):
        assert str(row) in result.output
    assert len(json.loads(path.read_text())["times"]) == 12


def test_phases_are_timed_and_presets_counted():
    assert scaling.average_step((8, 4, 4), torch.device("cpu"), repeats=1) > 0
    small = scaling.memory_of("demo", "qc", 16)
    assert small.activations > 0 and small.kept < 2**25
    scaling._print_memory({"demo, qc": small})


def test_steps_of_encoders(tmp_path):
    network = write_network(tmp_path / "network.safetensors", quality_generator(resolution=32), degradation="noise")
    write_encoder(tmp_path / "encoder.safetensors", load_generator(network)[0], network)
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        (tmp_path / "photos" / f"{seed}.png").write_bytes(png(seed, side=32))
    flags = [f"--network={network}", f"--data={tmp_path / 'photos'}", "--batch=4", "--repeats=1", "--device=cpu"]
    text = done(encoders.main, *flags, f"--json={tmp_path / 'numbers.json'}")
    found = json.loads((tmp_path / "numbers.json").read_text())
    for what in ("the whole encoder", "the network for q alone"):
        assert what in text and found[what].keys() == {"fp32", "bf16"} and min(found[what].values()) > 0
