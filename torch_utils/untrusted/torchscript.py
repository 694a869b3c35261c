"""Open published networks in TorchScript (.pt, .jit), and only networks.

TorchScript is a language: its operators can write files, and parts of a file may run when it is opened. So the file is
read as data first, and torch opens a copy that contains only what was checked.
"""

import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.jit import ScriptModule

from dnnlib.errors import UserError
from dnnlib.reading import open_file
from torch_utils.precision import full_float32
from torch_utils.untrusted.torchscript_code import rewrite_sources
from torch_utils.untrusted.torchscript_pickle import check_objects

LARGEST_FILE = 4 << 30  # bytes, expanded
LARGEST_TEXT = 8 << 20  # bytes of all sources, or of one pickle
MOST_PARTS = 20_000
_FORMAT = ("version", ".data/version", "byteorder")


def load_torchscript(path: str | os.PathLike, device: torch.device) -> ScriptModule:
    """Return the network in a TorchScript file, for evaluation, on `device`.

    Raises UserError for a file that is missing, damaged or of another kind, and for one that does more than compute
    with its own tensors (see `torch_utils.untrusted.torchscript_code`).
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="torchscript-") as folder:
        copy = Path(folder) / "network.pt"
        _write_checked(path, copy)
        module = _load(copy, path, device)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.eval()


def run_exactly(module: ScriptModule, *inputs: Any, **options: Any) -> torch.Tensor:
    """Return `module(*inputs, **options)`, computed without TensorFloat-32, like the published numbers."""
    with full_float32():
        return module(*inputs, **options)


def _load(copy: Path, path: Path, device: torch.device) -> ScriptModule:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but the files are published so
            return torch.jit.load(copy, map_location=device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(f"{path} is damaged or no network in TorchScript; download it again") from error


def _write_checked(path: Path, copy: Path) -> None:
    """Write the checked parts of the archive that belong to the network to `copy`."""
    try:
        with open_file(path, LARGEST_FILE) as file, zipfile.ZipFile(file) as archive:
            parts = _parts(archive, path)
            checked = _check_texts(archive, parts, path)
            with zipfile.ZipFile(copy, "w") as target:
                for name, info in parts.items():
                    if name in checked:
                        target.writestr(f"network/{name}", checked[name])
                    elif name in _FORMAT or name.startswith(("data/", "constants/")):
                        _copy_part(archive, info, target, f"network/{name}")
    except UserError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        raise UserError(f"{path} is damaged or no TorchScript file; download it again") from error


def _parts(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the parts of the archive by their names within its one folder."""
    infos = archive.infolist()
    if len(infos) > MOST_PARTS or sum(info.file_size for info in infos) > LARGEST_FILE:
        raise UserError(f"{path} expands to more than any network of detectors has; it is not opened")
    parts = {info.filename.partition("/")[2]: info for info in infos}
    if len({info.filename.lower() for info in infos}) != len(parts) or len({_folder(info) for info in infos}) != 1:
        raise UserError(f"{path} has parts of the same name; it is damaged, so download it again")
    if "data.pkl" not in parts or "constants.pkl" not in parts:
        raise UserError(f"{path} is no TorchScript file, perhaps a state dict; give the file as it was published")
    return parts


def _check_texts(archive: zipfile.ZipFile, parts: Mapping[str, zipfile.ZipInfo], path: Path) -> dict[str, str | bytes]:
    """Return rewritten sources and pickles by name; raise UserError unless they are those of a plain network."""
    names = [name for name in parts if name.startswith("code/") and name.endswith(".py")]
    pickles = ["data.pkl", "constants.pkl"]
    if max(sum(parts[name].file_size for name in names), *(parts[name].file_size for name in pickles)) > LARGEST_TEXT:
        raise UserError(f"{path} has more code than any network of detectors; it is not opened")
    contents = {name: archive.read(parts[name]) for name in [*names, *pickles]}
    try:
        sources, defined = rewrite_sources({_module_name(name): contents[name] for name in names})
        for name in pickles:
            folder = f"{name.removesuffix('.pkl')}/"
            sizes = {part[len(folder) :]: info.file_size for part, info in parts.items() if part.startswith(folder)}
            check_objects(contents[name], defined, sizes)
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    return {**contents, **{name: sources[_module_name(name)] for name in names}}


def _module_name(name: str) -> str:
    """Return the module of a part: that of `code/__torch__/torch/nn.py` is `__torch__.torch.nn`."""
    return name.removeprefix("code/").removesuffix(".py").replace("/", ".")


def _folder(info: zipfile.ZipInfo) -> str:
    return info.filename.partition("/")[0]


def _copy_part(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: zipfile.ZipFile, name: str) -> None:
    copy = zipfile.ZipInfo(name)
    copy.file_size = info.file_size
    with archive.open(info) as source, target.open(copy, "w") as destination:
        shutil.copyfileobj(source, destination, 1 << 20)
