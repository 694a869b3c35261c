"""What a network has at each resolution: feature maps, number type."""

import math

import torch

from networks.config import PrecisionConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Return the number of feature maps at a resolution."""
    return max(1, min(channel_base // resolution, channel_max))


def block_dtype(resolution: int, img_resolution: int, precision: PrecisionConfig) -> torch.dtype:
    """Return the type in which the block of `resolution` computes."""
    distance = int(math.log2(img_resolution // resolution))  # 0 for the highest
    return DTYPES[precision.dtype] if distance < precision.blocks else torch.float32


def resolutions(img_resolution: int) -> list[int]:
    """Return 4, 8, ..., img_resolution."""
    assert img_resolution >= 4 and img_resolution & (img_resolution - 1) == 0, f"{img_resolution} is no power of two"
    return [2**i for i in range(2, int(math.log2(img_resolution)) + 1)]
