"""Passes whose derivative is taken once: they may be compiled or graphed. R1 and path lengths stay eager."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from networks.generators.interface import Content, Generator, Noise
from networks.latents import Latents
from training.config import RunConfig
from training.passes.graphed import GraphedPass

P = ParamSpec("P")
T = TypeVar("T")


def first_order(function: Callable[P, T], network: nn.Module, run: RunConfig) -> Callable[P, T]:
    """Return `function`, compiled or graphed at its first call with each kind of arguments if the run wants that.

    Args:
        function: a pass of `network`, without random numbers of its own.
        network: network whose parameters the pass uses.
        run: says which.
    """
    if run.cuda_graphs == "passes":
        return cast(Callable[P, T], GraphedPass(function, network))
    return torch.compile(function, dynamic=False) if run.compile else function


class GeneratorPasses:
    """The passes of `Synthesis` that first-order phases use, perhaps compiled or graphed."""

    def __init__(self, G: Generator, run: RunConfig):
        synthesis = G.synthesis
        self.trunk_blocks = synthesis.trunk_blocks
        self._content = first_order(self._content_of, G, run)
        self._image = first_order(synthesis.image, G, run)
        self._twins = first_order(synthesis.twins, G, run)
        self._features = first_order(synthesis.features, G, run)
        self._synthesis = synthesis

    def content(self, ws: Tensor, noise: Noise, blocks: int | None = None) -> Content:
        """Return the state after the first `blocks` blocks (None: the trunk) for `ws [N, num_ws, w_dim]`."""
        blocks = self.trunk_blocks if blocks is None else blocks  # a plain network has none, and nothing to record
        return self._content(ws, noise, blocks) if blocks > 0 else self._content_of(ws, noise, 0)

    def image(self, content: Content, q: Tensor | None = None) -> Tensor:
        """Return sharp images `[N, C, R, R]`, or with `q [N, q_dim]` degraded ones."""
        return self._image(content, q)

    def twins(self, content: Content, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return sharp and degraded images `[2 N, C, R, R]`, and the features of both."""
        return self._twins(content, q)

    def features(self, content: Content) -> list[Tensor]:
        """Return the features of the remaining blocks for sharp images."""
        return self._features(content)

    def _content_of(self, ws: Tensor, noise: Noise, blocks: int) -> Content:
        return self._synthesis.content(Latents(ws), noise, blocks)
