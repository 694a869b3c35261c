"""Published encoders of pSp, read as data: IR-SE-50 with a head for each w, photos of 256 px."""

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dnnlib.errors import UserError
from inversion.encoders.config import EncoderNetworkConfig
from inversion.encoders.encoder import Encoder
from inversion.encoders.heads import style_counts
from networks.generators.interface import Generator
from networks.published.contents import as_tensors, require_options, shown
from torch_utils.untrusted.pickles import Record
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "checkpoint of a pSp encoder"
CONFIG = EncoderNetworkConfig(backbone="ir_se50", q_width=0, space="w+", input_size=256, slope=0.01, align_corners=True)
_PREFIX = "encoder."
# Options that change what a checkpoint computes; the others are about its training.
_OPTIONS = {
    "encoder_type": ("GradualStyleEncoder",),
    "input_nc": (3,),
    "label_nc": (0,),
    "learn_in_w": (False,),
    "start_from_latent_avg": (True, False),
}


def is_encoder(content: Any) -> bool:
    """Return whether the content of a file is a checkpoint of an encoder."""
    state = content.get("state_dict") if isinstance(content, dict) else None
    return isinstance(state, dict) and f"{_PREFIX}input_layer.0.weight" in state


def read_encoder(file: InertFile, G: Generator, network: str | os.PathLike) -> Encoder:
    """Return the encoder in a checkpoint; it predicts w alone, and for a QC network q is fitted to each photo.

    Args:
        file: content of the checkpoint.
        G: generator that the codes are for.
        network: path of the file that G was loaded from.

    Raises UserError, a sentence without its subject, for an encoder for gray images or for another network, for tensors
    too many, too few or of another shape, and for options that this program's encoders do not have.
    """
    if G.img_channels != 3:
        raise UserError(f"is for RGB images, {network} makes images with {G.img_channels} channel")
    options = _options(file.content.get("opts"))
    require_options({name: options[name] for name in _OPTIONS if name in options}, _OPTIONS, ())
    state = file.content["state_dict"]
    _require_same_network(state, G, network)
    encoder = Encoder(CONFIG, G)
    tensors = {name: value for name, value in state.items() if name.startswith(_PREFIX)}
    _fill(encoder, as_tensors(tensors.items(), file.size), G.num_ws)
    if not options.get("start_from_latent_avg", True):
        encoder.w_avg.zero_()
    elif file.content.get("latent_avg") is not None:
        encoder.w_avg.copy_(_mean_w(file, G))
    return encoder.eval().requires_grad_(False)


def _options(opts: Any) -> Mapping[str, Any]:
    """Return the options of a checkpoint, stored as a dict or an argparse.Namespace; empty where there are none."""
    opts = opts.state if isinstance(opts, Record) else opts
    return opts if isinstance(opts, dict) else {}


def _require_same_network(state: Mapping[str, Any], G: Generator, network: str | os.PathLike) -> None:
    """Raise UserError when the checkpoint also holds a generator, and it is another one."""
    const = state.get("decoder.input.input")
    ours = G.synthesis.own_padding().const
    if isinstance(const, Tensor) and (ours is None or not torch.equal(const.float().flatten(), ours.cpu().flatten())):
        raise UserError(f"was trained for another network than {network}; import the generator within its `decoder`")


def _fill(encoder: Encoder, tensors: Mapping[str, Tensor], num_ws: int) -> None:
    """Load the tensors of a checkpoint into the network for w."""
    expected = encoder.content.state_dict()
    renamed = {}
    for name, tensor in tensors.items():
        ours = _name(name.removeprefix(_PREFIX), num_ws)
        if ours not in expected:
            raise UserError(f"has the tensor {shown(name)}, which an encoder for {num_ws} ws does not have")
        renamed[ours] = tensor
    for name, tensor in expected.items():
        if name not in renamed and name.endswith("num_batches_tracked"):
            renamed[name] = tensor  # files of older versions of torch lack it
        if name not in renamed:
            raise UserError(f"lacks a tensor for {name}, which an encoder for {num_ws} ws needs")
        if renamed[name].shape != tensor.shape:
            actual, wanted = list(renamed[name].shape), list(tensor.shape)
            raise UserError(f"has {actual} numbers for {name}, an encoder for this network needs {wanted}")
    encoder.content.load_state_dict(renamed)


def _name(name: str, num_ws: int) -> str | None:
    """Return this program's name for a tensor of the checkpoint, within the network for w; None where it has none."""
    if name.startswith(("input_layer.", "body.")):
        return f"backbone.{name}"
    if match := re.fullmatch(r"latlayer([12])\.(weight|bias)", name):
        return f"heads.laterals.{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"styles\.(\d{1,3})\.(convs\.\d{1,2}|linear)\.(weight|bias)", name):
        position = _head_position(int(match[1]), num_ws)
        return f"heads.heads.{position}.{match[2].replace('convs', 'halvings')}.{match[3]}"
    return None


def _head_position(style: int, num_ws: int) -> str | None:
    """Return LEVEL.INDEX of a style's head, among the heads of all levels; None where there is no such head."""
    for level, count in enumerate(style_counts(num_ws)):
        if style < count:
            return f"{level}.{style}"
        style -= count
    return None


def _mean_w(file: InertFile, G: Generator) -> Tensor:
    """Return the mean of w `[w_dim]`, which some checkpoints repeat for each layer."""
    average = as_tensors([("latent_avg", file.content["latent_avg"])], file.size)["latent_avg"]
    rows = average.reshape(-1, average.shape[-1]) if average.ndim else average
    if rows.shape[-1:] != (G.w_dim,) or not torch.equal(rows, rows[:1].expand_as(rows)):
        raise UserError(f"has a latent_avg of shape {list(average.shape)} that is no mean of w {[G.w_dim]}")
    return rows[0]
