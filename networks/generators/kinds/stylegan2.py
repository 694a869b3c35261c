"""StyleGAN2, and QC-StyleGAN where the configuration has a quality code."""

from dnnlib.errors import UserError
from networks.config import GeneratorConfig
from networks.generators import qc_stylegan, stylegan2
from networks.generators.interface import Generator


def build(config: GeneratorConfig, c_dim: int, img_resolution: int, img_channels: int) -> Generator:
    """Return a generator with fresh weights; raise UserError for a configuration that is of another kind."""
    if config.creps is not None:
        raise UserError("generator.creps is set, and generator.kind is stylegan2; set generator.kind=creps")
    module = stylegan2 if config.quality is None else qc_stylegan
    return module.Generator(config, c_dim, img_resolution, img_channels)
