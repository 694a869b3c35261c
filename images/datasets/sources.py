"""Sources of images to convert: folders, zip archives, published data sets, and drawn faces."""

import functools
import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image

from dnnlib.errors import UserError
from dnnlib.files import real_path, sha256
from dnnlib.parsing import existing
from images.datasets.archives import ImagesByCall, read_cifar10, read_lsun, read_mnist
from images.datasets.drawn_faces import draw_face
from images.datasets.labels import Label, LabelledImage, read_labels
from images.decoding import UnreadableImageError
from images.files import Cures, ImageFiles

DRAWN_SIZE = 64  # px, default side of drawn images
DRAWN_DIGITS = 8  # digits of their number
CURES = Cures(damaged="replace the file or pass --on-bad-image=skip")


@dataclass(frozen=True)
class Source:
    """Images in a fixed order.

    Attributes:
        name: name of the file or folder.
        sha256: hash of the content.
        count: number of images.
        images: function that yields the images.
    """

    name: str
    sha256: str
    count: int
    images: Callable[[], Iterator[LabelledImage]]


def open_source(text: str, labels: str = "auto", drawn_size: int = DRAWN_SIZE) -> Source:
    """Open the source that `--input` names.

    Args:
        text: folder, zip, `cifar-10-python.tar.gz`, `*-images-idx3-ubyte.gz`, folder of an LSUN lmdb, or `drawn:N`.
        labels: "auto" takes the labels of the source, "folders" numbers its topmost folders, below
            one that holds all images, "none" drops all labels.
        drawn_size: side of the images of `drawn:N`.

    Raises UserError when nothing is there, and when it has another format than its name says.
    """
    source = _open(text, labels, drawn_size)
    return source if labels != "none" else replace(source, images=functools.partial(_without_labels, source))


def _without_labels(source: Source) -> Iterator[LabelledImage]:
    for image in source.images():
        yield replace(image, label=None)


def _open(text: str, labels: str, drawn_size: int) -> Source:
    if text.startswith("drawn:"):
        if labels == "folders":
            raise UserError(f"--labels=folders has no effect on {text}, which has kinds of faces; leave it out")
        return _drawn_source(text, drawn_size)
    path = Path(text)
    reader = _archive_reader(path)
    if reader is None:
        return _file_source(ImageFiles(path, CURES), labels)
    existing(path, "image source")
    if labels == "folders":
        raise UserError(f"--labels=folders needs folders, and {path} has none; use --labels=auto or --labels=none")
    count, images = reader(path)
    content = path / "data.mdb" if path.is_dir() else path
    return Source(path.name, sha256(content), count, images)


def _archive_reader(path: Path) -> Callable[[Path], ImagesByCall] | None:
    if path.is_dir():
        return read_lsun if (path / "data.mdb").is_file() else None
    if path.name.endswith((".tar.gz", ".tgz")):
        return read_cifar10
    return read_mnist if path.name.endswith("-ubyte.gz") else None


def _file_source(files: ImageFiles, labels: str) -> Source:
    values = _labels_of_files(files, labels)
    digest = sha256(files.path) if files.path.is_file() else _digest(files)
    return Source(real_path(files.path).name, digest, len(files), functools.partial(_images_of_files, files, values))


def _images_of_files(files: ImageFiles, labels: Sequence[Label | None]) -> Iterator[LabelledImage]:
    for name, label in zip(files.names, labels, strict=True):
        yield LabelledImage(name, functools.partial(files.image, name), label)


def _labels_of_files(files: ImageFiles, labels: str) -> Sequence[Label | None]:
    if labels == "folders":
        return _folder_numbers(files)
    metadata = files.metadata()
    if labels == "auto" and metadata.get("labels"):
        return read_labels(files, metadata)
    return [None] * len(files)


def _folder_numbers(files: ImageFiles) -> list[int]:
    """Return the number of each image's folder among the topmost ones, below a folder that holds all of them.

    Raises UserError for images beside those folders, and where all images would be of one class.
    """
    above = _common_folder(files.names)
    folders = [name[len(above) :].rpartition("/")[0].partition("/")[0] for name in files.names]
    if "" in folders and (above == "" or any(folders)):
        loose = files.names[folders.index("")]
        raise UserError(f"{loose} of {files.path} is in no folder; put each class into its own or use --labels=auto")
    if not any(folders):
        raise UserError(
            f"all images of {files.path} are in the folder {above.rstrip('/')}, which would be the one class; put each "
            "class into a folder of its own or use --labels=none"
        )
    numbers = {folder: number for number, folder in enumerate(sorted(set(folders)))}
    return [numbers[folder] for folder in folders]


def _common_folder(names: Sequence[str]) -> str:
    """Return the innermost folder that holds all files, with a `/` at its end; "" for the topmost one."""
    prefix = posixpath.commonprefix([name[: name.rfind("/") + 1] for name in names])
    return prefix[: prefix.rfind("/") + 1]


def _digest(files: ImageFiles) -> str:
    """Return a hash of all names and contents, in sorted order."""
    digest = hashlib.sha256()
    for name in files.names:
        try:
            content = files.read(name)
        except UnreadableImageError:  # the conversion decides whether that is an error
            content = b""
        digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


def _drawn_source(text: str, size: int) -> Source:
    number = text.removeprefix("drawn:")
    if not re.fullmatch(f"0*[1-9][0-9]{{0,{DRAWN_DIGITS - 1}}}", number):
        raise UserError(
            f"'{text[:40]}' does not say how many images to draw, 1 to {10**DRAWN_DIGITS - 1}", "write drawn:1000, say"
        )

    digest = hashlib.sha256(text.encode()).hexdigest()
    return Source(text, digest, int(number), functools.partial(_drawn_images, int(number), size))


def _drawn_images(count: int, size: int) -> Iterator[LabelledImage]:
    for seed in range(count):
        pixels, kind = draw_face(seed, size)
        yield LabelledImage(f"drawn{seed:08d}", functools.partial(PIL.Image.fromarray, pixels), kind)
