"""LPIPS: published layouts, the distance against a plain computation, its identities, files that are something else."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from dnnlib.files import sha256
from metrics.backbones.imagenet import AlexNet, SqueezeNet, Vgg16
from metrics.backbones.lpips import Lpips, load_lpips, perceptual_distance
from metrics.detector import load_detector
from metrics.weights.directory import WeightsDirectory
from metrics.weights.published import published_file
from tests.support.tolerance import assert_close

BACKBONES = {"alex": AlexNet, "vgg": Vgg16, "squeeze": SqueezeNet}
FILES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet"}
CHANNELS = {
    "alex": [64, 192, 384, 256, 256],
    "vgg": [64, 128, 256, 512, 512],
    "squeeze": [64, 128, 256, 384, 384, 512, 512],
}
# Convolutions of the published files: number, outputs, inputs, kernel size.
ALEX = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]
VGG = [(0, 64, 3), (2, 64, 64), (5, 128, 64), (7, 128, 128), (10, 256, 128), (12, 256, 256), (14, 256, 256)]
VGG += [(17, 512, 256), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)]
# Fire modules: number, inputs, squeezed, outputs of each half.
FIRES = [(3, 64, 16, 64), (4, 128, 16, 64), (6, 128, 32, 128), (7, 256, 32, 128)]
FIRES += [(9, 256, 48, 192), (10, 384, 48, 192), (11, 384, 64, 256), (12, 512, 64, 256)]


def convolutions(variant):
    """Return {name: (outputs, inputs, kernel size)} as published."""
    if variant == "alex":
        return {f"features.{n}": (out, inn, size) for n, out, inn, size in ALEX}
    if variant == "vgg":
        return {f"features.{n}": (out, inn, 3) for n, out, inn in VGG}
    fires = {"features.0": (64, 3, 3)}
    for n, inn, squeezed, half in FIRES:
        fires[f"features.{n}.squeeze"] = (squeezed, inn, 1)
        fires[f"features.{n}.expand1x1"] = (half, squeezed, 1)
        fires[f"features.{n}.expand3x3"] = (half, squeezed, 3)
    return fires


def published_states(variant):
    """Return random weights with the published names: of the backbone, a classifier included, and of the heads."""
    backbone = {"classifier.6.bias": torch.randn(10)}
    for name, (out, inn, size) in convolutions(variant).items():
        backbone[f"{name}.weight"] = torch.randn(out, inn, size, size) * math.sqrt(2 / (inn * size**2))
        backbone[f"{name}.bias"] = torch.randn(out) * 0.1
    heads = {f"lin{l}.model.1.weight": torch.rand(1, c, 1, 1) for l, c in enumerate(CHANNELS[variant])}
    return backbone, heads


def save(directory, name, state):
    path = directory / published_file(name).filenames[0]
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return {variant: (directory of weights, state of the backbone, state of the heads)}."""
    found = {}
    for seed, variant in enumerate(BACKBONES):
        torch.manual_seed(seed)
        directory = tmp_path_factory.mktemp(variant)
        states = published_states(variant)
        save(directory, FILES[variant], states[0])
        save(directory, f"lpips_{variant}", states[1])
        found[variant] = (WeightsDirectory(directory), *states)
    return found


@pytest.fixture(scope="module")
def lpips(published):
    return {variant: load_lpips(variant, published[variant][0]) for variant in BACKBONES}


def images(n=2, side=40, channels=3):
    return torch.rand(n, channels, side, side + 3) * 255


# What a published network gives, written without modules.


def plain_outputs(variant, state, x):
    def conv(x, name, **options):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options).clamp(min=0)

    if variant == "alex":
        relu1 = conv(x, "features.0", stride=4, padding=2)
        relu2 = conv(F.max_pool2d(relu1, 3, 2), "features.3", padding=2)
        relu3 = conv(F.max_pool2d(relu2, 3, 2), "features.6", padding=1)
        relu4 = conv(relu3, "features.8", padding=1)
        return [relu1, relu2, relu3, relu4, conv(relu4, "features.10", padding=1)]
    if variant == "vgg":
        outputs = []
        for numbers in [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]:
            x = F.max_pool2d(x, 2) if outputs else x
            for number in numbers:
                x = conv(x, f"features.{number}", padding=1)
            outputs.append(x)
        return outputs

    def fire(x, number):
        squeezed = conv(x, f"features.{number}.squeeze")
        wide = conv(squeezed, f"features.{number}.expand3x3", padding=1)
        return torch.cat([conv(squeezed, f"features.{number}.expand1x1"), wide], 1)

    outputs = [conv(x, "features.0", stride=2)]
    for numbers in [(3, 4), (6, 7), (9,)]:
        x = F.max_pool2d(outputs[-1], 3, 2, ceil_mode=True)
        for number in numbers:
            x = fire(x, number)
        outputs.append(x)
    for number in (10, 11, 12):
        outputs.append(fire(outputs[-1], number))
    return outputs


