"""Degradation transfer: new quality codes for content that stays as it is (paper, sections 3.5 and 4.8)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError, counted
from generation.quality_codes import seed_code
from networks.generators.interface import Generator
from networks.latents import Latents


def sample_quality(G: Generator, latents: Latents, seeds: Sequence[int], strength: float = 1.0) -> Latents:
    """Return the same content with new degradations, `q ~ N(0, I)` times `strength`.

    Seed 5 is the degradation of `generate.py --quality=seed:5`.

    Args:
        G: QC network.
        latents: codes of N images.
        seeds: one seed for all images, or N.
        strength: factor of the degradation; 0 gives sharp images.

    Raises UserError for a plain network, and for a strength that is not finite.
    """
    if G.q_dim == 0:
        raise UserError("this network is plain, without quality codes to sample; give a QC network")
    codes = torch.from_numpy(np.concatenate([seed_code(seed, G.q_dim) for seed in seeds]))
    return scale_quality(replace(latents, q=_repeat_codes(latents, codes)), strength)


def copy_quality(latents: Latents, reference: Latents, strength: float = 1.0) -> Latents:
    """Return the same content with the degradation of another photo, times `strength`.

    Args:
        latents: codes of N images.
        reference: codes of one image, or of N; sharp references give sharp images.
        strength: factor of the degradation; 0 gives sharp images.
    """
    if reference.q is None:
        return latents.sharp()
    return scale_quality(replace(latents, q=_repeat_codes(latents, reference.q)), strength)


def interpolate_quality(latents: Latents, start: Latents, end: Latents, alpha: float | Tensor) -> Latents:
    """Return the same content with the degradation `(1 - alpha) q_start + alpha q_end` (Fig. 6).

    Args:
        latents: codes of N images.
        start: codes of one image, or of N; where `alpha` is 0, the result has their degradation, bit for bit.
        end: codes of one image, or of N; where `alpha` is 1, the result has their degradation, bit for bit.
        alpha: share of the way for all images, or `[N]`, within [0, 1].

    Raises UserError for codes of different widths, and for `alpha` out of range.
    """
    alphas = torch.as_tensor(alpha, dtype=latents.ws.dtype, device=latents.ws.device).expand(len(latents))  # [N]
    outside = [value for value in alphas.tolist() if not 0 <= value <= 1]
    if outside:
        raise UserError(f"alpha is {outside[0]:g}, must be from 0 (the first degradation) to 1 (the second)")
    if start.q is None and end.q is None:
        return latents.sharp()
    first = _repeat_codes(latents, _codes_or_zeros(start, end))  # [N, q_dim]
    second = _repeat_codes(latents, _codes_or_zeros(end, start))  # [N, q_dim]
    _check_same_width(first, second)
    return replace(latents, q=torch.lerp(first, second, alphas[:, None]))


def scale_quality(latents: Latents, strength: float) -> Latents:
    """Return the same content with a degradation of another strength; 0 is sharp, 1 leaves it as it is."""
    if not math.isfinite(strength):
        raise UserError(f"the strength of the degradation is {strength}, must be finite; take for example 0.5")
    return latents if latents.q is None or strength == 1 else replace(latents, q=latents.q * strength)


def _codes_or_zeros(latents: Latents, other: Latents) -> Tensor:
    """Return the quality codes of `latents`; where they are sharp, zeros `[1, q_dim]` of the other's width."""
    if latents.q is not None:
        return latents.q
    assert other.q is not None, "one of the two has quality codes"
    return torch.zeros_like(other.q[:1])


def _repeat_codes(latents: Latents, codes: Tensor) -> Tensor:
    """Return quality codes `[1 or N, q_dim]` as codes of `latents`, `[N, q_dim]`."""
    if len(codes) not in (1, len(latents)):
        raise UserError(
            f"{len(codes)} degradations do not fit {counted(len(latents), 'image')}; give 1 or {len(latents)}"
        )
    if latents.q is not None:
        _check_same_width(latents.q, codes)
    return codes.to(latents.ws).expand(len(latents), -1).clone()


def _check_same_width(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"the quality codes have {a.shape[1]} and {b.shape[1]} numbers; take both from photos that were inverted "
            "with the same network"
        )
