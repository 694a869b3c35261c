"""What `generate.py` writes: single images with their codes, figures, strips and videos."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, replace_file, write_text
from generation.quality_codes import SHARP, Quality
from generation.sampling import Sampling, generate, noise_of_seeds, seed_batches, ws_of_seeds
from generation.walks import content_loop, frames, quality_path
from images.figures import check_grid_size, labelled_grid
from images.photos import read_gray_or_colour
from images.sheets import save_png
from images.video.writer import write_mp4
from images.writer import ImageWriter
from networks.generators.interface import Generator
from torch_utils.progress import ProgressBar
from torch_utils.sharing import Share

# Images that may wait to be written, and their pixels.
MAX_WAITING = 128
MAX_WAITING_PIXELS = 2**27

Walk = tuple[str, Iterable[np.ndarray]]  # its name, and its images uint8 [H, W, C]


def image_name(seed: int, quality: Quality) -> str:
    """Return `seed0012.png` for a sharp image, `seed0012-<label>.png` for another."""
    return f"seed{seed:04d}.png" if quality.is_sharp else f"seed{seed:04d}-{quality.label}.png"


def code_rows(qualities: Sequence[Quality], rows: slice, count: int, q_dim: int) -> np.ndarray:
    """Return the codes of some seeds, float32 `[K, N, q_dim]`; zero for sharp, q_dim 0 for a plain network."""
    zeros = np.zeros((count, q_dim), np.float32)
    found = [quality.rows(rows) for quality in qualities]
    return np.stack([zeros if codes is None else codes for codes in found])


def write_images(
    G: Generator,
    seeds: Sequence[int],
    qualities: Sequence[Quality],
    sampling: Sampling,
    outdir: str | os.PathLike,
    provenance: dict[str, Any],
    grid: bool = False,
    save_codes: bool = False,
    share: Share | None = None,
) -> int:
    """Write one image for each seed and quality; and, when all are there, `codes.json`, which says how each was made.

    Args:
        G, seeds, qualities, sampling: as for `generation.sampling.generate`.
        outdir: created where there is none.
        provenance: of the network, goes into `codes.json`.
        grid: write `grid.png` too: a row a seed, a column a quality.
        save_codes: write `codes.npz` too, whose rows follow those of `codes.json`: `filename` (str), `seed` (int64),
            `ws` (float32 `[N, num_ws, w_dim]`) and `q` (float32 `[N, q_dim]`, zero for sharp).
        share: part of this process among those that divide the seeds; None: all of them.

    Returns the number of images that this process has written.
    """
    share = share or Share(G.device)
    size = G.img_resolution, G.img_resolution
    if sampling.framing is not None:
        size = sampling.framing.coordinates(G, all(quality.is_sharp for quality in qualities)).size
        provenance = {**provenance, "framing": asdict(sampling.framing)}
    if grid:
        check_grid_size(len(seeds), len(qualities), max(size))
    outdir = prepare_directory(outdir)
    batches = seed_batches(G, len(seeds), qualities, sampling)
    mine = share.claim(batches, lambda rows: f"seeds {', '.join(map(str, seeds[rows]))}")
    bar = ProgressBar(len(seeds) * len(qualities), "img", share)
    with closing(bar), ImageWriter(pending=max(1, min(MAX_WAITING, MAX_WAITING_PIXELS // math.prod(size)))) as writer:
        for views in generate(G, seeds, qualities, sampling, mine):
            for row, seed in enumerate(seeds[views.rows]):
                for column, quality in enumerate(qualities):
                    writer.write(outdir / image_name(seed, quality), views.images[column, row])
            bar.update(views.images.shape[0] * views.images.shape[1])
    if share.is_last():
        _write_overview(G, seeds, qualities, sampling, outdir, provenance, grid, save_codes)
    return bar.n


def _write_overview(
    G: Generator,
    seeds: Sequence[int],
    qualities: Sequence[Quality],
    sampling: Sampling,
    outdir: Path,
    provenance: dict[str, Any],
    grid: bool,
    save_codes: bool,
) -> None:
    """Write what describes images that are written, as `write_images` says."""
    codes = code_rows(qualities, slice(None), len(seeds), G.q_dim)  # [K, S, q_dim]
    pairs = [(row, seed, column, quality) for row, seed in enumerate(seeds) for column, quality in enumerate(qualities)]
    records = [_record(seed, quality, codes[column, row], sampling) for row, seed, column, quality in pairs]
    write_text(outdir / "codes.json", _codes_json(provenance, records))
    if save_codes:
        batches = seed_batches(G, len(seeds), qualities, sampling)
        ws = torch.cat([ws_of_seeds(G, seeds[rows], sampling) for rows in batches])  # [S, num_ws, w_dim]
        _write_codes(outdir / "codes.npz", records, ws.repeat_interleave(len(qualities), dim=0).float().cpu().numpy())
    if grid:
        shown = np.stack([read_gray_or_colour(outdir / record["file"]) for record in records])
        labels = [f"seed {seed}" for seed in seeds], [quality.label for quality in qualities]
        save_png(outdir / "grid.png", labelled_grid(shown.reshape(len(seeds), -1, *shown.shape[1:]), *labels))


def write_quality_walk(
    G: Generator,
    seeds: Sequence[int],
    qualities: Sequence[Quality],
    sampling: Sampling,
    outdir: str | os.PathLike,
    steps: int,
    fps: int | None = None,
    share: Share | None = None,
) -> int:
    """Write each seed's way from sharp through all qualities, `steps` images from each to the next.

    Without `fps` as `quality.png`, a row a seed; with it as videos `seed0012-quality.mp4`, which processes can share.
    Returns the number of files that this process has written.
    """
    stations = list(qualities[1:] if qualities[0].is_sharp else qualities)
    if not stations:
        raise UserError("--interpolate=quality has nowhere to go from sharp; add for example --quality=random")
    columns = _step_labels([SHARP.label] + [quality.label for quality in stations], steps)
    if fps is None:
        check_grid_size(len(seeds), len(columns), G.img_resolution)
    outdir = prepare_directory(outdir)
    codes = torch.from_numpy(code_rows(stations, slice(None), len(seeds), G.q_dim))  # [K, S, q_dim]
    walks = [
        (f"seed{seed:04d}-quality", _walk_of_seed(G, seed, codes[:, row], sampling, steps))
        for row, seed in enumerate(seeds)
    ]
    if fps is not None:
        return _write_videos(walks, outdir, fps, len(seeds) * len(columns), share or Share(G.device))
    strips = np.stack([list(images) for _, images in _progress(walks, len(seeds), "strip")])
    save_png(outdir / "quality.png", labelled_grid(strips, [f"seed {seed}" for seed in seeds], columns))
    return 1


def write_content_walk(
    G: Generator,
    seeds: Sequence[int],
    qualities: Sequence[Quality],
    sampling: Sampling,
    outdir: str | os.PathLike,
    steps: int,
    fps: int | None = None,
    share: Share | None = None,
) -> int:
    """Write the loop through all seeds in W, `steps` images from each to the next, once for each quality.

    Quality and noise are those of the first seed throughout. Without `fps` as `content.png` (`content-<label>.png`
    where degraded), a row from each seed to the next; with it as `content.mp4`, which processes can share. Returns the
    number of files that this process has written.
    """
    if len(seeds) < 2:
        raise UserError(f"--interpolate=content needs at least two seeds, and --seeds names only {seeds[0]}; add one")
    if fps is None:
        check_grid_size(len(seeds), steps, G.img_resolution)
    outdir = prepare_directory(outdir)
    names = ["content" if quality.is_sharp else f"content-{quality.label}" for quality in qualities]
    walks = [(name, _loop(G, seeds, quality, sampling, steps)) for name, quality in zip(names, qualities, strict=True)]
    if fps is not None:
        return _write_videos(walks, outdir, fps, len(qualities) * len(seeds) * steps, share or Share(G.device))
    rows = [f"{seed} to {follower}" for seed, follower in zip(seeds, [*seeds[1:], seeds[0]], strict=True)]
    columns = [f"{100 * step / steps:.3g}%" for step in range(steps)]
    for name, images in _progress(walks, len(qualities), "strip"):
        strip = np.stack(list(images))
        strip = strip.reshape(len(seeds), steps, *strip.shape[1:])
        save_png(outdir / f"{name}.png", labelled_grid(strip, rows, columns))
    return len(names)


def _walk_of_seed(G: Generator, seed: int, codes: Tensor, sampling: Sampling, steps: int) -> Iterator[np.ndarray]:
    ws = ws_of_seeds(G, [seed], sampling)
    noise = noise_of_seeds(G, [seed], sampling.noise_mode)
    yield from frames(G, ws, quality_path(codes.to(ws.device), steps), noise, sampling.batch)


def _loop(G: Generator, seeds: Sequence[int], quality: Quality, sampling: Sampling, steps: int) -> Iterator[np.ndarray]:
    starts = range(0, len(seeds), sampling.batch)
    ws = torch.cat([ws_of_seeds(G, seeds[first : first + sampling.batch], sampling) for first in starts])
    codes = quality.rows(slice(0, 1))
    q = None if codes is None else torch.tensor(codes, device=ws.device)
    yield from frames(G, content_loop(ws, steps), q, noise_of_seeds(G, seeds[:1], sampling.noise_mode), sampling.batch)


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


def _record(seed: int, quality: Quality, q: np.ndarray, sampling: Sampling) -> dict[str, Any]:
    return {
        "file": image_name(seed, quality),
        "seed": seed,
        "class": sampling.class_index,
        "truncation_psi": sampling.truncation_psi,
        "noise_mode": sampling.noise_mode,
        "quality": quality.label,
        "q": q.tolist(),
    }


def _codes_json(provenance: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Return an object with a line for each image."""
    head = json.dumps(provenance, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(record) for record in records)
    return f'{head},\n "images": [\n  {lines}\n ]\n}}\n'


def _write_codes(path: Path, records: Sequence[Mapping[str, Any]], ws: np.ndarray) -> None:
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            filename=np.array([record["file"] for record in records]),
            seed=np.array([record["seed"] for record in records], np.int64),
            ws=ws,
            q=np.array([record["q"] for record in records], np.float32),
        )
