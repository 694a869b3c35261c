"""Which configuration the tensors of a CREPS generator belong to."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from networks.config import CrepsConfig, GeneratorConfig, MappingConfig
from networks.files import ImageFormat
from networks.generators.coordinates import line
from networks.published.architecture import block_sides, channels_of, latent_widths, mapping_layers, shape_of
from networks.published.contents import NetworkContent

FREQUENCIES = "synthesis.b4.input.freqs"
COORDINATES = "synthesis.b4.input.coords"
UNUSED = ("synthesis.b4.tores.", "synthesis.decoder_8.")  # the first block adds nothing to the lines that are fused


def is_creps(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are a CREPS generator's, by its names."""
    return FREQUENCIES in tensors


def creps_content(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> NetworkContent:
    """Return a generator's content without the tensors that its computations never use."""
    unused = tuple(name for name in tensors if name.startswith(UNUSED))
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    return NetworkContent(used, dict(settings), unused)


def creps_architecture(tensors: Mapping[str, Tensor]) -> tuple[GeneratorConfig, ImageFormat]:
    """Return the configuration of a generator with decoders, with defaults where shapes tell nothing.

    Raises UserError, a sentence without its subject, where a tensor is missing, and for coordinates that no network of
    this program has.
    """
    sides = block_sides(tensors, "synthesis.")
    widths = {side: shape_of(tensors, f"synthesis.b{side}.fc1.weight", 2)[0] for side in sides}
    img_channels, lines_channels = shape_of(tensors, "synthesis.decoder_img.weight", 2)
    both_thick = shape_of(tensors, "synthesis.b4.input.weight", 4)[3]
    z_dim, w_dim, c_dim = latent_widths(tensors)
    side, pixel_centred = _grid(tensors)
    base, largest = channels_of(widths)
    config = GeneratorConfig(
        kind="creps",
        z_dim=z_dim,
        w_dim=w_dim,
        channel_base=base,
        channel_max=largest,
        mapping=MappingConfig(num_layers=mapping_layers(tensors), w_avg_beta=0.998),
        creps=CrepsConfig(
            channels=lines_channels,
            thickness=both_thick // 2,
            pixel_centred=pixel_centred,
            last_block=None if side == sides[-1] else sides[-1],
        ),
    )
    return config, ImageFormat(side, img_channels, c_dim)


def _grid(tensors: Mapping[str, Tensor]) -> tuple[int, bool]:
    """Return the side of the images, and whether their pixels' centres lie within [0, 1] by half a pixel."""
    side = shape_of(tensors, COORDINATES, 4)[1]
    coords = tensors[COORDINATES][0, :, :, 0]  # [R, 2]
    for pixel_centred in (False, True):
        known = line(side, pixel_centred=pixel_centred)[:, None].expand(-1, 2)
        if coords.shape == known.shape and torch.allclose(coords, known, atol=1e-5):
            return side, pixel_centred
    raise UserError(
        f"has other coordinates in {COORDINATES} than pixels from 0 to 1; it was trained on a part of images"
    )
