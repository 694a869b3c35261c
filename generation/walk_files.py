"""What `generate.py` writes of walks, through qualities, contents, or into an image: strips and videos."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from generation.framing import Framing
from generation.output import code_rows
from generation.quality_codes import SHARP, Quality
from generation.sampling import Sampling, noise_of_seeds, seeds_at_once, ws_of_seeds
from generation.walks import content_loop, frames, quality_path, zoom
from images.figures import check_grid_size, labelled_grid
from images.sheets import save_png
from images.video.writer import write_mp4
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator
from torch_utils.processes.progress import ProgressBar
from torch_utils.processes.sharing import Share

Walk = tuple[str, Iterable[np.ndarray]]  # its name, and its images uint8 [H, W, C]


@dataclass(frozen=True)
class WalkRequest:
    """A walk to write.

    Attributes:
        seeds, qualities, sampling: as for `generation.sampling.generate`.
        outdir: created where there is none.
        steps: images from a quality or seed to the next, or into the window.
        fps: frames a second of videos; None: strips.
        share: this process's part of the videos.
    """

    seeds: Sequence[int]
    qualities: Sequence[Quality]
    sampling: Sampling
    outdir: str
    steps: int
    fps: int | None
    share: Share

    @property
    def rows(self) -> list[str]:
        """Labels of strips with a row a seed."""
        return [f"seed {seed}" for seed in self.seeds]

    def coordinates(self, G: Generator) -> Coordinates | None:
        """Return where the pixels of all images are; None: on the trained grid."""
        if self.sampling.framing is None:
            return None
        return self.sampling.framing.coordinates(G, all(quality.is_sharp for quality in self.qualities))

    def folder(self, columns: int, side: int) -> Path:
        """Return the folder of the results; raise UserError where strips of so many images would be too large."""
        if self.fps is None:
            check_grid_size(len(self.seeds), columns, side)
        return prepare_directory(self.outdir)


def write_quality_walk(G: Generator, request: WalkRequest) -> int:
    """Write each seed's way from sharp through all qualities, `steps` images from each to the next.

    Without `fps` as `quality.png`, a row a seed; with it as videos `seed0012-quality.mp4`, which processes can share.
    Returns the number of files that this process has written.
    """
    seeds, sampling, steps = request.seeds, request.sampling, request.steps
    stations = list(request.qualities[1:] if request.qualities[0].is_sharp else request.qualities)
    if not stations:
        raise UserError("--interpolate=quality has nowhere to go from sharp; add for example --quality=random")
    columns = _step_labels([SHARP.label] + [quality.label for quality in stations], steps)
    coords = request.coordinates(G)
    outdir = request.folder(len(columns), _longer_side(G, coords))
    codes = torch.from_numpy(code_rows(stations, slice(None), len(seeds), G.q_dim))  # [K, S, q_dim]
    walks = [
        (f"seed{seed:04d}-quality", _walk_of_seed(G, seed, codes[:, row], sampling, steps, coords))
        for row, seed in enumerate(seeds)
    ]
    if request.fps is not None:
        return _write_videos(walks, outdir, request.fps, len(seeds) * len(columns), request.share)
    strips = np.stack([list(images) for _, images in _progress(walks, len(seeds), "strip")])
    save_png(outdir / "quality.png", labelled_grid(strips, request.rows, columns))
    return 1


def write_content_walk(G: Generator, request: WalkRequest) -> int:
    """Write the loop through all seeds in W, `steps` images from each to the next, once for each quality.

    Quality and noise are those of the first seed throughout. Without `fps` as `content.png` (`content-<label>.png`
    where degraded), a row from each seed to the next; with it as `content.mp4`, which processes can share. Returns the
    number of files that this process has written.
    """
    seeds, qualities, sampling, steps = request.seeds, request.qualities, request.sampling, request.steps
    if len(seeds) < 2:
        raise UserError(f"--interpolate=content needs at least two seeds, and --seeds names only {seeds[0]}; add one")
    coords = request.coordinates(G)
    outdir = request.folder(steps, _longer_side(G, coords))
    names = ["content" if quality.is_sharp else f"content-{quality.label}" for quality in qualities]
    loops = [_loop(G, seeds, quality, sampling, steps, coords) for quality in qualities]
    walks = list(zip(names, loops, strict=True))
    if request.fps is not None:
        return _write_videos(walks, outdir, request.fps, len(qualities) * len(seeds) * steps, request.share)
    rows = [f"{seed} to {follower}" for seed, follower in zip(seeds, [*seeds[1:], seeds[0]], strict=True)]
    columns = [f"{100 * step / steps:.3g}%" for step in range(steps)]
    for name, images in _progress(walks, len(qualities), "strip"):
        strip = np.stack(list(images))
        strip = strip.reshape(len(seeds), steps, *strip.shape[1:])
        save_png(outdir / f"{name}.png", labelled_grid(strip, rows, columns))
    return len(names)


def write_zoom_walk(G: Generator, request: WalkRequest) -> int:
    """Write each seed's way from the whole image into the window of `--crop`, `steps` images and one more.

    Without `fps` as `zoom.png` (`zoom-<label>.png` where degraded), a row a seed; with it as videos
    `seed0012-zoom.mp4` (`seed0012-zoom-<label>.mp4`), which processes can share. Returns the number of files that this
    process has written. Raises UserError where no window is given, and for a network with one grid.
    """
    seeds, qualities, sampling, steps = request.seeds, request.qualities, request.sampling, request.steps
    framing = sampling.framing
    if framing is None or framing.crop == Framing().crop:
        raise UserError("--interpolate=zoom has nowhere to go from the whole image; add for example --crop=.4,.3,.6,.5")
    is_sharp = all(quality.is_sharp for quality in qualities)
    shares = [step / steps for step in range(steps + 1)]
    path = [framing.zoomed(part, G.img_resolution).coordinates(G, is_sharp) for part in shares]
    outdir = request.folder(len(path), max(path[0].size))
    suffixes = ["" if quality.is_sharp else f"-{quality.label}" for quality in qualities]
    walks = [
        (f"seed{seed:04d}-zoom{suffix}", _zoom_of_seed(G, seed, quality.rows(slice(row, row + 1)), sampling, path))
        for suffix, quality in zip(suffixes, qualities, strict=True)
        for row, seed in enumerate(seeds)
    ]
    if request.fps is not None:
        return _write_videos(walks, outdir, request.fps, len(walks) * len(path), request.share)
    strips = np.stack([list(images) for _, images in _progress(walks, len(walks), "strip")])
    columns = [f"{100 * part:.3g}%" for part in shares]
    for suffix, strip in zip(suffixes, np.split(strips, len(suffixes)), strict=True):
        save_png(outdir / f"zoom{suffix}.png", labelled_grid(strip, request.rows, columns))
    return len(suffixes)


def _longer_side(G: Generator, coords: Coordinates | None) -> int:
    return G.img_resolution if coords is None else max(coords.size)


def _walk_of_seed(
    G: Generator, seed: int, codes: Tensor, sampling: Sampling, steps: int, coords: Coordinates | None
) -> Iterator[np.ndarray]:
    ws = ws_of_seeds(G, [seed], sampling)
    noise = noise_of_seeds(G, [seed], sampling.noise_mode)
    batch = seeds_at_once(sampling.batch, coords, is_sharp=False)
    yield from frames(G, ws, quality_path(codes.to(ws.device), steps), noise, batch, coords)


def _loop(
    G: Generator, seeds: Sequence[int], quality: Quality, sampling: Sampling, steps: int, coords: Coordinates | None
) -> Iterator[np.ndarray]:
    starts = range(0, len(seeds), sampling.batch)
    ws = torch.cat([ws_of_seeds(G, seeds[first : first + sampling.batch], sampling) for first in starts])
    codes = quality.rows(slice(0, 1))
    q = None if codes is None else torch.tensor(codes, device=ws.device)
    batch = seeds_at_once(sampling.batch, coords, quality.is_sharp)
    yield from frames(G, content_loop(ws, steps), q, noise_of_seeds(G, seeds[:1], sampling.noise_mode), batch, coords)


def _zoom_of_seed(
    G: Generator, seed: int, codes: np.ndarray | None, sampling: Sampling, path: Sequence[Coordinates]
) -> Iterator[np.ndarray]:
    ws = ws_of_seeds(G, [seed], sampling)
    q = None if codes is None else torch.tensor(codes, dtype=torch.float32, device=ws.device)
    yield from zoom(G, ws, q, noise_of_seeds(G, [seed], sampling.noise_mode), path)


def _write_videos(walks: Sequence[Walk], outdir: Path, fps: float, total: int, share: Share) -> int:
    count = 0
    with closing(ProgressBar(total, "img", share)) as bar:
        for name, images in share.claim(walks, lambda walk: f"{walk[0]}.mp4"):
            write_mp4(outdir / f"{name}.mp4", _counted(images, bar), fps)
            count += 1
    return count


def _counted(images: Iterable[np.ndarray], bar: ProgressBar) -> Iterator[np.ndarray]:
    for image in images:
        bar.update(1)
        yield image


def _progress(walks: Sequence[Walk], total: int, unit: str) -> Iterable[Walk]:
    return tqdm.tqdm(walks, total=total, unit=unit, disable=None, dynamic_ncols=True)


def _step_labels(stations: Sequence[str], steps: int) -> list[str]:
    """Return the labels of all points on the way: the stations by name, the others by how far they are."""
    labels = []
    for station in stations[:-1]:
        labels += [station] + [f"{100 * step / steps:.3g}%" for step in range(1, steps)]
    return [*labels, *stations[-1:]]
