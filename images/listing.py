"""Which files of a folder or archive are the images meant: one list of endings, and words for what is passed over."""

import fnmatch
import os
import posixpath
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError, one_line
from dnnlib.reading import UnreadableError
from dnnlib.remarks import remark
from images.origin import PHOTO, distance, made_of_others

# Endings of the names of images, of all commands. What a file holds, not its name, decides how it is decoded.
EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".mpo", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".heic", ".heif"),
)
METADATA = "dataset.json"
CODES = "codes.json"  # file of generate.py
# Files by which a folder shows itself as results of this program.
RECORDS = ("done-*.jsonl", "training-state.pt", "stats.jsonl")
RECORD_ENDINGS = (".json", ".jsonl", ".pt")
FIGURES = ("grid.png", "quality.png", "content.png", "content-*.png")  # sheets of generate.py, beside its images
NAMED = 3  # folders and links that a remark names

Identity = tuple[int, int]  # device and inode of a folder
ReadJson = Callable[[str], Any]  # content of the JSON file of that name, None where it is not readable
ReadHead = Callable[[str], bytes]  # first `images.origin.HEAD` bytes of the file of that name, none where not readable


@dataclass(frozen=True)
class Listing:
    """The images among some files.

    Attributes:
        images: names, sorted.
        metadata: name of the `dataset.json` that describes them, or None.
        base: folder in which the names in that file begin, with a `/` at its end; "" for the topmost one.
        passed_over: words for what was passed over, or "".
    """

    images: list[str]
    metadata: str | None
    base: str
    passed_over: str


def list_images(names: Iterable[str], read_json: ReadJson, read_head: ReadHead, loops: Sequence[str] = ()) -> Listing:
    """Return the images among files, by their names with `/`.

    Hidden files and those added by macOS do not count. Left out, and named in `passed_over`, are files with other
    endings, figures beside generated images, folders below that hold results of this program, and images that it has
    made of others among them: so that what it wrote beside or below its input does not become input. A `dataset.json`
    one folder down counts where all images lie there.

    Args:
        names: names of all files.
        read_json: reads one of them.
        read_head: reads the first bytes of one of them.
        loops: links that lead back to a folder above them, to be named.
    """
    visible = sorted(name for name in names if name and not name.endswith("/") and not _is_hidden(name))
    candidates = [name for name in visible if name.lower().endswith(EXTENSIONS)]
    metadata, base = _metadata(set(visible), candidates)
    results = _results(visible, base, read_json)
    outside = [name for name in visible if not _is_below(name, results)]
    images = [name for name in outside if name.lower().endswith(EXTENSIONS)]
    figures = _figures(images, base, read_json) if base + CODES in visible else set()
    images = [name for name in images if name not in figures]
    own = [] if _is_data_set(images, metadata, read_json) else made_of_others(_distances(images, read_head))
    others = Counter(_ending(name) for name in outside if not (name.lower().endswith(EXTENSIONS) or _is_record(name)))
    words = [f"{count} {ending}" for ending, count in sorted(others.items())]
    words += [f"{name} (labels of some images only)" for name in outside if _is_metadata(name) and name != metadata]
    words += sorted(figures)
    words += _naming("folder", results, "with results of this program, which are read where they are named themselves")
    words += _naming("image", own, "written by this program and made of others, read where there are no others")
    words += _naming("link", loops, "which leads back to a folder above")
    taken = sorted(set(images).difference(own))
    return Listing(taken, metadata, base, ", ".join(words))


