"""Inversion of a clip: one quality code for all frames, and content codes that change smoothly over time.

Several processes divide the frames: each looks for faces in every N-th one, and finds the codes of some of them at a
time. All squares, and all codes, are smoothed together, by each process alike.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dnnlib.files import sha256
from images.photos import network_input
from images.squares import Square, centre_square, cut
from images.video.reader import Clip, Frame
from inversion.inverter import Inverter
from inversion.photos.alignment import NoFaceError, align
from inversion.photos.reader import PhotoReader
from inversion.video.codes_file import CodesFile, require_same_kind
from inversion.video.smoothing import smooth_rows, steady_squares
from networks.latents import Latents, join
from torch_utils.processes.progress import ProgressBar
from torch_utils.processes.sharing import Share

SAVE_EVERY = 64  # frames between two saves of the codes found so far
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


def clip_squares(clip: Clip, reader: PhotoReader, smooth: float, share: Share | None = None) -> list[Square]:
    """Return the part of each frame that is inverted: the middle square, or a square that follows the face smoothly.

    Raises NoFaceError when no frame has a face.
    """
    share = share or Share(torch.device("cpu"))
    own: list[tuple[float, ...] | None] = []
    count = 0
    with closing(ProgressBar(clip.frame_count or 0, "faces", share)) as bar:
        for number, frame in enumerate(clip.frames()):
            count += 1
            if number % share.size == share.rank:
                square = _find_square(clip, frame, reader)
                own.append(None if square is None else dataclasses.astuple(square))
                share.go_on()
                bar.update(1)
    share.offer(f"squares/{share.rank}", own)
    parts = [share.wait(f"squares/{rank}") for rank in range(share.size)]
    rows = [parts[number % share.size][number // share.size] for number in range(count)]
    found = [None if row is None else Square(*row) for row in rows]
    if all(square is None for square in found):
        assert reader.detector is not None, "without a detector every frame has its middle square"
        raise NoFaceError(
            f"no frame of {clip.path} has a face for the detector '{reader.detector.name}'; choose another with "
            "--align, or leave it out"
        )
    return steady_squares(found, smooth if reader.detector is not None else 0)


def _find_square(clip: Clip, frame: Frame, reader: PhotoReader) -> Square | None:
    """Return the square of a frame that is inverted, by itself; None where it has no face."""
    if reader.detector is None:
        return centre_square(frame.pixels)
    try:
        return align(frame.pixels, reader.detector, str(clip.path)).square
    except NoFaceError:
        return None


def clip_codes(
    clip: Clip,
    squares: list[Square],
    inverter: Inverter,
    reader: PhotoReader,
    options: ClipOptions,
    path: Path,
    share: Share | None = None,
) -> Latents:
    """Return the codes of all frames; codes found so far are stored at `path`, from where the same call goes on.

    A clip has one degradation, so all frames get the mean of their quality codes. Paddings and features say where
    things are, so each frame keeps its own.

    The projector without an encoder starts from the codes of the frame before, so that the first process finds those
    of all frames, and the others wait.

    Args:
        clip: video to invert.
        squares: part of each frame that is inverted.
        inverter: how frames are inverted.
        reader: resolution and channels of the parts.
        options: smoothing and batch size.
        path: file of the codes, before smoothing.
        share: part of this process among those that divide the frames; None: all of them.

    Raises UserError for another file at `path`, and one with damaged codes.
    """
    share = share or Share(torch.device("cpu"))
    settings = {
        "clip": sha256(clip.path),
        "squares": [dataclasses.astuple(square) for square in (squares[0], squares[-1])],
        "inversion": inverter.settings,
    }
    file = CodesFile(path, settings, inverter.G)
    search = _Search(clip, squares, inverter, reader, file, share)
    batch = options.batch if inverter.options.projector is None else 1
    done = share.agree(lambda: sum(map(len, file.load())))
    starts = range(done, len(squares), batch)
    spans = [range(start, min(start + batch, len(squares))) for start in starts]
    with closing(ProgressBar(len(squares) - done, "codes", share)) as bar:
        if share.size > 1 and not _is_chain(inverter):
            search.divided(spans, bar)
        elif share.rank == 0:
            search.in_order(spans, bar)
    if share.rank == 0:
        file.clear()
        share.offer("codes")
    share.wait("codes")
    codes = join(file.load())
    q = None if codes.q is None else codes.q.mean(0, keepdim=True).expand(len(codes), -1)  # [F, q_dim]
    return dataclasses.replace(codes, ws=smooth_rows(codes.ws, options.smooth), q=q)


def _is_chain(inverter: Inverter) -> bool:
    """Return whether the search for a frame's codes starts from those of the frame before."""
    return inverter.options.projector is not None and inverter.encoder is None


