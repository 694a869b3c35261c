"""State dicts: read published files of weights as dicts of tensors; nothing in them can run code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dnnlib import limits
from dnnlib.errors import UserError, one_line
from dnnlib.reading import open_file, path_of_text
from torch_utils.untrusted.torch_files import read_inert

CURE = "copy or download it again"


def load_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of a file of torch.save, on the CPU, by name.

    A dict with the tensors under the key `state_dict` and other entries is unwrapped.
    Raises UserError for a file that is missing, damaged, or holds anything but finite tensors by name.
    """
    path = Path(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not _is_flat(state):
        raise UserError(f"{path} holds something else than tensors by name", "give the state dict of the network")
    require_finite(state, path)
    return dict(state)


def read_torch(path: str | os.PathLike) -> Any:
    """Return the content of a pickle or a file of torch.save, see `read_inert`; errors name the file."""
    open_file(path, limits.WEIGHTS_BYTES, "check the path").close()
    try:
        return read_inert(path, {}).content
    except UserError as error:
        raise UserError(f"{path} is truncated or holds more than tensors: it {error}") from error


def require_finite(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Raise UserError for tensors of a file with NaN or infinity in them: what they compute is noise or black."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{name} in {path} holds NaN or infinity", f"{CURE}, or make it again")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with open_file(path, limits.WEIGHTS_BYTES, "check the path") as file:
        try:
            return load_file(path_of_text(path, file.fileno()))
        except Exception as error:  # SafetensorError, and what torch raises for types that it does not know
            raise UserError(f"{path} is truncated or no safetensors file ({one_line(error)})", CURE) from error


def _is_flat(state: Any) -> bool:
    if not isinstance(state, dict) or not state:
        return False
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items())
