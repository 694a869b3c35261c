"""Passes whose derivative is taken once, which is all that `torch.compile` can take: R1 and path lengths stay eager."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from networks.generators.stylegan2 import Generator


def first_order(function: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    """Return `function`, compiled at its first call with each kind of arguments if that is wanted."""
    return torch.compile(function, dynamic=False) if compiled else function


class GeneratorPasses:
    """What the first-order phases run of a generator, and of its teacher where there is one."""

    def __init__(self, G: Generator, teacher: nn.Module | None, compiled: bool):
        self.synthesis = first_order(G.synthesis.forward, compiled)
        if G.config.quality is not None:
            self.trunk = first_order(G.synthesis.trunk, compiled)
            self.finish = first_order(G.synthesis.finish, compiled)
        if teacher is not None:
            self.teacher = first_order(teacher.synthesis.run, compiled)
