"""Checkpoints: networks (safetensors with a JSON header) and training states (torch.save, tensors only, no code)."""

import errno
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dnnlib.errors import UserError, one_line
from dnnlib.files import replace_file
from dnnlib.limits import ANY_BYTES
from dnnlib.reading import explained, open_file, parse_json, path_exists, path_of_text
from torch_utils.checksums import checksum, checksums, find_differing
from torch_utils.finite import first_not_finite

FORMAT_VERSION = 1
HEADER = "qc_stylegan"
CHECKSUMS = "checksums"  # entry of the metadata beside the header
_KNOWN = {HEADER, CHECKSUMS, "format"}  # entries of the metadata; other libraries add the last one
CURE = "copy or download it again"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # first bytes
_IMPORT = "exchange.import_network"


def save_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors, in one step.

    The format version is added to the header, and checksums of the header and of each tensor to the file.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, **header})
    recorded = checksums({**tensors, HEADER: text})
    with replace_file(path) as temporary:
        rights = temporary.stat().st_mode
        try:
            save_file(tensors, temporary, metadata={HEADER: text, CHECKSUMS: json.dumps(recorded)})
        except SafetensorError as error:
            raise _write_failure(temporary, error) from error
        temporary.chmod(rights)  # the library makes another file, which nobody else may read
        _order_metadata(temporary)


def _order_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, so that equal networks are equal files; the library takes any order."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, f"sorted metadata take {len(text)} bytes instead of {length}"
        file.seek(8)
        file.write(text.ljust(length))


def read_header(path: str | os.PathLike) -> dict[str, Any]:
    """Return the header of a file that `save_tensors` wrote; raise UserError for any other file, and a damaged one."""
    with _open(path) as file:
        metadata = file.metadata() or {}
    if HEADER not in metadata:
        raise UserError(f"{path} is a safetensors file, but none of this program's networks; give a network-snapshot")
    _recorded(metadata, path)
    header = _parse(metadata[HEADER])
    version = header.get("format_version")
    if type(version) is not int:
        raise UserError(f"the header of {path} is damaged", CURE)
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this program reads up to {FORMAT_VERSION}; update the program"
        )
    return header


def has_checksums(path: str | os.PathLike) -> bool:
    """Return whether a file that `save_tensors` wrote has checksums; those of earlier versions have none."""
    with _open(path) as file:
        return _recorded(file.metadata() or {}, path) is not None


def tensor_shapes(path: str | os.PathLike, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors whose names begin with `prefix`, by the rest of their names."""
    with _open(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - no mapping
        return {name.removeprefix(prefix): tuple(file.get_slice(name).get_shape()) for name in names}


def load_tensors(path: str | os.PathLike, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by the rest of their names.

    Raises UserError for tensors that differ from their checksums, and for NaN and infinity in them.
    """
    with _open(path) as file, explained(lambda: str(path), CURE):
        names = set(file.keys())
        tensors = {name: file.get_tensor(name) for name in sorted(names) if name.startswith(prefix)}
        recorded = _recorded(file.metadata() or {}, path)
    if recorded is not None:
        lost = names ^ (recorded.keys() - {HEADER})
        damaged = lost or set(find_differing(tensors, {name: recorded[name] for name in tensors}))
        if damaged:
            raise UserError(f"{min(damaged)} in {path} is damaged, as its checksum tells", CURE)
    if (bad := first_not_finite(tensors)) is not None:
        raise UserError(f"{bad} in {path} holds NaN or infinity", f"give another network, or {CURE}")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def save_state(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers and strings, in one step."""
    with replace_file(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:
            raise _write_failure(temporary, error) from error


def load_state(path: str | os.PathLike, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote; nothing in the file can run code.

    Raises UserError for any other file, and where a part does not have its checksum.
    """
    open_file(path, ANY_BYTES).close()
    try:
        _require_whole_zip(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # damaged pickles raise nearly anything
        raise UserError(f"{path} is damaged or no training state", "delete it to start the run anew") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is no training state", "delete it to start the run anew")
    return state


def _require_whole_zip(path: str | os.PathLike) -> None:
    """Compare the parts of a zip with their CRCs, which torch writes and does not read."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} does not have its CRC")


def _recorded(metadata: dict[str, str], path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the checksums of a file by the names of tensors, or None; raise UserError where the header is damaged."""
    if CHECKSUMS not in metadata and metadata.keys() <= _KNOWN:  # else the entry itself may be what is damaged
        return None
    recorded = _parse(metadata.get(CHECKSUMS, ""))
    if recorded.get(HEADER) != checksum(HEADER, metadata.get(HEADER)):
        raise UserError(f"the header of {path} is damaged, as its checksum tells", CURE)
    return recorded


def _parse(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`, or {}."""
    try:
        content = parse_json(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _open(path: str | os.PathLike) -> safe_open:
    """Open a safetensors file; raise UserError for anything else."""
    if not path_exists(path):
        raise UserError(f"network {path} does not exist; check the path")
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder; give one of the networks in it")
    with open_file(path, ANY_BYTES) as file:
        start = file.read(4)
        try:
            return safe_open(path_of_text(path, file.fileno()), framework="pt")
        except OSError as error:
            raise UserError(f"cannot read {path}: {one_line(error)}", "check the file") from error
        except Exception as error:  # SafetensorError, and what its header makes of memory
            if start.startswith(_PICKLES):
                cure = f"give a network-snapshot, or convert a published network by `python -m {_IMPORT} {path}`"
                raise UserError(f"{path} is a pickle or a file of torch.save, no safetensors file", cure) from error
            raise UserError(f"{path} is truncated or no safetensors file", CURE) from error


def _write_failure(path: Path, error: Exception) -> OSError:
    """Return the OSError that made a library fail to write; the library tells its number as text, if at all."""
    status = os.statvfs(Path(path).parent)
    number = re.search(r"os error (\d+)", str(error))
    if number is not None and int(number[1]) != errno.ENOSPC:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    if number is not None or status.f_bavail * status.f_frsize < 1 << 20:
        return OSError(errno.ENOSPC, "the disk is full")
    return OSError(errno.EFBIG, "the system takes only a part of the file")
