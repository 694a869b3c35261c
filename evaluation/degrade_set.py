"""The degraded photos of Table 2 as files, with their sharp versions and a manifest, for methods of other programs."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from degradations import degrade
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, real_path, write_text
from evaluation.photo_sets import DegradedPhotos, PhotoOptions
from images.origin import DERIVED, PHOTO
from images.sheets import save_png

SHARP, MANIFEST = "sharp", "manifest.json"


def write_degrade_set(photos: PhotoOptions, tracks: Sequence[str], outdir: str | os.PathLike) -> int:
    """Write DIR/sharp/NAME.png, DIR/TRACK/NAME.png and DIR/manifest.json; return the number of photos.

    Degraded photos are those that the table of restoration inverts for the same data and seed, without loss.
    Raises UserError for photos that are no squares of one size, and for an output folder that holds the photos.
    """
    if real_path(outdir) == real_path(photos.data):
        raise UserError(f"the output folder {outdir} is that of the photos; choose another --outdir")
    sets = {track: DegradedPhotos(photos, track, None) for track in tracks}
    first = sets[tracks[0]]
    for folder in (SHARP, *tracks):
        prepare_directory(Path(outdir) / folder)
    names = first.file_names[: len(first)]
    entries: list[dict[str, Any]] = []
    for number, name in enumerate(tqdm.tqdm(names, desc="degrade-set", unit="photo", disable=None)):
        sharp = np.ascontiguousarray(first.dataset.image(number).transpose(1, 2, 0))  # [R, R, C]
        save_png(Path(outdir) / SHARP / f"{name}.png", sharp, PHOTO)
        entry: dict[str, Any] = {"name": name, "source": first.dataset.files.names[number], "tracks": {}}
        for track, degraded in sets.items():
            key = degraded.key(number)
            image, applied = degrade(sharp, track, np.random.default_rng(key))
            save_png(Path(outdir) / track / f"{name}.png", image, DERIVED)
            entry["tracks"][track] = {"seed": list(key), "applied": [each.to_json() for each in applied]}
        entries.append(entry)
    manifest = {
        "data": {"name": first.dataset.name, "fingerprint": first.dataset.fingerprint},
        "resolution": first.dataset.resolution,
        "channels": first.dataset.channels,
        "seed": photos.seed,
        "tracks": list(tracks),
        "photos": entries,
    }
    write_text(Path(outdir) / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return len(names)
