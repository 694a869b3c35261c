"""Face parsing: the published layout of BiSeNet's ResNet-18, and the distances of its layers."""

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import UserError
from metrics.backbones.bisenet import BiSeNet
from metrics.detector import load_detector
from metrics.detectors import parsing
from metrics.distances.layers import cosine_distance
from metrics.weights.directory import WeightsDirectory
from metrics.weights.published import published_file
from tests.support.tolerance import assert_close

CPU = torch.device("cpu")


def published_shapes():
    """Return the shapes that the published file has for the ResNet, by name."""

    def norm(name, channels):
        return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}

    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    widths = [64, 64, 128, 256, 512]
    for layer in range(1, 5):
        for block in range(2):
            inn, out = widths[layer] if block else widths[layer - 1], widths[layer]
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (out, inn, 3, 3), f"{name}.conv2.weight": (out, out, 3, 3)}
            shapes |= norm(f"{name}.bn1", out) | norm(f"{name}.bn2", out)
            if inn != out:
                shapes |= {f"{name}.downsample.0.weight": (out, inn, 1, 1)} | norm(f"{name}.downsample.1", out)
    return {f"cp.resnet.{name}": shape for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("parsing")
    state = {name: 0.05 * torch.randn(shape) for name, shape in published_shapes().items()}
    state |= {name: torch.rand(shape) + 0.5 for name, shape in published_shapes().items() if "running_var" in name}
    rest = {"ffm.conv1.weight": torch.randn(64, 256, 1, 1)}  # layers behind the ResNet, which are not used
    torch.save(state | rest, path / published_file("parsing").filenames[0])
    return WeightsDirectory(path)


def test_the_layout_is_the_published_one():
    with torch.device("meta"):
        state = BiSeNet().state_dict()
        maps = BiSeNet().maps(torch.empty(1, 3, 512, 512))
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert shapes == published_shapes()
    assert [tuple(each.shape[1:]) for each in maps] == [
        *((64, 128, 128), (64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16))
    ]


def test_distances_of_faces(weights):
    detector = load_detector("parsing", weights, CPU)
    a, b = torch.rand(2, 1, 3, 64, 64) * 255
    assert detector.distances(a, a).abs().max() < 1e-3
    a.requires_grad_()
    found = detector.distances(a, b)
    (gradient,) = torch.autograd.grad(found.sum(), a)
    assert found.shape == (1,) and 0 < found.item() <= 10 and gradient.any()


def test_larger_images_are_brought_down_by_area():
    images = torch.rand(1, 3, 512, 512) * 255
    larger = F.interpolate(images, size=1024, mode="nearest")
    assert_close(parsing._prepare(larger), parsing._prepare(images), 1e-5)


def test_missing_weights_are_named_with_where_to_get_them():
    with pytest.raises(UserError, match="79999_iter.pth is not in any directory of weights"):
        load_detector("parsing", WeightsDirectory(None), CPU)


def test_cosine_distances_of_layers_are_added():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    assert cosine_distance([a, b], [2 * a, 3 * b]).abs().max() < 1e-6
    assert_close(cosine_distance([a, b], [-a, b]), torch.full((2,), 2.0))