def files_below(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of all files below a folder, with `/`, and the links that lead back to a folder above.

    Links to folders are followed, hidden folders are not entered. Raises UnreadableError for a folder that cannot be
    listed.
    """
    names: list[str] = []
    loops: list[str] = []
    pending: list[tuple[str, tuple[Identity, ...]]] = [
        ("", (_identity(folder),))
    ]  # below `folder`, with the identities of it and of all folders above
    while pending:
        prefix, above = pending.pop()
        for entry in _entries(folder / prefix):
            name = prefix + entry.name
            if _is_hidden(entry.name):
                continue
            if not _is_folder(entry):
                names.append(name)
            elif (identity := _identity(Path(entry.path))) in above:
                loops.append(name)
            else:
                pending.append((f"{name}/", (*above, identity)))
    return names, sorted(loops)


def zip_names(names: Iterable[str], archive: Path) -> dict[str, str]:
    """Return the names of an archive's entries by the names that the files would have below a folder.

    Raises UserError where two are the same.
    """
    stored: dict[str, str] = {}
    for name in names:
        if not name.endswith(("/", "\\")) and stored.setdefault(plain_name(name), name) != name:
            raise UserError(f"{archive} holds {stored[plain_name(name)]} and {name}, one file", "pack it again")
    return stored


def plain_name(name: str) -> str:
    """Return a relative path with `/`, and without `./`."""
    return posixpath.normpath(name.replace("\\", "/"))


def require_images(listing: Listing, where: Path, what: str = "images") -> None:
    """Raise UserError where a folder or archive has no images; warn, once, of what was passed over there."""
    if not listing.images:
        others = f" (skipped: {listing.passed_over})" if listing.passed_over else ""
        raise UserError(f"no {what} in {where}{others}; it needs files that end in {', '.join(EXTENSIONS)}")
    if listing.passed_over:
        remark(f"{where}: skipped {listing.passed_over}")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2] == METADATA


def _metadata(names: set[str], images: Sequence[str]) -> tuple[str | None, str]:
    """Return the name of the `dataset.json` above all images, and its folder."""
    if METADATA in names:
        return METADATA, ""
    tops = {image.partition("/")[0] for image in images}
    if len(tops) == 1 and (name := f"{next(iter(tops))}/{METADATA}") in names:
        return name, name.removesuffix(METADATA)
    return None, ""


def _results(names: Sequence[str], base: str, read_json: ReadJson) -> list[str]:
    """Return the folders below `base` that hold results of this program, without those within another."""
    found: list[str] = []
    for name in filter(_is_record, names):
        folder, _, file = name.rpartition("/")
        is_inner = folder and f"{folder}/" != base and not _is_below(name, found)
        if is_inner and _is_ours(name, file, read_json):
            found = [*(other for other in found if not _is_below(f"{other}/", [folder])), folder]
    return sorted(found)


def _is_record(name: str) -> bool:
    if not name.endswith(RECORD_ENDINGS):  # most names, in no time
        return False
    file = name.rpartition("/")[2]
    return file in (METADATA, CODES) or any(fnmatch.fnmatchcase(file, pattern) for pattern in RECORDS)


def _is_ours(name: str, file: str, read_json: ReadJson) -> bool:
    """Return whether a file is a record of this program, where other programs use its name too."""
    if file == METADATA:
        return _record_of_data_set(read_json(name)) is not None
    return file != CODES or bool(_generated(read_json(name)))


def _distances(images: Sequence[str], read_head: ReadHead) -> dict[str, int]:
    """Return how far images are from photos; only PNG files are written with a mark."""
    return {name: distance(read_head(name)) if name.lower().endswith(".png") else PHOTO for name in images}


def _is_data_set(images: Sequence[str], metadata: str | None, read_json: ReadJson) -> bool:
    """Return whether images are those, and no others, that a record of dataset_tool.py describes."""
    record = _record_of_data_set(read_json(metadata)) if metadata is not None else None
    return record is not None and record.get("num_images") == len(images)


def _record_of_data_set(content: Any) -> dict[str, Any] | None:
    """Return what dataset_tool.py says of its data set in the content of a `dataset.json`; None in another's file."""
    source = content.get("source") if isinstance(content, dict) else None
    return source if isinstance(source, dict) and source.get("tool") == "dataset_tool" else None


def _figures(images: Sequence[str], base: str, read_json: ReadJson) -> set[str]:
    """Return the figures among the images of a folder that generate.py has written."""
    generated = _generated(read_json(base + CODES))
    names = {name for name in images if any(fnmatch.fnmatchcase(name, base + figure) for figure in FIGURES)}
    return {name for name in names if name.removeprefix(base) not in generated} if generated else set()


def _generated(codes: Any) -> set[str]:
    """Return the names of the images that the content of a `codes.json` lists; none in another program's file."""
    images = codes.get("images") if isinstance(codes, dict) else None
    entries = [entry for entry in images if isinstance(entry, dict)] if isinstance(images, list) else []
    return {str(entry["file"]) for entry in entries if "file" in entry and "seed" in entry}


def _is_below(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(f"{folder}/") for folder in folders)


def _ending(name: str) -> str:
    return posixpath.splitext(name)[1].lower() or "without an ending"


def _naming(what: str, names: Sequence[str], remark: str) -> list[str]:
    """Return words for some folders or links, of which the first few are named."""
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"the {what}{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more} ({remark})"]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        raise UnreadableError(f"the folder {folder} cannot be listed: {one_line(error)}", "check it") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself is no folder
        return False


def _identity(folder: Path) -> Identity:
    """Return what two paths to one folder have in common."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise UnreadableError(f"the folder {folder} cannot be reached: {one_line(error)}", "check it") from error
    assert stat.S_ISDIR(status.st_mode), f"{folder} is no folder"
    return status.st_dev, status.st_ino
