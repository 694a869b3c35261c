"""The mean of networks: of every weight, in the header of the last one; others are refused."""

import functools

import pytest
import torch

from dnnlib.files import sha256
from exchange.average import main
from tests.support import commands
from tests.support.networks import quality_generator, small_generator, write_network
from torch_utils.checkpoint import load_tensors, read_header

done, refused = functools.partial(commands.done, main), functools.partial(commands.refused, main)


@pytest.fixture(name="snapshots")
def _snapshots(tmp_path):
    paths = []
    for kimg in (1, 2, 3):
        torch.manual_seed(kimg)
        G = quality_generator()
        G.mapping.w_avg.normal_()
        paths.append(write_network(tmp_path / f"{kimg}.safetensors", G, kimg=kimg))
    return paths


def test_each_weight_is_the_mean(snapshots, tmp_path):
    text = done(*snapshots, "-o", tmp_path / "mean.safetensors")
    assert text.strip().endswith("mean.safetensors: the mean of 3 networks")
    each, mean = [load_tensors(path) for path in snapshots], load_tensors(tmp_path / "mean.safetensors")
    assert mean.keys() == each[0].keys() and any(name.startswith("D_") for name in mean)
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, torch.stack([tensors[name] for tensors in each]).mean(0))
    header = read_header(tmp_path / "mean.safetensors")
    assert header.pop("mean_of") == [{"sha256": sha256(path), "kimg": k} for k, path in enumerate(snapshots, 1)]
    assert header == read_header(snapshots[-1])


def test_the_mean_of_the_same_network_is_itself(snapshots, tmp_path):
    done(snapshots[0], snapshots[0], "-o", tmp_path / "mean.safetensors")
    mean = load_tensors(tmp_path / "mean.safetensors")
    assert all(torch.equal(tensor, mean[name]) for name, tensor in load_tensors(snapshots[0]).items())


def test_what_has_no_mean_is_one_sentence(snapshots, tmp_path):
    output = tmp_path / "mean.safetensors"
    plain = write_network(tmp_path / "plain.safetensors", small_generator())
    without = write_network(tmp_path / "without.safetensors", quality_generator(), streams=())
    text = tmp_path / "text.safetensors"
    text.write_text("no network")
    assert refused(snapshots[0], "-o", output).endswith("is the only network; a mean needs two or more")
    assert "differ in generator; average networks of one architecture" in refused(snapshots[0], plain, "-o", output)
    assert "average networks of one architecture" in refused(snapshots[0], without, "-o", output)
    assert str(text) in refused(text, snapshots[0], "-o", output)
    assert not output.exists()
