"""The photos that a command is given: single ones and folders, each photo once and under a name of its own."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dnnlib.errors import UserError
from dnnlib.files import real_path
from images.photos import photo_files

FACE = re.compile(r"(.+)-face\d+", re.DOTALL)  # name of the results of a photo's further faces, see PhotoTask.face


class TakenNames:
    """Names of results that photos have; each photo also has the names of its further faces."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: set[str] = set()
        self.owners: set[str] = set()  # what photos are called that would have one of the names for a face
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Take a name."""
        self.names.add(name)
        if face := FACE.fullmatch(name):
            self.owners.add(face[1])

    def __contains__(self, name: str) -> bool:
        face = FACE.fullmatch(name)
        return name in self.names or name in self.owners or (face is not None and face[1] in self.names)


def photos_by_name(sources: Sequence[Path], outdir: Path) -> dict[str, Path]:
    """Return photos by their names: below the folder that was given, or without folders.

    Photos below `outdir` are results, and left out. Where names are alike, the folder that a photo or source lies in is
    put before them.

    Raises UserError where there is no photo, where results would lie among photos, and for names that stay alike.
    """
    found: dict[Path, tuple[str, Path, Path]] = {}  # (name, photo, source) by real path
    for source in sources:
        for photo in _photos(source, outdir):
            name = photo.relative_to(source).as_posix() if source.is_dir() else photo.name
            found.setdefault(real_path(photo), (name, photo, source))
    counts = Counter(name for name, _, _ in found.values())
    photos: dict[str, Path] = {}
    for name, photo, source in found.values():
        place = real_path(source) if source.is_dir() else real_path(source).parent
        unique = name if counts[name] == 1 else f"{place.name}/{name}"
        if photos.setdefault(unique, photo) != photo:
            raise UserError(f"{photos[unique]} and {photo} would have results of one name; rename one of their folders")
    return photos


def _photos(source: Path, outdir: Path) -> Iterator[Path]:
    """Yield the photos of a source that do not lie below `outdir`."""
    photos = photo_files(source)
    results, place = real_path(outdir), real_path(source)
    if results == (place if source.is_dir() else place.parent):
        raise UserError(f"the output folder {outdir} is that of the photos; choose another --outdir")
    if source.is_dir() and place in results.parents:
        photos = [photo for photo in photos if results not in real_path(photo).parents]
        if not photos:
            raise UserError(f"no photos in {source} but those of the output folder {outdir}; check both paths")
    yield from photos
