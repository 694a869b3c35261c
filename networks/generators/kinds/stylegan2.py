"""StyleGAN2, and QC-StyleGAN where the configuration has a quality code."""

from networks.config import GeneratorConfig
from networks.generators import qc_stylegan, style_injection, stylegan2, z_injection
from networks.generators.interface import Generator


def build(config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int) -> Generator:
    """Return a generator with fresh weights."""
    if config.quality is None:
        return stylegan2.Generator(config, c_dim, img_resolution, img_channels)
    module = {"degrad_block": qc_stylegan, "concat_z": z_injection}.get(config.quality.injection, style_injection)
    return module.Generator(config, c_dim, img_resolution, img_channels)
