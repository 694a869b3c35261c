"""Checkpoints: networks (safetensors with a JSON header) and training states (torch.save, tensors only, no code)."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import replace_file

FORMAT_VERSION = 1
HEADER = "qc_stylegan"


def save_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, in one step; the format version is added to the header."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, **header})
    with replace_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={HEADER: text})
        except SafetensorError as error:
            raise _write_failure(temporary, error) from error


def read_header(path: str | os.PathLike) -> dict[str, Any]:
    """Return the header of a file that `save_tensors` wrote; raise UserError for any other file."""
    with _open(path) as file:
        metadata = file.metadata() or {}
    if HEADER not in metadata:
        raise UserError(f"{path} is a safetensors file, but none of this program's networks; give a network-snapshot")
    header = _parse(metadata[HEADER])
    version = header.get("format_version")
    if type(version) is not int:
        raise UserError(f"the header of {path} is damaged; copy or download it again")
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this program reads up to {FORMAT_VERSION}; update the program"
        )
    return header


def load_tensors(path: str | os.PathLike, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by the rest of their names."""
    with _open(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - no mapping
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def save_state(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers and strings, in one step."""
    with replace_file(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:
            raise _write_failure(temporary, error) from error


def load_state(path: str | os.PathLike, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote; nothing in the file can run code. Raises UserError for any other file."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the file") from error
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError(f"{path} is damaged or no training state; delete it to start the run anew") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is no training state; delete it to start the run anew")
    return state


def _parse(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`, or {}."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _open(path: str | os.PathLike) -> safe_open:
    """Open a safetensors file; raise UserError for anything else."""
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder; give one of the networks in it")
    if not Path(path).is_file():
        raise UserError(f"network {path} does not exist; check the path")
    try:
        return safe_open(path, framework="pt")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; check the file") from error
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or no safetensors file; copy or download it again") from error


def _write_failure(path: Path, error: Exception) -> OSError:
    """Return the OSError that made a library fail to write."""
    status = os.statvfs(Path(path).parent)
    if status.f_bavail * status.f_frsize < 1 << 20:
        return OSError(errno.ENOSPC, "the disk is full")
    return OSError(errno.EIO, f"{error}")
