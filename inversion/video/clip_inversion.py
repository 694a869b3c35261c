"""Inversion of a clip: one quality code for all frames, and content codes that change smoothly over time."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.photos import network_input
from images.squares import Square, centre_square, cut
from images.video.reader import Clip, Frame
from inversion.inverter import Inverter
from inversion.photos.alignment import NoFaceError, align
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PhotoReader
from inversion.tuned_weights import codes_among
from inversion.video.smoothing import smooth_rows, steady_squares
from networks.generators.interface import Generator
from networks.latents import Latents, join
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

KIND = "clip"  # kind of the file of codes, in its header
SAVE_EVERY = 64  # frames between two saves of the codes found so far
REMOVE = "remove it, and its codes are found again"
WARM_SHARE = 0.2  # share of the projector's steps for frames that start from the codes of the frame before


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is inverted.

    Attributes:
        smooth: standard deviation in frames of the Gaussian that codes and squares are averaged with over time.
        batch: frames that an encoder processes at once.
    """

    smooth: float = 1.5
    batch: int = 16


def clip_squares(clip: Clip, reader: PhotoReader, smooth: float) -> list[Square]:
    """Return the part of each frame that is inverted: the middle square, or a square that follows the face smoothly.

    Raises NoFaceError when no frame has a face.
    """
    found: list[Square | None] = []
    bar = tqdm.tqdm(clip.frames(), total=clip.frame_count, desc="faces", unit="frame", disable=None)
    for frame in bar:
        if reader.detector is None:
            found.append(centre_square(frame.pixels))
            continue
        try:
            found.append(align(frame.pixels, reader.detector, str(clip.path)).square)
        except NoFaceError:
            found.append(None)
    if all(square is None for square in found):
        assert reader.detector is not None, "without a detector every frame has its middle square"
        raise NoFaceError(
            f"no frame of {clip.path} has a face for the detector '{reader.detector.name}'; choose another with "
            "--align, or leave it out"
        )
    return steady_squares(found, smooth if reader.detector is not None else 0)


def clip_codes(
    clip: Clip, squares: list[Square], inverter: Inverter, reader: PhotoReader, options: ClipOptions, path: Path
) -> Latents:
    """Return the codes of all frames; codes found so far are stored at `path`, from where the same call goes on.

    A clip has one degradation, so all frames get the mean of their quality codes. Paddings and features say where
    things are, so each frame keeps its own.

    Args:
        clip: video to invert.
        squares: part of each frame that is inverted.
        inverter: how frames are inverted.
        reader: resolution and channels of the parts.
        options: smoothing and batch size.
        path: file of the codes, before smoothing.

    Raises UserError for another file at `path`, and one with damaged codes.
    """
    settings = {
        "clip": sha256(clip.path),
        "squares": [dataclasses.astuple(square) for square in (squares[0], squares[-1])],
        "inversion": inverter.settings,
    }
    parts = _load_codes(path, settings, inverter.G)
    done = sum(len(part) for part in parts)
    targets = _targets(clip, squares, reader, done)
    bar = tqdm.tqdm(total=len(squares), initial=done, desc="codes", unit="frame", disable=None)
    batch = options.batch if inverter.options.projector is None else 1
    unsaved = 0
    try:
        for images in _batches(targets, batch):  # [n, C, R, R]
            parts.append(_next_codes(inverter, images.to(inverter.device), parts).to("cpu"))
            _require_same_kind(path, parts)
            bar.update(len(images))
            unsaved += len(images)
            if unsaved >= SAVE_EVERY:
                _save(path, parts, settings)
                unsaved = 0
    finally:
        bar.close()
        if unsaved:
            _save(path, parts, settings)
    codes = join(parts)
    q = None if codes.q is None else codes.q.mean(0, keepdim=True).expand(len(codes), -1)  # [F, q_dim]
    return dataclasses.replace(codes, ws=smooth_rows(codes.ws, options.smooth), q=q)


def _next_codes(inverter: Inverter, images: Tensor, parts: Sequence[Latents]) -> Latents:
    """Return the codes of the next frames; the projector starts from those of the frame before."""
    options = inverter.options.projector
    if options is None or not parts or inverter.encoder is not None:
        return inverter.codes(images)
    steps = max(1, round(WARM_SHARE * options.steps))
    warm = inverter.with_projector(dataclasses.replace(options, steps=steps))
    return warm.codes(images, start=parts[-1][-1:].to(inverter.device))


def _targets(clip: Clip, squares: list[Square], reader: PhotoReader, first: int) -> Iterator[Tensor]:
    """Yield the parts of the frames from number `first` on, `[1, C, R, R]` in [-1, 1]."""
    for index, (frame, square) in enumerate(zip(clip.frames(), squares, strict=True)):
        if index >= first:
            yield network_input(cut(frame.pixels, square, reader.resolution), reader.channels)


def _batches(images: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """Yield images `[1, C, R, R]` in batches of `count`; the last batch may be smaller."""
    waiting: list[Tensor] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == count:
            yield torch.cat(waiting)
            waiting = []
    if waiting:
        yield torch.cat(waiting)


def _save(path: str | os.PathLike, parts: Sequence[Latents], settings: dict[str, Any]) -> None:
    save_tensors(path, join(parts).tensors(), {"kind": KIND, "settings": settings})


def _load_codes(path: Path, settings: dict[str, Any], G: Generator) -> list[Latents]:
    """Return the codes that an earlier call with the same settings has found; raise UserError for another file."""
    if not path.exists():
        return []
    header = read_header(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is in the way and holds no codes of a clip; name the output otherwise")
    if header.get("settings") != _as_json(settings):
        return []
    return [codes_among(path, load_tensors(path), REMOVE, G)]


def _require_same_kind(path: Path, parts: Sequence[Latents]) -> None:
    """Raise UserError where a file has other codes of its frames than the next frames get."""
    if len(parts) > 1 and parts[0].tensors().keys() != parts[-1].tensors().keys():
        found, new = (", ".join(part.tensors()) for part in (parts[0], parts[-1]))
        raise UserError(f"{path} holds {found} of each frame, and further frames have {new}; {REMOVE}")


def _as_json(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, (list, tuple)) else value


def compose_frames(
    clip: Clip, squares: Sequence[Square], images: Iterable[np.ndarray], pastes: bool
) -> Iterator[Frame]:
    """Yield the frames of a result.

    Args:
        clip: video whose times the frames get.
        squares: part of each frame that its image shows.
        images: image of each frame, uint8 `[R, R, 3]`.
        pastes: whether a frame is the clip's frame with the image in its square, not the image alone.
    """
    for frame, square, image in zip(clip.frames(), squares, images, strict=True):
        pixels = paste_back(frame.pixels, image, square) if pastes else image
        yield dataclasses.replace(frame, pixels=pixels)
