"""Precision and recall's detector from torchvision's weights, where NVIDIA's file is missing."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dnnlib.errors import UserError
from evaluation.job import load_detectors
from metrics.backbones import vgg16_features
from metrics.detectors.vgg16 import load
from metrics.metric import parse_requests
from metrics.weights.directory import WeightsDirectory
from tests.support.tolerance import assert_close
from torch_utils.distributed import World

CPU = torch.device("cpu")
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
CONVOLUTIONS = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), WIDTHS, strict=True))
POOLS = (4, 9, 16, 23, 30)
SIDE, WIDTH = 32, 8


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return a directory with torchvision's VGG16, its layers after the convolutions of a few numbers."""
    monkeypatch.setattr(vgg16_features, "SIDE", SIDE)
    monkeypatch.setattr(vgg16_features, "WIDTH", WIDTH)
    tensors, width = {}, 3
    for number, wide in CONVOLUTIONS.items():
        tensors[f"features.{number}.weight"] = torch.randn(wide, width, 3, 3) * (2 / (9 * width)) ** 0.5
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(wide)
        width = wide
    for number, wide in {0: 512, 3: WIDTH}.items():
        tensors[f"classifier.{number}.weight"] = torch.randn(WIDTH, wide) / wide**0.5
        tensors[f"classifier.{number}.bias"] = torch.randn(WIDTH)
    torch.save(tensors | {"classifier.6.weight": torch.zeros(2, WIDTH)}, tmp_path / "vgg16-397923af.pth")
    return tmp_path


def test_features_are_those_after_the_second_fully_connected_layer(directory):
    images = torch.randint(0, 256, (2, 1, 20, 20), dtype=torch.uint8)
    state = torch.load(directory / "vgg16-397923af.pth", weights_only=True)
    x = F.interpolate(images.float().repeat(1, 3, 1, 1), size=(SIDE, SIDE), mode="bilinear") / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    for number in range(31):
        if number in CONVOLUTIONS:
            x = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1).relu()
        elif number in POOLS:
            x = F.max_pool2d(x, 2)
    x = x.flatten(1)
    for number in (0, 3):
        x = F.linear(x, state[f"classifier.{number}.weight"], state[f"classifier.{number}.bias"]).relu()
    detector = load(WeightsDirectory(directory), CPU)
    assert_close(detector.features(images), x, 1e-4)  # the published shift and scale have three digits
    assert list(detector.sha256) == ["vgg16-397923af.pth"]


def test_path_lengths_need_the_heads_as_well(directory):
    requests, world = parse_requests("ppl2_wend"), World(0, 1, CPU)
    with pytest.raises(UserError, match="^ppl2_wend needs distances, which these weights of vgg16 do not give; "):
        load_detectors(world, requests, WeightsDirectory(directory))
    heads = {f"lin{l}.model.1.weight": torch.ones(1, c, 1, 1) for l, c in enumerate((64, 128, 256, 512, 512))}
    save_file(heads, directory / "lpips-vgg.pth")
    with pytest.raises(UserError):
        load(WeightsDirectory(directory), CPU)  # safetensors under another ending
    torch.save(heads, directory / "lpips-vgg.pth")
    images = torch.rand(2, 3, 32, 32) * 255
    distances = load_detectors(world, requests, WeightsDirectory(directory))["vgg16"].distances
    assert distances(images, images).tolist() == [0, 0] and (distances(images, images.flip(0)) > 0).all()