def plain_distance(variant, backbone, heads, a, b):
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (((x / 255 * 2 - 1) - shift[:, None, None]) / scale[:, None, None] for x in (a, b))
    total = 0
    pairs = zip(plain_outputs(variant, backbone, a), plain_outputs(variant, backbone, b), strict=True)
    for layer, (u, v) in enumerate(pairs):
        u, v = (x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10) for x in (u, v))
        total = total + F.conv2d((u - v) ** 2, heads[f"lin{layer}.model.1.weight"]).mean((1, 2, 3))
    return total


@pytest.mark.parametrize("variant", BACKBONES)
def test_distance_is_the_plain_computation_over_published_weights(variant, published, lpips):
    _, backbone, heads = published[variant]
    a, b = images(), images()
    assert_close(lpips[variant](a, b), plain_distance(variant, backbone, heads, a, b), 2e-5)


def test_gradient_is_that_of_the_plain_computation(published, lpips):
    _, backbone, heads = published["alex"]
    a, b = images().requires_grad_(), images()
    (expected,) = torch.autograd.grad(plain_distance("alex", backbone, heads, a, b).sum(), a)
    (actual,) = torch.autograd.grad(lpips["alex"](a, b).sum(), a)
    assert_close(actual, expected, 1e-4)


def test_perceptual_distance_by_hand():
    """Two layers, one image, sums over positions and channels written out."""
    maps_a = [torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]]), torch.tensor([[[[1.0]]]])]
    maps_b = [torch.tensor([[[[1.0, 5.0]], [[0.0, 0.0]]]]), torch.tensor([[[[-7.0]]]])]
    # position 0: (0.6, 0.8) and (1, 0); position 1: (0, 1) and (1, 0); second layer: 1 and -1
    assert_close(perceptual_distance(maps_a, maps_b), [((0.16 + 0.64) + (1 + 1)) / 2 + 4])
    weights = [torch.tensor([10.0, 1.0]).view(1, 2, 1, 1), torch.tensor([0.5]).view(1, 1, 1, 1)]
    assert_close(perceptual_distance(maps_a, maps_b, weights), [((1.6 + 0.64) + (10 + 1)) / 2 + 2])


# Identities.


@pytest.mark.parametrize("variant", BACKBONES)
def test_zero_for_the_same_image_and_symmetric_otherwise(variant, lpips):
    a, b = images(), images()
    assert lpips[variant](a, a).tolist() == [0, 0]
    forth, back = lpips[variant](a, b), lpips[variant](b, a)
    assert (forth > 0.01).all() and forth.dtype == torch.float32
    assert_close(forth, back, 1e-6)


@given(st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=30)
def test_distance_ignores_the_length_of_features(factor, seed):
    torch.manual_seed(seed)
    a, b = torch.randn(2, 1, 5, 3, 4)
    expected = perceptual_distance([a], [b])
    assert 0 <= expected.item() <= 4 + 1e-5
    assert_close(perceptual_distance([a * factor], [b]), expected, 1e-5)


def test_finite_gradients_where_images_are_equal_or_features_zero(lpips):
    a = images().requires_grad_()
    (gradient,) = torch.autograd.grad(lpips["alex"](a, a.detach()).sum(), a)
    assert gradient.abs().max() == 0
    flat = torch.zeros(1, 4, 2, 2, requires_grad=True)
    distance = perceptual_distance([flat], [torch.ones(1, 4, 2, 2)])
    assert_close(distance, [1.0])
    assert torch.autograd.grad(distance.sum(), flat)[0].abs().max() == 0


def test_black_images_have_finite_gradients(lpips):
    black = torch.zeros(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(lpips["squeeze"](black, images(1, 32)[..., :32]).sum(), black)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_descending_the_distance_approaches_the_target(lpips):
    target, x = images(1, 32), images(1, 32)
    features, before = lpips["alex"].features(target), lpips["alex"](x, target).item()
    for _ in range(10):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(lpips["alex"].distance(lpips["alex"].features(x), features).sum(), x)
        x = x.detach() - 5 * gradient.sign()
    assert lpips["alex"](x, target).item() < 0.7 * before


def test_one_fixed_target_for_several_images(lpips):
    model, target, several = lpips["alex"], images(1), images(3)
    distances = model.distance(model.features(target), model.features(several))
    assert_close(distances, model(target.expand(3, -1, -1, -1), several))


def test_bytes_and_gray_images(lpips):
    gray = torch.randint(256, (2, 1, 40, 40), dtype=torch.uint8)
    other = torch.randint(256, (2, 1, 40, 40), dtype=torch.uint8)
    expected = lpips["alex"](gray.float().repeat(1, 3, 1, 1), other.float().repeat(1, 3, 1, 1))
    assert_close(lpips["alex"](gray, other), expected, 1e-6)


def test_nothing_in_it_is_trained(lpips):
    for model in lpips.values():
        assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())


