"""Passes whose derivative is taken once, which is all that `torch.compile` can take: R1 and path lengths stay eager."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from networks.generators.interface import Content, Generator, Noise
from networks.latents import Latents

P = ParamSpec("P")
T = TypeVar("T")


def first_order(function: Callable[P, T], compiled: bool) -> Callable[P, T]:
    """Return `function`, compiled at its first call with each kind of arguments if that is wanted."""
    return torch.compile(function, dynamic=False) if compiled else function


class GeneratorPasses:
    """The passes of `Synthesis` that first-order phases use, perhaps compiled."""

    def __init__(self, G: Generator, compiled: bool):
        synthesis = G.synthesis
        self.trunk_blocks = synthesis.trunk_blocks
        self._content = first_order(synthesis.content, compiled)
        self._image = first_order(synthesis.image, compiled)
        self._twins = first_order(synthesis.twins, compiled)
        self._features = first_order(synthesis.features, compiled)

    def content(self, ws: Tensor, noise: Noise, blocks: int | None = None) -> Content:
        """Return the state after the first `blocks` blocks (None: the trunk) for `ws [N, num_ws, w_dim]`."""
        return self._content(Latents(ws), noise, blocks)

    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        """Return sharp images `[N, C, R, R]`, or with `q [N, q_dim]` degraded ones."""
        return self._image(content, q)

    def twins(self, content: Content, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return sharp and degraded images `[2 N, C, R, R]`, and the features of both."""
        return self._twins(content, q)

    def features(self, content: Content) -> list[Tensor]:
        """Return the features of the remaining blocks for sharp images."""
        return self._features(content)
