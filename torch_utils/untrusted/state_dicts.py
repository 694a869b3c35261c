"""State dicts: read published files of weights as dicts of tensors; nothing in them can run code."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dnnlib.errors import UserError


def load_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of a file of torch.save, on the CPU, by name.

    A dict with the tensors under the key `state_dict` and other entries is unwrapped.
    Raises UserError for a file that is missing, truncated, or holds anything but tensors by name.
    """
    path = Path(path)
    state = _read(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not _is_flat(state):
        raise UserError(f"{path} holds something else than tensors by name; give the state dict of the network")
    return dict(state)


def _read(path: Path) -> Any:
    read = load_file if path.suffix == ".safetensors" else _torch_load
    try:
        return read(path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot read {path}: {error.strerror or 'no such file'}; check the path") from error
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or no safetensors file; copy or download it again") from error
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError(
            f"{path} is truncated or holds more than tensors; copy or download it again, it is not opened as it is"
        ) from error


def _torch_load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_flat(state: Any) -> bool:
    if not isinstance(state, dict) or not state:
        return False
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items())
