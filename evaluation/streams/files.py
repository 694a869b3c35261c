"""Images of folders, zips and videos, of any size, in batches of equal shapes."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dnnlib.errors import UserError, counted
from dnnlib.parsing import existing
from images.files import ImageFiles
from images.listing import EXTENSIONS
from images.video.reader import read_clip


def image_batches(files: ImageFiles, batch: int) -> Iterator[tuple[list[str], Tensor]]:
    """Yield names and images uint8 `[N, C, H, W]`; neighbours of one shape share a batch."""
    names: list[str] = []
    images: list[np.ndarray] = []
    for name in files.names:
        pixels = files.picture(name)
        if images and (len(images) == batch or pixels.shape != images[0].shape):
            yield names, _stack(images)
            names, images = [], []
        names.append(name)
        images.append(pixels)
    yield names, _stack(images)


def pair_batches(a: ImageFiles, b: ImageFiles, batch: int) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Yield names and pairs of images of the same name, whatever their endings.

    Raises UserError when a name is missing on one side, and for a pair that differs in shape.
    """
    partners = _by_stem(b)
    for stem, name in _by_stem(a).items():
        if stem not in partners:
            raise UserError(f"{name} of {a.path} has no partner in {b.path}; give folders with the same names")
    if len(partners) > len(a):
        extra = next(partners[stem] for stem in partners if stem not in _by_stem(a))
        raise UserError(f"{extra} of {b.path} has no partner in {a.path}; give folders with the same names")
    for names, images in image_batches(a, batch):
        others = [b.picture(partners[_stem(name)]) for name in names]
        for name, other in zip(names, others, strict=True):
            if other.shape != (*images.shape[2:], images.shape[1]):
                here, there = (
                    f"{w}x{h} with {counted(c, 'channel')}" for h, w, c in (images[0].movedim(0, 2).shape, other.shape)
                )
                raise UserError(f"{name} has {here} in {a.path} and {there} in {b.path}; make them alike")
        yield names, images, _stack(others)


def frame_batches(path: str | Path, batch: int) -> Iterator[Tensor]:
    """Yield the frames of a video file, or of a folder or zip of images in the order of their names.

    Raises UserError for a file that is neither.
    """
    path = existing(path, "video")
    if path.is_dir() or path.suffix.lower() == ".zip":
        yield from (images for _, images in image_batches(ImageFiles(path), batch))
        return
    frames = (frame.pixels for frame in read_clip(path).frames())
    while images := list(itertools.islice(frames, batch)):
        yield _stack(images)


def _by_stem(files: ImageFiles) -> dict[str, str]:
    """Return the names of files by their names without endings; raise UserError where two are equal."""
    stems = {_stem(name): name for name in files.names}
    if len(stems) < len(files):
        twice = next(name for name in files.names if stems[_stem(name)] != name)
        raise UserError(f"{files.path} has two images called {_stem(twice)}; keep one of them")
    return stems


def _stem(name: str) -> str:
    """Return a file's name without its ending."""
    ending = next(e for e in sorted(EXTENSIONS, key=len, reverse=True) if name.lower().endswith(e))
    return name[: -len(ending)]


def _stack(images: list[np.ndarray]) -> Tensor:
    """Return images `[H, W, C]` as `[N, C, H, W]`."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
