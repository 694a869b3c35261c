"""Frames of a clip, inverted consistently: one quality for all, content that changes smoothly."""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import sha256
from images.photos import network_input
from images.squares import Square, centre_square, cut
from images.video_reader import Clip, Frame
from inversion.inverter import Inverter
from inversion.photos.alignment import NoFaceError, align
from inversion.photos.paste_back import paste_back
from inversion.photos.reader import PhotoReader
from inversion.video.smoothing import smoothed, steady_squares
from networks.latents import Latents
from torch_utils.checkpoint import load_tensors, read_header, save_tensors

KIND = "clip"
SAVE_EVERY = 64  # frames between two saves of what has been found
WARM_SHARE = 0.2  # of the projector's steps, for frames that start from the codes of the one before


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is inverted.

    Attributes:
        smooth: standard deviation in frames of the Gaussian that codes and squares are averaged with over time.
        batch: frames that an encoder sees at once.
    """

    smooth: float = 1.5
    batch: int = 16


def clip_squares(clip: Clip, reader: PhotoReader, smooth: float) -> list[Square]:
    """Return the part of each frame that is inverted: the middle, or the face, steadily followed.

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
        raise NoFaceError(
            f"no frame of {clip.path} has a face for the detector '{reader.detector.name}'; choose another with "
            "--align, or leave it out"
        )
    return steady_squares(found, smooth if reader.detector is not None else 0)


def clip_codes(
    clip: Clip, squares: list[Square], inverter: Inverter, reader: PhotoReader, options: ClipOptions, path: Path
) -> Latents:
    """Return codes for all frames; those found so far are kept at `path`, where the same call goes on.

    A clip has one degradation, so all frames get the mean of their quality codes.
    """
    settings = {
        "clip": sha256(clip.path),
        "squares": [dataclasses.astuple(square) for square in (squares[0], squares[-1])],
        "inversion": inverter.settings,
    }
    parts = _found_before(path, settings)
    done = sum(len(part) for part in parts)
    targets = _targets(clip, squares, reader, done)
    bar = tqdm.tqdm(total=len(squares), initial=done, desc="codes", unit="frame", disable=None)
    batch = options.batch if inverter.options.projector is None else 1
    unsaved = 0
    try:
        for images in _batched(targets, batch):
            parts.append(_next_codes(inverter, images.to(inverter.device), parts).to("cpu"))
            bar.update(len(images))
            unsaved += len(images)
            if unsaved >= SAVE_EVERY:
                _save(path, parts, settings)
                unsaved = 0
    finally:
        bar.close()
        if unsaved:
            _save(path, parts, settings)
    ws, q = _joined(parts)
    return Latents(smoothed(ws, options.smooth), None if q is None else q.mean(0, keepdim=True).expand(len(q), -1))


def _next_codes(inverter: Inverter, images: Tensor, parts: list[Latents]) -> Latents:
    """Return the codes of the next frames; the projector starts from those of the frame before."""
    options = inverter.options.projector
    if options is None or not parts or inverter.encoder is not None:
        return inverter.codes(images)
    steps = max(1, round(WARM_SHARE * options.steps))
    return inverter.with_projector(dataclasses.replace(options, steps=steps)).codes(
        images, start=parts[-1][-1:].to(inverter.device)
    )


def _targets(clip: Clip, squares: list[Square], reader: PhotoReader, first: int) -> Iterator[Tensor]:
    """Yield the parts of the frames from number `first` on, `[1, C, R, R]` in [-1, 1]."""
    for index, (frame, square) in enumerate(zip(clip.frames(), squares, strict=True)):
        if index >= first:
            yield network_input(cut(frame.pixels, square, reader.resolution), reader.channels)


def _batched(images: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    waiting: list[Tensor] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == count:
            yield torch.cat(waiting)
            waiting = []
    if waiting:
        yield torch.cat(waiting)


def _joined(parts: list[Latents]) -> tuple[Tensor, Tensor | None]:
    ws = torch.cat([part.ws for part in parts])
    return ws, None if parts[0].q is None else torch.cat([part.q for part in parts])


def _save(path: str | os.PathLike, parts: list[Latents], settings: dict[str, Any]) -> None:
    ws, q = _joined(parts)
    tensors = {"ws": ws} if q is None else {"ws": ws, "q": q}
    save_tensors(path, tensors, {"kind": KIND, "settings": settings})


def _found_before(path: Path, settings: dict[str, Any]) -> list[Latents]:
    """Return what an earlier call with the same settings has found."""
    if not path.exists():
        return []
    header = read_header(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is in the way and holds no codes of a clip; name the output otherwise")
    if header.get("settings") != _as_json(settings):
        return []
    tensors = load_tensors(path)
    return [Latents.from_tensors(tensors)]


def _as_json(value):
    """Return a value as it comes back from JSON: tuples are lists."""
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, (list, tuple)) else value


def shown_frames(clip: Clip, squares: list[Square], images: Iterator[Any], pastes: bool) -> Iterator[Frame]:
    """Yield the frames of a result: each image uint8 `[R, R, 3]`, or the clip's frame with the image in its place."""
    for frame, square, image in zip(clip.frames(), squares, images, strict=True):
        pixels = paste_back(frame.pixels, image, square) if pastes else image
        yield dataclasses.replace(frame, pixels=pixels)
