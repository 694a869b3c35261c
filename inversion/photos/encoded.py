"""Photos and their codes, for commands that make one thing of several photos."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tqdm

from dnnlib.errors import UserError
from dnnlib.files import real_path
from inversion.inverter import Inverter
from inversion.photos.invert import step_bar, stored_inversion
from inversion.photos.reader import PhotoReader
from inversion.photos.tasks import stored_codes
from networks.latents import Latents


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """A photo and its codes.

    Attributes:
        name: unlike those of the others, without folders.
        image: its part that was inverted, uint8 `[R, R, 3]`.
        latents: codes of one image, on the network's device.
    """

    name: str
    image: np.ndarray
    latents: Latents


def encode_photos(
    files: Sequence[Path], source: Path, inverter: Inverter, reader: PhotoReader, codes: str | None = None
) -> list[EncodedPhoto]:
    """Return photos with their codes, which no tuning follows.

    Args:
        files: the photos.
        source: folder that they are in, or the only photo.
        inverter: how photos are inverted.
        reader: how photos are cut.
        codes: folder of codes by an earlier command, which are used where it has some; tuned weights are left out.

    Raises UserError for a photo that cannot be read, and for codes of another one.
    """
    encoded = []
    for name, file in tqdm.tqdm(list(zip(names_of(files), files, strict=True)), desc="codes", disable=None):
        photo = reader.read(file)
        base = file.relative_to(source) if source.is_dir() else Path(file.name)
        stored = None if codes is None else stored_codes(codes, base.with_suffix("").as_posix())
        if codes is not None and stored is not None:
            latents = stored_inversion(stored, inverter, file, photo, codes).latents.to(inverter.device)
        else:
            with step_bar() as on_step:
                latents = inverter.codes(photo.target.to(inverter.device), on_step)
        encoded.append(EncodedPhoto(name, photo.image, latents.detach()))
    return encoded


def names_of(files: Sequence[Path]) -> list[str]:
    """Return the names of files without folders and endings; those that would be alike get endings and numbers."""
    stems = Counter(file.stem for file in files)
    names = [file.stem if stems[file.stem] == 1 else f"{file.stem}-{file.suffix.lstrip('.')}" for file in files]
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        names[index] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return names


def require_other_folder(outdir: str, sources: Sequence[str]) -> None:
    """Raise UserError where results would lie among the photos."""
    for source in map(Path, sources):
        if real_path(outdir) == (real_path(source) if source.is_dir() else real_path(source).parent):
            raise UserError(f"the output folder {outdir} is that of the photos; choose another --outdir")


def require_other_file(output: str, sources: Sequence[str]) -> None:
    """Raise UserError where a result would replace one of the photos."""
    if any(real_path(output) == real_path(source) for source in sources):
        raise UserError(f"--output={output} is one of the photos; name the result otherwise")
