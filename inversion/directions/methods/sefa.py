"""SeFa (Shen & Zhou, Closed-Form Factorization of Latent Semantics in GANs, CVPR 2021)."""

import torch
from torch import Tensor

from dnnlib.config import require
from inversion.directions.direction import Direction, normalise
from inversion.directions.search import Search
from inversion.directions.w_samples import draw_w, std_along
from networks.generators.interface import Generator


def find(G: Generator, search: Search) -> list[Direction]:
    """Return the unit vectors `n` with the largest |A n|: eigenvectors of A^T A (Eqs. 4-6), orthogonal to each other.

    A holds the style weights of all layers that the chosen `ws` drive; w are sampled only for the unit of strength.
    """
    require(search.count <= G.w_dim, "-k", search.count, f"at most {G.w_dim}, the width of this network's w")
    A = style_weights(G, search.layers).double().cpu()  # [styles, w_dim]
    values, vectors = torch.linalg.eigh(A.T @ A)  # ascending, [w_dim] and [w_dim, w_dim]
    w = draw_w(G, search.samples, search.class_index).cpu()
    directions = []
    for index in range(search.count):
        vector = normalise(fix_sign(vectors[:, -1 - index]))
        gain = values[-1 - index].clamp(min=0).sqrt().item()
        directions.append(
            Direction(vector, std_along(vector, w), f"sefa-{index}", "sefa", search.layers, details={"gain": gain})
        )
    return directions


def style_weights(G: Generator, layers: tuple[int, ...] | None) -> Tensor:
    """Return the affine weights that turn the chosen `ws` into styles, one below the other, `[styles, w_dim]`."""
    chosen = range(G.num_ws) if layers is None else layers
    return torch.cat([weights for index, weights in G.synthesis.style_layers() if index in chosen])


def fix_sign(vector: Tensor) -> Tensor:
    """Return the vector or its opposite, so that its largest component is positive: an eigenvector has no sign."""
    return vector * vector[vector.abs().argmax()].sign()
