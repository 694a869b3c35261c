"""The small classifier behind the embedded detector.

Its form is that of networks made for short training (Page 2018, "How to train your ResNet"; Jordan 2024, "94% on
CIFAR-10 in 3.29 seconds on a single GPU"): a fixed whitening of patches, then six convolutions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fusion

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PATCH = 2  # side of the whitened patches
WIDTHS = (2 * 3 * PATCH**2, 64, 192, 224)  # channels of the whitening and of the three stages
# Mean and deviation of CIFAR-10's RGB pixels, in 0..255.
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
LOGIT_SCALE = 1 / 9


class Convolution(nn.Module):
    """3x3 convolution, 2x2 maximum pooling where `pooled`, normalisation, GELU.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        normalised: whether there is batch normalisation (with a learned mean, but no learned scale), as in training;
            the stored network has none.
        pooled: whether the sides are halved.
    """

    def __init__(self, in_channels: int, out_channels: int, normalised: bool, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not normalised)
        self.norm = nn.BatchNorm2d(out_channels, momentum=0.4) if normalised else nn.Identity()
        self.pooled = pooled
        if normalised:
            nn.init.dirac_(self.conv.weight[: min(in_channels, out_channels)].data)
            self.norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, out_channels, H, W]` for `x [N, in_channels, H, W]`; half of each side where it is pooled."""
        x = self.conv(x)  # [N, out_channels, H, W]
        if self.pooled:
            x = F.max_pool2d(x, 2)  # [N, out_channels, H / 2, W / 2]
        return F.gelu(self.norm(x))

    def fold(self) -> nn.Conv2d:
        """Return a convolution with bias in place of convolution and normalisation, whose scale is positive."""
        assert isinstance(self.norm, nn.BatchNorm2d), "there is no normalisation to fold"
        return fusion.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())


class CifarNetwork(nn.Module):
    """Ten-class classifier of 32x32 photos; being convolutional, it takes larger ones as well.

    Args:
        normalised: whether there is batch normalisation, as in training; the stored network has none.
    """

    def __init__(self, normalised: bool = False) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, WIDTHS[0], PATCH, bias=False).requires_grad_(False)
        self.stages = nn.ModuleList()
        for narrow, wide in zip(WIDTHS[:-1], WIDTHS[1:], strict=True):
            pair = [Convolution(narrow, wide, normalised, pooled=True), Convolution(wide, wide, normalised)]
            self.stages.append(nn.Sequential(*pair))
        self.head = nn.Linear(WIDTHS[-1], len(CLASSES), bias=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of whitening and stages, `[N, WIDTHS[l], ~H/2^l, ~W/2^l]`, for images float in 0..255."""
        x = F.gelu(self.whiten(standardize(images)))  # [N, WIDTHS[0], H - 1, W - 1]
        maps = [x]
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[N, 10]` for RGB images `[N, 3, H, W]`, float in 0..255."""
        return LOGIT_SCALE * self.head(self.maps(images)[-1].amax((2, 3)))

    @torch.no_grad()
    def set_whitening(self, images: Tensor) -> None:
        """Make the first layer give uncorrelated patches of unit variance, each with both signs."""
        patches = standardize(images).unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # [N, 3, H - 1, W - 1, PATCH, PATCH]
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2)  # [patches, 3 * PATCH^2]
        variances, vectors = torch.linalg.eigh(patches.T.double() @ patches.double() / len(patches))
        filters = (vectors / (variances + 5e-4).sqrt()).T.reshape(-1, 3, PATCH, PATCH)  # [3 * PATCH^2, 3, PATCH, PATCH]
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    @torch.no_grad()
    def unfold(self, stored: "CifarNetwork", images: Tensor) -> None:
        """Take over a stored network, to train it further: the means of normalisation are measured on some images."""
        self.load_state_dict(stored.state_dict(), strict=False)
        for ours, folded in zip(self.convolutions(), stored.convolutions(), strict=True):
            assert isinstance(ours.norm, nn.BatchNorm2d) and folded.conv.bias is not None, "one is stored, one is not"
            inputs = self._normalisation_inputs(ours, images)  # [N, C, H, W]
            ours.norm.bias.copy_(folded.conv.bias + inputs.mean((0, 2, 3)))

    def fold(self) -> "CifarNetwork":
        """Return the network for evaluation, its normalisation part of the convolutions."""
        stored = CifarNetwork(normalised=False)
        stored.load_state_dict(self.state_dict(), strict=False)
        for ours, folded in zip(self.convolutions(), stored.convolutions(), strict=True):
            folded.conv = ours.fold()
        return stored.eval()

    def convolutions(self) -> list[Convolution]:
        """Return the convolutions of the stages, in the order of the network."""
        return [module for module in self.modules() if isinstance(module, Convolution)]

    def _normalisation_inputs(self, convolution: Convolution, images: Tensor) -> Tensor:
        """Return what the normalisation after a convolution is given in a training pass over images."""
        inputs: list[Tensor] = []
        hook = convolution.norm.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        self.train().maps(images)
        hook.remove()
        return inputs[0]


def standardize(images: Tensor) -> Tensor:
    """Return images `[N, 3, H, W]` in 0..255 with CIFAR-10's channels at mean 0 and deviation 1."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def load_stored(network: CifarNetwork, tensors: dict[str, Tensor]) -> CifarNetwork:
    """Fill a network from tensors of half precision."""
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.eval().requires_grad_(False)


def predict(network: CifarNetwork, images: Tensor, mirrored: bool = True) -> Tensor:
    """Return class numbers `[N]` of uint8 images, in batches; `mirrored`: from the logits of image and mirror image."""
    classes = []
    with torch.no_grad():
        for batch in images.float().split(500):
            logits = network(batch) + network(batch.flip(3)) if mirrored else network(batch)  # [N, 10]
            classes.append(logits.argmax(1))
    return torch.cat(classes)
