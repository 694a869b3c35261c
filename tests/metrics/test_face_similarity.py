"""Identity: the layout of IR-SE-50, ArcFace against a plain computation, the region it sees, consistency of videos."""

import math

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import UserError
from dnnlib.files import sha256
from metrics.backbones.ir_se50 import IrSe50, IrSe50Body
from metrics.detector import load_detector
from metrics.detectors.arcface import face_region
from metrics.distances.face_similarity import identity_consistency, similarity
from metrics.weights.directory import WeightsDirectory
from metrics.weights.published import published_file
from tests.support.tolerance import assert_close

# Inputs, outputs and stride of the 24 units.
UNITS = [(64, 64, 2), (64, 64, 1), (64, 64, 1)]
UNITS += [(64, 128, 2)] + [(128, 128, 1)] * 3
UNITS += [(128, 256, 2)] + [(256, 256, 1)] * 13
UNITS += [(256, 512, 2), (512, 512, 1), (512, 512, 1)]


def norm(name, channels):
    """Return the tensors of a batch normalisation; an old file has no `num_batches_tracked`."""
    tensors = {"weight": 0.5 + torch.rand(channels), "bias": torch.randn(channels) * 0.1}
    tensors |= {"running_mean": torch.randn(channels) * 0.1, "running_var": 0.5 + torch.rand(channels)}
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def weight(name, *shape):
    return {f"{name}.weight": torch.randn(*shape) / math.sqrt(math.prod(shape[1:]))}


def slope(name, channels):
    return {f"{name}.weight": 0.1 + 0.3 * torch.rand(channels)}


