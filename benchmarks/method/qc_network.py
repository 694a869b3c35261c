"""Networks of benchmarks that measure what a quality code does."""

import torch

from dnnlib.errors import UserError
from networks.files import load
from networks.generators.interface import Generator


def load_qc(path: str, device: torch.device) -> Generator:
    """Return the QC generator of a network file; raise UserError for a plain one, and as `networks.files.load` does."""
    G = load(path, device)
    if G.q_dim == 0:
        raise UserError(f"{path} has no quality code; give a network of mode qc")
    return G
