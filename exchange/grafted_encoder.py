"""The network for q of one encoder beside the content of another, for the same network."""

from typing import Any

from torch import Tensor

from dnnlib.errors import UserError
from inversion.encoders.files import FRESH_QUALITY, PREFIX, read_encoder_config, read_encoder_header
from torch_utils.checkpoint import load_tensors

QUALITY = PREFIX + FRESH_QUALITY
# Parts of the configuration that both networks of an encoder share; what reads traces shares nothing.
SHARED = {"images": ("backbone", "heads", "input_size", "slope", "align_corners"), "traces": ()}
SHAPE = ("resolution", "channels", "q_dim")  # numbers of the inverted network that the network for q depends on


def graft_encoder(quality: str, content: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of an encoder with the network for q of the first file, else the second's.

    Raises UserError for a file that is no encoder, a first one that tells no q, and two that differ in what both
    networks of an encoder share, or in the shape of the network that they are for.
    """
    header, of_content = read_encoder_header(quality), read_encoder_header(content)
    ours, theirs = read_encoder_config(quality), read_encoder_config(content)
    given = {name: tensor for name, tensor in load_tensors(quality).items() if name.startswith(QUALITY)}
    if not given:
        raise UserError(f"{quality} has no network for q to give; give the encoder that has one first")
    for name in SHARED[ours.q_input]:
        own, other = getattr(ours, name), getattr(theirs, name)
        if own != other:
            raise UserError(
                f"{quality} and {content} differ in encoder.{name} ({own}, {other}); train q anew by --quality-only"
            )
    for name in SHAPE:
        own, other = ((each.get("network") or {}).get(name) for each in (header, of_content))
        if own != other:
            cure = "train q anew by --quality-only"
            if not other:
                cure = "give that one to the network with a quality code first, by exchange.slim --for-network"
            raise UserError(f"{quality} is for a network with {name} {own}, {content} for one with {other}; {cure}")
    kept = {name: tensor for name, tensor in load_tensors(content).items() if not name.startswith(QUALITY)}
    encoder = {**of_content["encoder"], "q_width": ours.q_width, "q_input": ours.q_input}
    trained = header.get("quality_kimg") or header.get("kimg")
    return kept | given, {**of_content, "encoder": encoder, "quality_kimg": trained}
