"""Noise that is fitted to photos: what becomes of its strengths, what a search finds, and the command."""

import functools
import math

import pytest
import torch

from dnnlib.errors import UserError
from evaluation.commands.noise import fit_noise_command
from evaluation.noise_fit import NoiseChange, grain_name, nearest
from tests.support import commands
from tests.support.networks import quality_generator, small_generator, write_network
from tests.support.runs import write_images
from tests.support.tolerance import assert_close
from torch_utils.checkpoint import load_tensors, read_header

done, refused = (functools.partial(each, fit_noise_command) for each in (commands.done, commands.refused))
GRAIN = "G_ema.synthesis.b16.degrade.grain"


def test_noise_of_a_map_a_colour_is_its_own_fit():
    grain = torch.randn(16, 1, 1) * torch.eye(3)
    for noise in (NoiseChange(own_maps=True, gain=1.5), NoiseChange(gain=1.5)):
        found = noise.apply(grain)
        assert_close(
            found * (found[0, 0, 0] / grain[0, 0, 0]).sign(), 1.5 * grain, rtol=1e-5
        )  # either sign is the same


@pytest.mark.parametrize("channels", [1, 3])
def test_own_maps_are_white_and_as_strong_as_what_codes_share(channels):
    strengths, mix = torch.randn(16), torch.randn(3, channels)
    grain = strengths[:, None, None] * mix
    found = NoiseChange(own_maps=True).apply(grain)
    covariances = torch.einsum("qmc,qmd->qcd", found, found)  # of the colours, of each direction of codes
    power = (strengths.square() * mix.square().sum() / channels)[:, None, None]
    assert_close(covariances, power * torch.eye(channels), rtol=1e-4)


@pytest.mark.parametrize("first", [NoiseChange(gain=0.5), NoiseChange(True, 2.0)], ids=str)
@pytest.mark.parametrize("second", [NoiseChange(gain=1.5), NoiseChange(True, 0.7)], ids=str)
def test_changes_one_after_the_other_are_one(first, second):
    grain = torch.randn(16, 3, 3)
    both, one = second.apply(first.apply(grain)), second.after(first).apply(grain)
    assert_close(both * (both[0, 0, 0] / one[0, 0, 0]).sign(), one, rtol=1e-5)


def test_a_search_finds_the_nearest_of_either_kind():
    for own_maps in (False, True):
        noise, value = nearest(lambda n: math.log(n.gain / 1.4) ** 2 + (n.own_maps != own_maps), 1.2)  # noqa: B023
        assert noise.own_maps == own_maps and noise.gain == pytest.approx(1.4, rel=0.1) and value < 0.01


def test_what_is_nearest_already_stays():
    tried = []
    assert nearest(lambda n: tried.append(n) or 1 + n.gain, 1.0) == (NoiseChange(), 1.0)
    assert {n.own_maps for n in tried} == {False, True} and NoiseChange() not in tried


@pytest.mark.parametrize(("variant", "blocks"), [("paper", 1), ("paper+", 2)])
def test_a_network_without_noise_in_pixels_is_refused(variant, blocks):
    with pytest.raises(UserError, match=r"x draws no noise in pixels; give .* --variant=pixels"):
        grain_name(quality_generator(variant, blocks=blocks), "x")


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    write_images(folder / "images.zip", 20)
    G = quality_generator("pixels", zero_start=True)
    with torch.no_grad():
        G.synthesis.b16.degrade.grain.mul_(0.2)
    write_network(folder / "weak.safetensors", G, degradation="noise")
    return folder


def flags(files, network="weak.safetensors"):
    places = f"--network={files / network}", f"--data={files / 'images.zip'}", f"--cache-dir={files / 'cache'}"
    return [*places, "--device=cpu", "--workers=0", "--metrics=fd32_cifar"]


def test_weak_noise_becomes_stronger_and_nothing_else_changes(files):
    output = files / "fitted.safetensors"
    lines = done(*flags(files), "-o", output).splitlines()
    distances = {line.rpartition(": ")[0]: float(line.rpartition(": ")[2]) for line in lines[1:-1]}
    note = read_header(output)["noise"]
    assert note["gain"] > 1.2 and note["metric"] == "fd32_cifar"
    least = min(distances.values())
    assert f"{least:.4g}" == f"{note['value']:.4g}" and least < distances[str(NoiseChange())]
    assert lines[0].startswith("note: singular covariance (32 fakes and 20 reals") and len(distances) == len(lines) - 2
    assert lines[-1] == f"{output}: {NoiseChange(note['own_maps'], note['gain'])}"
    before, after = load_tensors(files / "weak.safetensors"), load_tensors(output)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == [GRAIN]
    assert torch.equal(after[GRAIN], NoiseChange(note["own_maps"], note["gain"]).apply(before[GRAIN]))
    assert {**read_header(output), "noise": None} == {**read_header(files / "weak.safetensors"), "noise": None}
    assert [path.name for path in files.glob("*fitted*")] == [output.name]


def test_fitted_again_a_network_tells_of_both(files):
    G = quality_generator("pixels", zero_start=True)
    earlier = {"own_maps": True, "gain": 1.5, "metric": "fd32_cifar", "value": 9.0}
    write_network(files / "earlier.safetensors", G, degradation="noise", noise=earlier)
    text = done(*flags(files, "earlier.safetensors"), "-o", files / "again.safetensors")
    note = read_header(files / "again.safetensors")["noise"]
    assert note["own_maps"] and f"x {note['gain'] / 1.5:.2f}" in text.splitlines()[-1]


def test_what_cannot_be_fitted_is_one_sentence(files):
    output = files / "none.safetensors"
    write_network(files / "plain.safetensors", small_generator())
    write_network(files / "paper.safetensors")
    fit = functools.partial(refused, *flags(files), "-o", output)
    assert "asks for 2 metrics; a search needs one" in fit("--metrics=fd32_cifar,kd32_cifar")
    assert "is no distance to photos; give one, such as fd1k_cifar" in fit("--metrics=is32")
    assert "absent.zip" in fit("--data=absent.zip")
    assert "plain.safetensors draws no noise in pixels" in refused(*flags(files, "plain.safetensors"), "-o", output)
    assert "paper.safetensors draws no noise in pixels" in refused(*flags(files, "paper.safetensors"), "-o", output)
    assert f"cannot write {files}" in refused(*flags(files), "-o", files)
    assert not list(files.glob("*none*"))
