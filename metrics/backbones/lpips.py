"""LPIPS v0.1: how different two images look (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features")."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError
from images.ranges import from_levels
from metrics.backbones.imagenet import AlexNet, Backbone, SqueezeNet, Vgg16, load_published, read_tensors
from metrics.detector import Detector, to_rgb
from metrics.weights.directory import WeightsDirectory

# The published file of the backbone, and its class, by the name that the heads are published under.
BACKBONES: dict[str, tuple[str, type[AlexNet | Vgg16 | SqueezeNet]]] = {
    "alex": ("alexnet", AlexNet),
    "vgg": ("vgg16", Vgg16),
    "squeeze": ("squeezenet", SqueezeNet),
}
# Mean and deviation of ImageNet's channels, for RGB in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10  # added to the length of a vector of features before dividing by it


def perceptual_distance(
    maps_a: Sequence[Tensor], maps_b: Sequence[Tensor], weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Return the distance `[N]` between the layers' outputs for two batches (Eq. 1 of the paper).

    At each position the vectors of channels are scaled to length 1; their squared differences are weighed by
    channel, added up, averaged over positions, and added up over layers.

    Args:
        maps_a: output of each layer for the first batch, `[N, C_l, H_l, W_l]`.
        maps_b: output of each layer for the second batch; a batch of one is compared with all of the other.
        weights: weights of each layer's channels, `[1, C_l, 1, 1]`; None: 1 for every channel.
    """
    distances = []
    for layer, (a, b) in enumerate(zip(maps_a, maps_b, strict=True)):
        assert a.shape[1:] == b.shape[1:], f"layer {layer} has maps of shapes {list(a.shape)} and {list(b.shape)}"
        squares = (_unit_length(a) - _unit_length(b)).square()  # [N, C_l, H_l, W_l]
        if weights is not None:
            squares = squares * weights[layer]
        distances.append(squares.sum(1).mean((1, 2)))  # [N]
    return sum(distances[1:], distances[0])


class Lpips(nn.Module):
    """LPIPS v0.1, frozen, in float32; gradients flow to the images.

    Args:
        backbone: network whose outputs are compared.
        heads: non-negative weights `[1, channels[l], 1, 1]`, one tensor a layer.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, heads: Sequence[Tensor]) -> None:
        super().__init__()
        assert [head.numel() for head in heads] == list(backbone.channels), "the heads are those of another backbone"
        self.backbone = backbone
        self.heads = nn.ParameterList(heads)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances `[N]` of images `[N, C, H, W]`, uint8 or float in 0..255, gray or RGB.

        Raises UserError for batches of different shapes, and as `features` does.
        """
        if a.shape != b.shape:
            raise UserError(
                f"LPIPS compares images of one size, not {list(a.shape)} with {list(b.shape)}; resize one of them"
            )
        return self.distance(self.features(a), self.features(b))

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the layers' outputs `[N, channels[l], H_l, W_l]`; those of a fixed image need computing only once.

        Raises UserError for images that are too small for the backbone.
        """
        height, width = images.shape[2:]
        smallest = self.backbone.smallest
        if min(height, width) < smallest:
            raise UserError(
                f"images of {width}x{height} pixels are too small for LPIPS with {self.backbone.name}; "
                f"give at least {smallest}x{smallest}"
            )
        return self.backbone.maps((from_levels(to_rgb(images)) - self.shift) / self.scale)

    def distance(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> Tensor:
        """Return distances `[N]` between two outputs of `features`; one image may be compared with N."""
        return perceptual_distance(features_a, features_b, list(self.heads))


def load_lpips(variant: str, weights: WeightsDirectory, device: torch.device | str = "cpu") -> Lpips:
    """Return LPIPS with the backbone `alex`, `vgg` or `squeeze`; raise UserError for missing or wrong files."""
    name, network = BACKBONES[variant]
    backbone = load_published(network(), weights.path(name), network.name)
    shapes = {f"lin{layer}.model.1.weight": (1, width, 1, 1) for layer, width in enumerate(network.channels)}
    heads = read_tensors(weights.path(f"lpips_{variant}"), shapes, f"LPIPS for {network.name}")
    return Lpips(backbone, list(heads.values())).to(device)


def lpips_detector(variant: str, weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector `lpips_VARIANT`, which gives distances; raise UserError as `load_lpips` does."""
    return Detector(
        name=f"lpips_{variant}",
        resize="none",
        sha256=weights.sha256(BACKBONES[variant][0]) | weights.sha256(f"lpips_{variant}"),
        distances=load_lpips(variant, weights, device),
    )


def _unit_length(maps: Tensor) -> Tensor:
    """Scale `[N, C, H, W]` to length 1 over channels; where all are zero, so are the result and its gradient."""
    squares = maps.square().sum(1, keepdim=True)
    length = torch.where(squares > 0, squares, 1).sqrt()  # the root has no slope at zero
    return maps * torch.where(squares > 0, 1 / (length + EPSILON), 0)
