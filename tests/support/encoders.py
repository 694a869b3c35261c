"""Encoders for tests: tiny ones that nobody has trained."""

from dnnlib.files import sha256
from inversion.encoders.config import EncoderNetworkConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import save_encoder
from tests.support import small  # noqa: F401 - makes backbones shallow

TINY = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)


def write_encoder(path, G, network, config=TINY, **provenance):
    """Write an encoder for the generator in the file `network`; return the encoder."""
    encoder = build_encoder(config, G).eval()
    save_encoder(path, encoder, G, sha256(network), {"kimg": 0, **provenance})
    return encoder
