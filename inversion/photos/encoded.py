"""Photos and their codes, for commands that make one thing of several photos."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import tqdm

from dnnlib.errors import UserError
from dnnlib.files import real_path
from inversion.inverter import Inverter
from inversion.photos.invert import step_bar, stored_inversion
from inversion.photos.reader import PhotoReader, PreparedPhoto
from inversion.photos.tasks import stored_codes
from networks.latents import Latents

Photo = TypeVar("Photo")  # a photo as it was read, or encoded


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """A photo and its codes.

    Attributes:
        name: unlike those of the others, without folders.
        image: part of the photo that was inverted, uint8 `[R, R, 3]`.
        latents: codes of one image, on the network's device.
    """

    name: str
    image: np.ndarray
    latents: Latents


def read_each(files: Sequence[Path], reader: PhotoReader) -> Iterator[PreparedPhoto | UserError]:
    """Yield photos as they are inverted, of several faces the largest; for a bad one the error that concerns it."""
    for file in files:
        try:
            faces = reader.read_faces(file)
        except UserError as error:
            yield about(file, error)
            continue
        if len(faces) > 1:
            tqdm.tqdm.write(f"{file}: of {len(faces)} faces the largest is taken", file=sys.stderr)
        yield faces[0]


def encode_photos(
    files: Sequence[Path], source: Path, inverter: Inverter, reader: PhotoReader, codes: str | None = None
) -> list[EncodedPhoto | UserError]:
    """Return photos with their codes, which no tuning follows; for a bad photo the error that concerns it.

    Such are photos that cannot be read, that have no face for the reader's detector, and those of others than their
    stored codes.

    Args:
        files: the photos.
        source: folder that they are in, or the only photo.
        inverter: how photos are inverted.
        reader: how photos are cut.
        codes: folder of codes by an earlier command, which are used where it has some; tuned weights are left out.
    """
    encoded: list[EncodedPhoto | UserError] = []
    photos = zip(names_of(files), files, read_each(files, reader), strict=True)
    for name, file, photo in tqdm.tqdm(photos, total=len(files), desc="codes", disable=None):
        try:
            if not isinstance(photo, UserError):
                latents = _codes_of(file, source, photo, inverter, codes).detach()
                photo = EncodedPhoto(name, photo.image, latents)
            encoded.append(photo)
        except UserError as error:
            encoded.append(about(file, error))
    return encoded


def _codes_of(file: Path, source: Path, photo: PreparedPhoto, inverter: Inverter, codes: str | None) -> Latents:
    base = file.relative_to(source) if source.is_dir() else Path(file.name)
    stored = None if codes is None else stored_codes(codes, base.with_suffix("").as_posix())
    if codes is not None and stored is not None:
        return stored_inversion(stored, inverter, file, photo, codes).latents.to(inverter.device)
    with step_bar() as on_step:
        return inverter.codes(photo.target.to(inverter.device), on_step)


def about(file: Path, error: UserError) -> UserError:
    """Return an error that names the photo, or the file of its codes."""
    is_named = any(name in str(error) for name in (file.name, f"{file.stem}.safetensors"))
    return error if is_named else UserError(f"{file}: {error.problem}", error.cure)


def usable(photos: Sequence[Photo | UserError]) -> list[Photo]:
    """Return photos without those that have an error; raise UserError where none is left."""
    left = [photo for photo in photos if not isinstance(photo, UserError)]
    errors = errors_of(photos)
    if left or not errors:
        return left
    if len(errors) == 1:
        raise errors[0]
    raise UserError(f"none of the {len(photos)} photos can be used; the first: {errors[0].problem}", errors[0].cure)


def errors_of(photos: Sequence[Photo | UserError]) -> list[UserError]:
    """Return the errors of bad photos."""
    return [photo for photo in photos if isinstance(photo, UserError)]


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
