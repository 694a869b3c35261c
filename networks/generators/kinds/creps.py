"""CREPS, with DegradBlocks on its refinement where the configuration has a quality code."""

import dataclasses

from networks.config import CrepsConfig, GeneratorConfig
from networks.generators.creps.generator import Generator


def build(config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int) -> Generator:
    """Return a generator with fresh weights, whose configuration has all fields of this kind."""
    config = dataclasses.replace(config, creps=config.creps or CrepsConfig())
    return Generator(config, c_dim, img_resolution, img_channels)
