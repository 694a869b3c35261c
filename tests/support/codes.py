"""Codes for tests, as an encoder of paddings and features would find them."""

import torch

from networks.latents import Latents


def full_codes(G, count=2, layer=3, parts=("padding", "features"), seed=0):
    """Return random codes with a quality code where the network has one, paddings of all conv1, and features."""
    rng = torch.Generator().manual_seed(seed)
    shapes = G.code_shapes()
    names = [name for name in shapes if name in ("ws", "q")]
    if "padding" in parts:
        names += [name for name in shapes if name == "padding.const" or name.endswith("conv1")]
    if "features" in parts:
        names.append(f"features.{layer}")
    return Latents.from_tensors({name: torch.randn(count, *shapes[name], generator=rng) for name in names})


def same_bits(a, b):
    """Return whether two batches of codes have the same tensors, bit for bit."""
    ours, theirs = a.tensors(), b.tensors()
    return ours.keys() == theirs.keys() and all(
        value.numpy().tobytes() == theirs[name].numpy().tobytes() for name, value in ours.items()
    )


def encoder_of(codes):
    """Return what an encoder's `forward` may be replaced by: the codes of the first images, whatever they show."""
    return lambda images: codes[: len(images)]
