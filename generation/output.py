"""What `generate.py` writes of single images: files, their codes, a figure."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.files import prepare_directory, replace_file, write_text
from generation.quality_codes import Quality
from generation.sampling import Sampling, generate, seed_batches, ws_of_seeds
from images.figures import check_grid_size, labelled_grid
from images.photos import read_gray_or_colour
from images.sheets import save_png
from images.writer import ImageWriter
from networks.generators.interface import Generator
from torch_utils.processes.progress import ProgressBar
from torch_utils.processes.sharing import Share

# Images that may wait to be written, and their pixels.
MAX_WAITING = 128
MAX_WAITING_PIXELS = 2**27


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
        provenance: origin of the network, which goes into `codes.json`.
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
