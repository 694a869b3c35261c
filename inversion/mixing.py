"""Codes made of the codes of two images: style of one and space of the other, and what lies between them.

Style is `w`; space is what says where things are: paddings (Bai et al. 2022) and features (Yao et al. 2022).
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

import torch

from dnnlib.errors import UserError
from generation.rendering import stored_noise
from networks.generators.interface import Generator
from networks.latents import Features, Latents, Padding

Part = Literal["style", "space", "both"]
SPACE = ("padding.", "features.")  # beginnings of the names of codes in `Latents.tensors`


def has_space(latents: Latents) -> bool:
    """Return whether codes say anything of where things are but by `w`."""
    return latents.padding is not None or latents.features is not None


def with_padding(G: Generator, latents: Latents, names: Collection[str]) -> Latents:
    """Return the same images' codes with all paddings named, as `padding.const`; those missing are the network's own.

    The learned constant, and zeros around features, leave the images as they are.
    """
    missing = [name.removeprefix("padding.") for name in names if name.startswith("padding.")]
    missing = [name for name in missing if f"padding.{name}" not in latents.tensors()]
    if not missing:
        return latents
    own = G.synthesis.own_padding().tensors()
    ours = {} if latents.padding is None else latents.padding.tensors()
    added = {name: own[name].to(latents.ws).expand(len(latents), *own[name].shape[1:]) for name in missing}
    return replace(latents, padding=Padding.from_tensors(ours | added))


@torch.no_grad()
def with_space_of(G: Generator, latents: Latents, other: Latents) -> Latents:
    """Return the same images' codes with the paddings and features that `other` has; those missing are the network's.

    Raises UserError where both have features, of different layers.
    """
    latents = with_padding(G, latents, other.tensors())
    theirs, ours = other.features, latents.features
    if theirs is None:
        return latents
    if ours is None:
        values = G.synthesis.layer_output(latents, stored_noise(G, len(latents)), theirs.layer).to(latents.ws)
        return replace(latents, features=Features(values, theirs.layer, theirs.in_image))
    if (ours.layer, ours.in_image) != (theirs.layer, theirs.in_image):
        raise UserError(
            f"the codes of one image have features of layer {ours.layer}, those of the other of layer {theirs.layer}; "
            "find both with the same encoder"
        )
    return latents


def mix(style: Latents, content: Latents, layers: Iterable[int]) -> Latents:
    """Return codes with the style of one image and the space of another.

    Features stay as they are, without a correction (Yao et al. 2022, supplement 2.1); so do paddings (Bai et al. 2022,
    face blending). Quality codes are those of the content.

    Args:
        style: codes of N images.
        content: codes of N images.
        layers: numbers of the `ws` that come from the style.
    """
    chosen = torch.zeros(content.ws.shape[1], 1, dtype=torch.bool, device=content.ws.device)
    chosen[list(layers)] = True
    return replace(content, ws=torch.where(chosen, style.ws, content.ws))


def mean_codes(G: Generator) -> Latents:
    """Return the codes of the mean image, `w_avg` for every layer."""
    return Latents(G.mapping.w_avg.detach()[None, None].expand(1, G.num_ws, -1))


def between(G: Generator, start: Latents, end: Latents, part: Part, share: float) -> Latents:
    """Return codes in which `part` is at `share` of the way from one image's to another's; the rest is the start's.

    The ends are met exactly. What only one of two has of the space is the network's own in the other.

    Args:
        G: network of the codes.
        start: codes of N images.
        end: codes of N images.
        part: what changes: `style`, which is `w`; `space`, which is paddings and features; or both.
        share: share of the way, from 0 to 1.

    Raises UserError where there is no space to change, and for features of different layers.
    """
    if part == "space" and not (has_space(start) or has_space(end)):
        raise UserError(
            "these codes have neither paddings nor features, so that only their style can change; give an encoder of "
            "kind padding or feature-style, or --part=style"
        )
    changing = ("ws",) if part == "style" else SPACE if part == "space" else ("ws", *SPACE)
    if part != "style":
        start, end = with_space_of(G, start, end), with_space_of(G, end, start)
    codes, ends = start.tensors(), end.tensors()
    changed = {name: codes[name].lerp(ends[name], share) for name in codes if name.startswith(changing)}
    return Latents.from_tensors(codes | changed)
