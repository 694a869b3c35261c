"""The file of a clip's codes, which grows frame by frame, and the parts of it that several processes write."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from inversion.tuned_weights import codes_among
from networks.generators.interface import Generator
from networks.latents import Latents, join
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

KIND = "clip"  # kind of the file of codes, in its header
REMOVE = "remove it, and its codes are found again"


class CodesFile:
    """Codes of the first frames of a clip; parts of further ones lie in a folder beside it until they can be joined.

    Args:
        path: file.
        settings: all that the codes depend on, as JSON values or tuples.
        G: network of the codes.
    """

    def __init__(self, path: Path, settings: dict[str, Any], G: Generator) -> None:
        self.path = path
        self.settings = settings
        self.G = G
        self.folder = parts_folder(path)

    def load(self) -> list[Latents]:
        """Return the codes that an earlier call with the same settings has found, in the order of the frames.

        Raises UserError for another file, and one with damaged codes.
        """
        if not self.path.exists():
            return []
        header = read_header(self.path)
        if header.get("kind") != KIND:
            raise UserError(f"{self.path} is in the way and holds no codes of a clip; name the output otherwise")
        return self._read(self.path) if self._is_ours(header) else []

    def save(self, parts: Sequence[Latents]) -> None:
        """Write codes, in the order of the frames."""
        require_same_kind(self.path, parts)
        save_tensors(self.path, join(parts).tensors(), self._header())

    def save_part(self, frames: range, codes: Latents) -> None:
        """Write the codes of some frames, which need not follow those that are known."""
        self.folder.mkdir(exist_ok=True)
        save_tensors(self._part(frames), codes.tensors(), self._header())

    def has_part(self, frames: range) -> bool:
        """Return whether an earlier call with the same settings has written the codes of some frames as a part."""
        path = self._part(frames)
        return path.is_file() and self._is_ours(read_header(path))

    def join(self, spans: Sequence[range]) -> None:
        """Put parts behind the codes of the file, which they follow without a gap."""
        parts = [codes for frames in spans for codes in self._read(self._part(frames))]
        if parts:
            self.save([*self.load(), *parts])

    def clear(self) -> None:
        """Remove all parts."""
        clear_parts(self.folder, "codes")

    def _part(self, frames: range) -> Path:
        return self.folder / f"codes-{frames.start:08d}-{frames.stop:08d}.safetensors"

    def _header(self) -> dict[str, Any]:
        return {"kind": KIND, "settings": self.settings}

    def _is_ours(self, header: dict[str, Any]) -> bool:
        return header.get("kind") == KIND and header.get("settings") == _as_json(self.settings)

    def _read(self, path: Path) -> list[Latents]:
        return [codes_among(path, load_tensors(path), REMOVE, self.G)]


def parts_folder(path: Path) -> Path:
    """Return the folder beside a file for what processes find of it."""
    return path.with_name(f"{path.stem}-parts")


def clear_parts(folder: Path, kind: str) -> None:
    """Remove files such as `codes-*.safetensors`, also unfinished ones of killed processes, and an empty folder."""
    for pattern in (f"{kind}-*.safetensors", f".{kind}-*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is none, or somebody else's file is in it
        folder.rmdir()


def require_same_kind(path: Path, parts: Sequence[Latents]) -> None:
    """Raise UserError where a file has other codes of its frames than the next frames get."""
    if len(parts) > 1 and parts[0].tensors().keys() != parts[-1].tensors().keys():
        found, new = (", ".join(part.tensors()) for part in (parts[0], parts[-1]))
        raise UserError(f"{path} holds {found} of each frame, and further frames have {new}; {REMOVE}")


def _as_json(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, (list, tuple)) else value