def published_state():
    """Return random weights with the published names and shapes."""
    state = weight("input_layer.0", 64, 3, 3, 3) | norm("input_layer.1", 64) | slope("input_layer.2", 64)
    for number, (inn, out, _) in enumerate(UNITS):
        name = f"body.{number}"
        if inn != out:
            state |= weight(f"{name}.shortcut_layer.0", out, inn, 1, 1) | norm(f"{name}.shortcut_layer.1", out)
        state |= norm(f"{name}.res_layer.0", inn) | weight(f"{name}.res_layer.1", out, inn, 3, 3)
        state |= slope(f"{name}.res_layer.2", out) | weight(f"{name}.res_layer.3", out, out, 3, 3)
        state |= norm(f"{name}.res_layer.4", out)
        state |= weight(f"{name}.res_layer.5.fc1", out // 16, out, 1, 1)
        state |= weight(f"{name}.res_layer.5.fc2", out, out // 16, 1, 1)
    state |= norm("output_layer.0", 512) | weight("output_layer.3", 512, 512 * 7 * 7)
    state |= {"output_layer.3.bias": torch.randn(512) * 0.1}
    return state | norm("output_layer.4", 512)


def plain_units(state, x):
    """Return the outputs of all units, written without modules."""

    def normalised(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, bias = (state[f"{name}.{key}"][:, None, None] for key in keys)
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + bias

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"][:, None, None])

    x = F.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = prelu(normalised(x, "input_layer.1"), "input_layer.2")
    outputs = []
    for number, (inn, out, stride) in enumerate(UNITS):
        name = f"body.{number}"
        shortcut = x[:, :, ::stride, ::stride]
        if inn != out:
            shortcut = F.conv2d(shortcut, state[f"{name}.shortcut_layer.0.weight"])
            shortcut = normalised(shortcut, f"{name}.shortcut_layer.1")
        x = F.conv2d(normalised(x, f"{name}.res_layer.0"), state[f"{name}.res_layer.1.weight"], padding=1)
        x = prelu(x, f"{name}.res_layer.2")
        x = F.conv2d(x, state[f"{name}.res_layer.3.weight"], stride=stride, padding=1)
        x = normalised(x, f"{name}.res_layer.4")
        means = x.mean((2, 3))
        squeezed = (means @ state[f"{name}.res_layer.5.fc1.weight"][:, :, 0, 0].T).clamp(min=0)
        factors = torch.sigmoid(squeezed @ state[f"{name}.res_layer.5.fc2.weight"][:, :, 0, 0].T)
        x = x * factors[:, :, None, None] + shortcut
        outputs.append(x)
    return outputs


def plain_embedding(state, x):
    x = plain_units(state, x)[-1]
    for name, flat in (("output_layer.0", False), ("output_layer.4", True)):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, bias = (state[f"{name}.{key}"] for key in keys)
        if flat:
            x = x.flatten(1) @ state["output_layer.3.weight"].T + state["output_layer.3.bias"]
            x = (x - mean) / torch.sqrt(var + 1e-5) * gain + bias
        else:
            x = F.batch_norm(x, mean, var, gain, bias)
    return x / x.norm(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return (directory of weights, state)."""
    torch.manual_seed(0)
    directory, state = tmp_path_factory.mktemp("arcface"), published_state()
    torch.save(state, directory / published_file("arcface").filenames[0])
    return WeightsDirectory(directory), state


@pytest.fixture(scope="module")
def arcface(published):
    return load_detector("arcface", published[0], torch.device("cpu"))


# The network.


def test_layout_is_the_published_one(published):
    with torch.device("meta"):
        network = IrSe50()
    expected = {name: tensor.shape for name, tensor in published[1].items()}
    state = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: shape for name, shape in state.items() if not name.endswith("num_batches_tracked")} == expected
    trained = [shape.numel() for name, shape in expected.items() if "running" not in name]
    assert sum(parameter.numel() for parameter in network.parameters()) == sum(trained) == 43_797_696


def test_maps_are_the_outputs_of_units(published):
    state = published[1]
    with torch.device("meta"):
        body = IrSe50Body().eval()
    body.load_state_dict(state, strict=False, assign=True)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    expected = plain_units(state, x)
    maps = body.maps(x)
    assert [list(map.shape[1:]) for map in maps] == [[128, 8, 8], [256, 4, 4], [512, 2, 2]]
    for actual, number in zip(maps, (6, 20, 23), strict=True):
        assert_close(actual, expected[number], 1e-4, f"unit {number}")
    (first,) = body.maps(x, units=[0])
    assert_close(first, expected[0], 1e-5)


def test_other_numbers_of_channels():
    (map,) = IrSe50Body(in_channels=6).eval().maps(torch.zeros(1, 6, 48, 32), units=[3])
    assert map.shape == (1, 128, 12, 8)


def test_embedding_needs_its_size():
    with torch.device("meta"):
        network = IrSe50()
    with pytest.raises(AssertionError, match=r"\[1, 3, 64, 64\]"):
        network(torch.zeros(1, 3, 64, 64, device="meta"))


# The detector.


def test_embeddings_are_the_plain_computation_over_published_weights(published, arcface):
    images = torch.randint(256, (2, 3, 112, 112), dtype=torch.uint8)
    actual = arcface.features(images)
    assert actual.dtype == torch.float32
    assert_close(actual, plain_embedding(published[1], images.float() / 255 * 2 - 1), 1e-4)


def test_larger_faces_are_cropped_and_averaged(arcface):
    """Of 256 px: the 188 that pSp looks at, by slow averages."""
    images = torch.rand(1, 3, 256, 256, requires_grad=True) * 255
    region = images[:, :, 35:223, 32:220]
    bounds = [(i * 188 // 112, -(-(i + 1) * 188 // 112)) for i in range(112)]
    rows = torch.stack([region[:, :, low:high].mean(2) for low, high in bounds], 2)
    expected = torch.stack([rows[..., low:high].mean(3) for low, high in bounds], 3)
    assert_close(face_region(images), expected, 1e-6)
    embedding = arcface.features(images)
    assert_close(embedding, arcface.features(expected.detach()), 1e-4)
    (gradient,) = torch.autograd.grad(embedding[:, 0].sum(), images)
    assert torch.isfinite(gradient).all()
    seen = gradient[0].abs().amax(0).nonzero()
    assert seen.amin(0).tolist() == [35, 32] and seen.amax(0).tolist() == [222, 219]


@pytest.mark.parametrize(("side", "top", "left", "size"), [(512, 70, 64, 376), (1024, 140, 128, 752), (64, 9, 8, 47)])
def test_the_region_scales_with_the_side(side, top, left, size):
    images = torch.zeros(1, 1, side, side)
    images[:, :, top : top + size, left : left + size] = 1
    assert face_region(images).min() == 1
    inner = images.clone()
    inner[:, :, top + 1 : top + size - 1, left + 1 : left + size - 1] = 0
    edges = face_region(inner)[0, 0]
    assert min(edges[0].min(), edges[-1].min(), edges[:, 0].min(), edges[:, -1].min()) > 0


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 8, 31, 111, 113])
def test_the_region_lies_within_images_of_any_size(side):
    assert_close(face_region(torch.ones(1, 3, side, side)), torch.ones(1, 3, 112, 112), 1e-6)


def test_faces_of_the_networks_size_stay():
    images = torch.rand(1, 3, 112, 112)
    assert torch.equal(face_region(images), images)


def test_gray_faces_are_repeated(arcface):
    gray = torch.rand(1, 1, 112, 112) * 255
    assert_close(arcface.features(gray), arcface.features(gray.repeat(1, 3, 1, 1)), 1e-6)


def test_detector_names_its_file(published, arcface):
    path = published[0].path("arcface")
    assert arcface.name == "arcface" and arcface.sha256 == {path.name: sha256(path)}
    assert arcface.resize.startswith("rows 35..223 and columns 32..220 of 256, scaled with the side, to 112x112 by")
    assert arcface.probabilities is None


def test_distances_are_those_of_the_stages_and_of_the_embedding(arcface):
    a, b = torch.rand(2, 1, 3, 112, 112) * 255
    same, found, turned = arcface.distances(torch.cat([a, a, b]), torch.cat([a, b, a]))
    of_embedding = 1 - similarity(*arcface.features(torch.cat([a, b])).split(1))
    assert same.abs() < 1e-5 and of_embedding < found <= 10
    assert_close(found, turned, 1e-4)


def test_faces_that_are_not_square_are_refused():
    with pytest.raises(UserError, match=r"^ArcFace needs aligned, square faces, not 20x10 pixels; crop them"):
        face_region(torch.zeros(1, 3, 10, 20))


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        ({"input_layer.0.weight": torch.zeros(64, 3, 7, 7)}, "has shape [64, 3, 7, 7] instead of [64, 3, 3, 3]"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "it has no input_layer.0.weight"),
    ],
)
def test_another_network_is_refused(state, wrong, tmp_path):
    path = tmp_path / published_file("arcface").filenames[0]
    torch.save(state, path)
    with pytest.raises(UserError) as caught:
        load_detector("arcface", WeightsDirectory(tmp_path), torch.device("cpu"))
    message = str(caught.value)
    assert message.startswith(f"{path} is not ArcFace with IR-SE-50 as published, ") and wrong in message


# Similarity.


def test_similarity_is_the_cosine_of_the_angle():
    angles = torch.tensor([0.0, 0.3, math.pi / 2, 2.0, math.pi])
    a = torch.tensor([[2.0, 0.0]]).expand(5, 2)
    b = 7 * torch.stack([angles.cos(), angles.sin()], 1)
    assert_close(similarity(a, b), angles.cos(), 1e-6)


def test_similarity_stays_within_its_range():
    a = torch.randn(1000, 512)
    assert similarity(a, a).max() <= 1 and similarity(a, -a).min() >= -1
    assert_close(similarity(a, a), torch.ones(1000), 1e-6)
    with pytest.raises(AssertionError, match="shapes"):
        similarity(a, a[:1])


def test_identity_consistency_is_equation_1():
    """N + 1 frames, N terms: the first frame is not compared with itself."""
    frames = F.normalize(torch.randn(6, 512) + 2 * torch.randn(512))
    total = 0.0
    for i in range(1, 6):
        total += sum(float(x) * float(y) for x, y in zip(frames[i], frames[0], strict=True))
    assert identity_consistency(frames) == pytest.approx(total / 5, rel=1e-5)
    assert identity_consistency(3 * frames) == pytest.approx(total / 5, rel=1e-5)


def test_identity_consistency_depends_on_the_first_frame_only():
    frames = torch.eye(4)
    frames[0] = frames[1]
    assert identity_consistency(frames) == pytest.approx(1 / 3)
    assert identity_consistency(frames[[0, 3, 2, 1]]) == pytest.approx(1 / 3)
    assert identity_consistency(frames.flip(0)) == 0
    assert identity_consistency(torch.ones(3, 8)) == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 1])
def test_a_video_has_at_least_two_frames(count):
    with pytest.raises(UserError, match=f"not {count} alone; give at least 2$"):
        identity_consistency(torch.ones(count, 512))