@dataclass(frozen=True, eq=False)
class _Search:
    """The search for the codes of a clip's frames.

    Attributes:
        clip, squares, inverter, reader, share: as of `clip_codes`.
        file: file of the codes.
    """

    clip: Clip
    squares: Sequence[Square]
    inverter: Inverter
    reader: PhotoReader
    file: CodesFile
    share: Share

    def in_order(self, spans: Sequence[range], bar: ProgressBar) -> None:
        """Find the codes of frames one after the other, behind those in the file."""
        parts, unsaved = self.file.load(), 0
        try:
            for span, images in targets(self.clip, self.squares, self.reader, spans):
                self.share.go_on()
                parts.append(_next_codes(self.inverter, images.to(self.inverter.device), parts).to("cpu"))
                require_same_kind(self.file.path, parts)
                bar.update(len(span))
                unsaved += len(span)
                if unsaved >= SAVE_EVERY:
                    self.file.save(parts)
                    unsaved = 0
        finally:
            if unsaved:
                self.file.save(parts)

    def divided(self, spans: Sequence[range], bar: ProgressBar) -> None:
        """Find this process's codes of frames, in files of their own, which the first one joins."""
        missing = self.share.agree(
            lambda: [number for number, span in enumerate(spans) if not self.file.has_part(span)]
        )
        mine = self.share.claim([spans[number] for number in missing], lambda span: frames_name(self.clip, span))
        for span, images in targets(self.clip, self.squares, self.reader, mine):
            self.file.save_part(span, self.inverter.codes(images.to(self.inverter.device)).to("cpu"))
            self.share.offer(f"codes/{span.start}")
            bar.update(len(span))
        for number in missing:
            self.share.wait(f"codes/{spans[number].start}")
        if self.share.rank == 0:
            self.file.join(spans)


def frames_name(clip: Clip, span: range) -> str:
    """Return what messages call some frames of a clip."""
    return f"frames {span.start} to {span.stop - 1} of {clip.path}"


def _next_codes(inverter: Inverter, images: Tensor, parts: Sequence[Latents]) -> Latents:
    """Return the codes of the next frames; the projector starts from those of the frame before."""
    options = inverter.options.projector
    if options is None or not parts or not _is_chain(inverter):
        return inverter.codes(images)
    steps = max(1, round(WARM_SHARE * options.steps))
    warm = inverter.with_projector(dataclasses.replace(options, steps=steps))
    return warm.codes(images, start=parts[-1][-1:].to(inverter.device))


def targets(
    clip: Clip, squares: Sequence[Square], reader: PhotoReader, spans: Iterable[range]
) -> Iterator[tuple[range, Tensor]]:
    """Yield spans with the parts of their frames, `[n, C, R, R]` in [-1, 1]; spans come in the clip's order."""
    for span, frames in frames_in(clip, spans):
        pairs = zip(frames, squares[span.start : span.stop], strict=True)
        parts = [
            network_input(cut(frame.pixels, square, reader.resolution), reader.channels) for frame, square in pairs
        ]
        yield span, torch.cat(parts)


def frames_in(clip: Clip, spans: Iterable[range]) -> Iterator[tuple[range, list[Frame]]]:
    """Yield spans with their frames, in one pass over the clip; spans come in the clip's order."""
    frames, position = clip.frames(), 0
    for span in spans:
        yield span, list(itertools.islice(frames, span.start - position, span.stop - position))
        position = span.stop
