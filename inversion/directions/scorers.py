"""Scorers of images: simple measures, the embedded classifier, and networks in TorchScript."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.jit import ScriptModule

from dnnlib.errors import UserError, counted, unknown_name
from images.colour import LUMA
from images.ranges import to_levels
from metrics.backbones.cifar import CLASSES, CifarNetwork, load_stored
from metrics.detectors.cifar import WEIGHTS
from torch_utils.checkpoint import load_tensors
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly

CIFAR_SIDE = 32  # side of the images that the embedded classifier was trained on; larger images are shrunk

Scorer = Callable[[Tensor], Tensor]  # float images [N, 1 or 3, H, W] in [-1, 1] -> [N]


@dataclass(frozen=True)
class Measure:
    """A scorer that needs no file.

    Attributes:
        description: description in a few words.
        function: function of images `[N, 3, H, W]` in [-1, 1] to scores `[N]`.
    """

    description: str
    function: Scorer


def luma(images: Tensor) -> Tensor:
    """Return the brightness of each pixel, `[N, H, W]`, 0..1."""
    weights = torch.tensor(LUMA, device=images.device)[:, None, None]
    return ((images.clamp(-1, 1) + 1) / 2 * weights).sum(1)


def brightness(images: Tensor) -> Tensor:
    """Return the mean of the luma, 0..1."""
    return luma(images).mean((1, 2))


def contrast(images: Tensor) -> Tensor:
    """Return the standard deviation of the luma, 0..0.5."""
    return luma(images).flatten(1).std(1, correction=0)


def detail(images: Tensor) -> Tensor:
    """Return the mean difference of the luma between neighbours, 0..1: low for blurred images, high for noisy ones."""
    y = luma(images)
    return (y.diff(dim=1).abs().mean((1, 2)) + y.diff(dim=2).abs().mean((1, 2))) / 2


def warmth(images: Tensor) -> Tensor:
    """Return the mean of red minus blue, -1..1."""
    rgb = images.clamp(-1, 1) / 2
    return (rgb[:, 0] - rgb[:, 2]).mean((1, 2))


def saturation(images: Tensor) -> Tensor:
    """Return the mean difference between the largest and the smallest of red, green and blue, 0..1."""
    rgb = images.clamp(-1, 1) / 2
    return (rgb.amax(1) - rgb.amin(1)).mean((1, 2))


MEASURES = {
    "brightness": Measure("mean luma", brightness),
    "contrast": Measure("standard deviation of the luma", contrast),
    "detail": Measure("mean difference of the luma between neighbours", detail),
    "warmth": Measure("mean of red minus blue", warmth),
    "saturation": Measure("mean of the largest minus the smallest of red, green and blue", saturation),
}
CIFAR = {f"cifar-{name}": f"log-odds of '{name}' by the embedded classifier" for name in CLASSES}


def descriptions() -> dict[str, str]:
    """Return the descriptions of all scorers that need no file, by name."""
    return {name: measure.description for name, measure in MEASURES.items()} | CIFAR


def load_scorer(text: str, device: torch.device) -> tuple[str, Scorer]:
    """Return name and function of a scorer: a known name, or a file `FILE.pt`, or `FILE.pt#3`.

    A file is a network in TorchScript that takes RGB images, float32 `[N, 3, H, W]` in [-1, 1] at the generator's
    resolution, and returns scores `[N]` or `[N, 1]`, or `[N, K]`, of which the number after # is taken.

    Raises UserError for an unknown name, and for a file that is damaged, or more than a network.
    """
    if text in MEASURES:
        return text, lambda images: MEASURES[text].function(images.expand(-1, 3, -1, -1))
    if text in CIFAR:
        network = load_stored(CifarNetwork(), load_tensors(WEIGHTS)).to(device)
        return text, partial(_log_odds, network, CLASSES.index(text.removeprefix("cifar-")))
    match = re.fullmatch(r"(.+\.(?:pt|pth|jit|ts))(?:#(\d+))?", text)
    if not match:
        raise unknown_name("scorer", text, [*descriptions(), "FILE.pt"])
    path = Path(match[1])
    column = None if match[2] is None else int(match[2])
    name = path.stem if column is None else f"{path.stem}-{column}"
    return name, partial(_network_scores, load_torchscript(path, device), column, text)


def _log_odds(network: CifarNetwork, index: int, images: Tensor) -> Tensor:
    """Return the log-odds `[N]` of a class; unlike probabilities, they differ even where the classifier is certain."""
    sides = [min(side, CIFAR_SIDE) for side in images.shape[2:]]
    images = F.interpolate(images, size=sides, mode="area").expand(-1, 3, -1, -1)
    logits = network(to_levels(images.clamp(-1, 1)))  # [N, classes]
    others = [other for other in range(len(CLASSES)) if other != index]
    return logits[:, index] - logits[:, others].logsumexp(1)


def _network_scores(module: ScriptModule, column: int | None, text: str, images: Tensor) -> Tensor:
    """Return the scores `[N]` of images by a network in TorchScript; raise UserError where it returns others."""
    try:
        scores = run_exactly(module, images.expand(-1, 3, -1, -1))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{text} cannot look at images of shape {list(images.shape)} ({reason})") from error
    shape = list(scores.shape) if isinstance(scores, Tensor) else [type(scores).__name__]
    if shape in ([len(images)], [len(images), 1]) and column in (None, 0):
        return scores.float().reshape(-1)
    if len(shape) == 2 and shape[0] == len(images) and column is not None and column < shape[1]:
        return scores[:, column].float()
    raise UserError(
        f"{text} gives {shape} for {counted(len(images), 'image')}; choose one score an image, such as FILE.pt#0"
    )