# Architectures.


@pytest.mark.parametrize(("variant", "count"), [("alex", 2_469_696), ("vgg", 14_714_688), ("squeeze", 722_496)])
def test_parameter_counts_are_those_of_the_published_networks(variant, count):
    with torch.device("meta"):
        network = BACKBONES[variant]()
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert list(network.channels) == CHANNELS[variant]


@pytest.mark.parametrize("variant", BACKBONES)
def test_the_smallest_size_is_accepted_and_one_less_explained(variant, lpips):
    model, smallest = lpips[variant], BACKBONES[variant].smallest
    assert all(maps.numel() > 0 for maps in model.features(torch.zeros(1, 3, smallest, smallest)))
    small = torch.zeros(1, 3, smallest, smallest - 1)
    with pytest.raises(UserError) as caught:
        model(small, small)
    assert str(caught.value) == (
        f"images of {smallest - 1}x{smallest} pixels are too small for LPIPS with {BACKBONES[variant].name}; "
        f"give at least {smallest}x{smallest}"
    )
    with pytest.raises(RuntimeError):  # so the bound is not above what the network needs
        model.backbone.maps(small)


def test_shapes_that_differ_are_refused(lpips):
    with pytest.raises(UserError, match=r"not \[2, 3, 40, 43\] with \[2, 3, 41, 44\]; resize one of them$"):
        lpips["alex"](images(), images(side=41))
    with pytest.raises(AssertionError, match="layer 0 has maps of shapes"):
        perceptual_distance([torch.zeros(1, 2, 4, 4)], [torch.zeros(1, 2, 1, 4)])


def test_heads_of_another_backbone_are_refused():
    with torch.device("meta"):
        network = AlexNet()
    with pytest.raises(AssertionError, match="another backbone"):
        Lpips(network, [torch.zeros(1, channels, 1, 1) for channels in Vgg16.channels])


# Files.


@pytest.mark.parametrize("variant", BACKBONES)
def test_detector_names_its_files_and_tells_distances(variant, published, lpips):
    weights = published[variant][0]
    detector = load_detector(f"lpips_{variant}", weights, torch.device("cpu"))
    paths = [weights.path(name) for name in (FILES[variant], f"lpips_{variant}")]
    assert detector.sha256 == {path.name: sha256(path) for path in paths}
    assert (detector.name, detector.resize) == (f"lpips_{variant}", "none")
    assert detector.features is None and detector.probabilities is None
    a, b = images(), images()
    assert_close(detector.distances(a, b), lpips[variant](a, b), 1e-6)


@pytest.fixture
def directory(tmp_path, published):
    """Return a directory with what LPIPS (alex) needs, for a test to spoil."""
    _, backbone, heads = published["alex"]
    save(tmp_path, "alexnet", backbone)
    save(tmp_path, "lpips_alex", heads)
    return tmp_path


def refusal(directory):
    with pytest.raises(UserError) as caught:
        load_lpips("alex", WeightsDirectory(directory))
    message = str(caught.value)
    assert "\n" not in message
    return message


ALEXNET, LPIPS = "alexnet", "lpips_alex"


def without_bias(published):
    return {name: tensor for name, tensor in published["alex"][1].items() if name != "features.8.bias"}


# The file, what it holds of the published states, and the sentence.
REFUSALS = [
    (
        ALEXNET,
        lambda published: published["squeeze"][1],
        "{} is not AlexNet as published, features.0.weight has shape [64, 3, 3, 3] instead of [64, 3, 11, 11]; "
        "fetch the file again",
    ),
    (ALEXNET, without_bias, "{} is not AlexNet as published, it has no features.8.bias; fetch the file again"),
    (
        LPIPS,
        lambda published: published["vgg"][2],
        "{} is not LPIPS for AlexNet as published, lin1.model.1.weight has shape [1, 128, 1, 1] instead of "
        "[1, 192, 1, 1]; fetch the file again",
    ),
]


@pytest.mark.parametrize(("name", "state", "sentence"), REFUSALS, ids=["backbone", "no bias", "heads"])
def test_refusals(directory, published, name, state, sentence):
    path = save(directory, name, state(published))
    assert refusal(directory) == sentence.format(path)


@pytest.mark.parametrize("name", ["alexnet", "lpips_alex"])
def test_missing_and_damaged_files_are_named(directory, name):
    path = directory / published_file(name).filenames[0]
    path.write_bytes(path.read_bytes()[:100])
    assert str(path) in refusal(directory)
    path.unlink()
    assert re.match(rf"{re.escape(path.name)} is not in {re.escape(str(directory))}", refusal(directory))
