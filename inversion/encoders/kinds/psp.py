"""pSp: w alone (Richardson et al. 2021, "Encoding in Style")."""

from collections.abc import Sequence

from inversion.encoders.config import EncoderNetworkConfig
from networks.generators.interface import Generator

DEFAULTS: dict[str, str] = {}  # fields of the training that are about this kind alone, and their defaults
BASELINE: dict[str, str] = {}  # fields of the training that all ablations begin with
ABLATIONS: dict[str, dict[str, str]] = {}  # name -> fields of the training that it changes


def build_head(config: EncoderNetworkConfig, G: Generator, width: int, sides: Sequence[int]) -> None:
    """Return None: nothing is predicted besides w."""
    return None
