"""GANSpace (Härkönen et al., GANSpace: Discovering Interpretable GAN Controls, NeurIPS 2020), in W."""

import torch

from dnnlib.config import require
from inversion.directions.direction import Direction, normalise
from inversion.directions.methods.sefa import fix_sign
from inversion.directions.search import Search
from inversion.directions.w_samples import draw_w, std_along
from networks.generators.interface import Generator


def find(G: Generator, search: Search) -> list[Direction]:
    """Return the principal axes of sampled w by falling variance; `details` hold each one's share of the variance."""
    most = min(G.w_dim, search.samples - 1)
    require(search.count <= most, "-k", search.count, f"at most {most}, by the width of w and by --samples")
    w = draw_w(G, search.samples, search.class_index).cpu()
    covariance = torch.cov(w.double().T)  # [w_dim, w_dim]
    values, vectors = torch.linalg.eigh(covariance)  # ascending, [w_dim] and [w_dim, w_dim]
    directions = []
    for index in range(search.count):
        vector = normalise(fix_sign(vectors[:, -1 - index]))
        share = (values[-1 - index] / values.sum()).item()
        details = {"explained": share, "samples": search.samples}
        directions.append(
            Direction(vector, std_along(vector, w), f"pca-{index}", "pca", search.layers, details=details)
        )
    return directions
