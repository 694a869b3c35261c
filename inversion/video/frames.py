"""The frames of a result: images in the places of a clip's frames, pasted by one process or by several.

Of several processes each renders and pastes some frames at a time, and puts what is new of them into files. A thread
of the first process puts that into the clip's frames, in their order, and hands them to the codec: a video is one
stream. Nobody is far ahead of it, so that the disk holds little.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from dnnlib.running.stop import StopNow
from images.squares import Square
from images.video.reader import Clip, Frame
from inversion.photos.paste_back import pasted_region
from inversion.video.clip_inversion import frames_in, frames_name
from inversion.video.codes_file import clear_parts, parts_folder
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.processes.progress import ProgressBar
from torch_utils.processes.sharing import Share

AHEAD = 4  # spans for each process that may be finished and wait for the codec

Region = tuple[int, int, np.ndarray]  # left, top, and pixels uint8 `[h, w, 3]` of what is new in a frame
Render = Callable[[Iterable[range]], Iterator[np.ndarray]]  # yields the images uint8 `[n, R, R, 3]` of spans of frames
Write = Callable[[Iterator[Frame]], int]  # writes the frames of a clip, and returns their number


@dataclasses.dataclass(frozen=True)
class Composition:
    """How frames are made.

    Attributes:
        clip: video whose frames and times the result has.
        squares: part of each frame that its image shows.
        pastes: whether a frame is the clip's frame with the image in its square, not the image alone.
    """

    clip: Clip
    squares: Sequence[Square]
    pastes: bool

    def regions(self, span: range, frames: Sequence[Frame], images: np.ndarray) -> list[Region]:
        """Return what is new in each frame of a span, whose images are uint8 `[n, R, R, 3]`."""
        if not self.pastes:
            return [(0, 0, image) for image in images]
        squares = self.squares[span.start : span.stop]
        return [
            pasted_region(frame.pixels, image, square)
            for frame, image, square in zip(frames, images, squares, strict=True)
        ]

    def compose(self, frames: Iterable[Frame], regions: Iterable[Region]) -> Iterator[Frame]:
        """Yield frames with what is new in them."""
        for frame, (left, top, region) in zip(frames, regions, strict=True):
            pixels = frame.pixels.copy() if self.pastes else region
            if self.pastes:
                pixels[top : top + region.shape[0], left : left + region.shape[1]] = region
            yield dataclasses.replace(frame, pixels=pixels)


def write_alone(composition: Composition, spans: Sequence[range], render: Render, write: Write, share: Share) -> int:
    """Render, paste and write all frames in this process; return their number."""
    with contextlib.closing(ProgressBar(len(composition.squares), "images", share)) as bar:

        def composed() -> Iterator[Frame]:
            for (span, frames), images in zip(frames_in(composition.clip, spans), render(spans), strict=True):
                yield from composition.compose(frames, composition.regions(span, frames, images))
                bar.update(len(span))

        return write(composed())


def write_divided(
    composition: Composition, spans: Sequence[range], render: Render, write: Write, path: Path, share: Share
) -> int:
    """Render and paste this process's frames, and write all of them in the first; return their number there, else 0.

    Args:
        composition: how frames are made.
        spans: frames that are rendered at once.
        render: yields the images of spans.
        write: writes frames.
        path: file of the result; what is not written yet lies in a folder beside it.
        share: part of this process.
    """
    folder = parts_folder(path)
    folder.mkdir(exist_ok=True)
    if share.rank > 0:
        _make(composition, spans, render, folder, share)
        return 0
    with ThreadPoolExecutor(1) as executor:
        count = executor.submit(_halting, write, _written(composition, spans, folder, share), share)
        try:
            _make(composition, spans, render, folder, share)
        except BaseException as error:
            share.halt()  # the thread, too
            failure = count.exception()
            raise error if failure is None or isinstance(failure, StopNow) else failure from None
        written = count.result()
    clear_parts(folder, "images")
    return written


def _halting(write: Write, frames: Iterator[Frame], share: Share) -> int:
    """Write frames; where that fails, nobody makes further ones."""
    try:
        return write(frames)
    except BaseException:
        share.halt()
        raise


def _make(composition: Composition, spans: Sequence[range], render: Render, folder: Path, share: Share) -> None:
    """Write what is new in this process's frames into files."""
    ahead = AHEAD * share.size
    number = {span: index for index, span in enumerate(spans)}
    with contextlib.closing(ProgressBar(len(composition.squares), "images", share)) as bar:
        mine = share.claim(spans, lambda span: frames_name(composition.clip, span))
        for span, frames in frames_in(composition.clip, mine):
            if number[span] >= ahead:
                share.wait(f"written/{number[span] - ahead}")
            [images] = render([span])
            _save(folder, span, composition.regions(span, frames, images))
            share.offer(f"images/{span.start}")
            bar.update(len(span))


def _written(composition: Composition, spans: Sequence[range], folder: Path, share: Share) -> Iterator[Frame]:
    """Yield all frames, as the processes finish what is new in them."""
    for number, (span, frames) in enumerate(frames_in(composition.clip, spans)):
        share.wait(f"images/{span.start}")
        yield from composition.compose(frames, _load(folder, span))
        share.offer(f"written/{number}")


def _file(folder: Path, span: range) -> Path:
    return folder / f"images-{span.start:08d}.safetensors"


def _save(folder: Path, span: range, regions: Sequence[Region]) -> None:
    tensors = {f"{index:04d}": torch.from_numpy(np.ascontiguousarray(part[2])) for index, part in enumerate(regions)}
    save_tensors(_file(folder, span), tensors, {"places": [part[:2] for part in regions]})


def _load(folder: Path, span: range) -> list[Region]:
    path = _file(folder, span)
    places, tensors = read_header(path)["places"], load_tensors(path)
    path.unlink()
    return [(*place, tensors[name].numpy()) for place, name in zip(places, sorted(tensors), strict=True)]
