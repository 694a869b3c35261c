"""NaN and infinity in what is saved: nested dicts and lists of tensors and numbers."""

import math
from typing import Any

import torch
from torch import Tensor

from torch_utils.checksums import named_leaves


def first_not_finite(content: Any) -> str | None:
    """Return the place of the first NaN or infinity, such as `trainer.optimizer_g.state[3].exp_avg`; None without any.

    Each device is waited for once.
    """
    tensors: list[tuple[str, Tensor]] = []
    for name, leaf in named_leaves(content).items():
        if isinstance(leaf, Tensor):
            if leaf.is_floating_point() and leaf.numel() > 0:
                tensors.append((name, leaf.detach()))
        elif isinstance(leaf, float) and not math.isfinite(leaf):
            return name
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors:
        by_device.setdefault(tensor.device, []).append((name, tensor))
    for named in by_device.values():
        for (name, _), is_finite in zip(named, _are_finite([tensor for _, tensor in named]), strict=True):
            if not is_finite:
                return name
    return None


def _are_finite(tensors: list[Tensor]) -> list[bool]:
    """Return for each of a device's tensors whether all of its elements are finite.

    The extremes say so in one pass without a copy: NaN takes part in them.
    """
    extremes = [extreme for tensor in tensors for extreme in torch.aminmax(tensor)]
    return torch.isfinite(torch.stack(extremes)).view(-1, 2).all(dim=1).tolist()
