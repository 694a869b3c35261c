"""Small networks for tests, and those of the reference numbers."""

import dataclasses

import torch

from networks.config import (
    CrepsConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    MappingConfig,
    PrecisionConfig,
    QualityConfig,
)
from networks.discriminator import Discriminator
from networks.files import ImageFormat, build_discriminator, build_generator, save_network
from networks.generators import qc_stylegan, stylegan2

SMALL = GeneratorConfig(z_dim=16, w_dim=16, channel_base=256, channel_max=16, mapping=MappingConfig(num_layers=2))
VARIANTS = ["paper", "paper+", "pixels", "released", "adain"]  # of DegradBlocks
# Parts of the names of parameters without which DegradBlocks have no effect at first, or less of one.
ZERO_AT_FIRST = ("convq", "to_image", "pixel_weight", "cells.out", "blur.weight", "degrade.mapping.layers.2")
SMALL_D = DiscriminatorConfig(channel_base=256, channel_max=16, mapping_layers=2)


def load_state(module, arrays):
    """Load the arrays called `state/NAME`, strictly."""
    names = [name for name in arrays.files if name.startswith("state/")]
    module.load_state_dict({name.removeprefix("state/"): torch.tensor(arrays[name]) for name in names}, strict=True)
    return module.eval()


def golden_generator(arrays, case, quality=None):
    synthesis = case["synthesis_kwargs"]
    config = GeneratorConfig(
        z_dim=case["z_dim"],
        w_dim=case["w_dim"],
        channel_base=synthesis["channel_base"],
        channel_max=synthesis["channel_max"],
        architecture=synthesis.get("architecture", "skip"),
        mapping=MappingConfig(num_layers=case["mapping_kwargs"]["num_layers"]),
        precision=PrecisionConfig(conv_clamp=synthesis.get("conv_clamp")),
        quality=quality,
    )
    module = stylegan2 if quality is None else qc_stylegan
    G = module.Generator(config, case["c_dim"], case["img_resolution"], case["img_channels"])
    return load_state(G, arrays)


def golden_discriminator(arrays, case):
    config = DiscriminatorConfig(
        channel_base=case["channel_base"],
        channel_max=case["channel_max"],
        architecture=case.get("architecture", "resnet"),
        mbstd_group_size=case.get("epilogue_kwargs", {}).get("mbstd_group_size", 4),
        precision=PrecisionConfig(conv_clamp=case.get("conv_clamp")),
    )
    D = Discriminator(config, case["c_dim"], case["img_resolution"], case["img_channels"])
    return load_state(D, arrays)


def small_generator(resolution=16, **changes):
    return stylegan2.Generator(dataclasses.replace(SMALL, **changes), 0, resolution, 3)


def small_creps(resolution=16, c_dim=0, creps=None, **changes):
    config = dataclasses.replace(SMALL, kind="creps", creps=creps or CrepsConfig(channels=4, thickness=3), **changes)
    return build_generator(config, ImageFormat(resolution, 3, c_dim)).eval().requires_grad_(False)


def quality_generator(
    variant="paper", resolution=16, blocks=2, architecture="skip", noise=0.5, zero_start=False, depth=3
):
    """A QC generator whose noise and DegradBlocks have an effect."""
    quality = QualityConfig(variant=variant, q_dim=4, channels=8, depth=depth, blocks=blocks)
    config = dataclasses.replace(SMALL, quality=quality, architecture=architecture)
    G = qc_stylegan.Generator(config, 0, resolution, 3).eval()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(noise)
            elif not zero_start and any(part in name for part in ZERO_AT_FIRST):
                parameter.normal_()
    return G


def conditional_generator(classes=3):
    return stylegan2.Generator(SMALL, classes, 16, 3).eval()


def write_network(path, G=None, streams=("sharp",), **provenance):
    """Write a network with discriminators that fit it, and return the path.

    The generator is the QC one of `quality_generator` where none is given. Of random numbers, none is used up.
    """
    with torch.random.fork_rng():
        torch.manual_seed(3)
        G = quality_generator() if G is None else G
        images = ImageFormat(G.img_resolution, G.img_channels, G.c_dim)
        discriminators = {stream: build_discriminator(SMALL_D, images) for stream in streams}
        save_network(path, G, discriminators, {"kimg": 0, **provenance})
    return path
