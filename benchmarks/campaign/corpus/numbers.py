"""Files of numbers and texts: quality codes, plain directions, labels of seeds, NIQE's model, caches and records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from benchmarks.campaign.corpus.readers import Reader, digest
from dnnlib.files import write_text
from evaluation.part_cache import PartCache
from exchange.hub import _read_manifest, _read_results
from exchange.model_card import CANONICAL
from generation.quality_codes import read_codes
from inversion.directions.seed_labels import read_labels
from inversion.directions.vector_files import read_vector
from inversion.photos.tasks import DoneRecord
from metrics.feature_cache import FeatureCache
from metrics.niqe.pristine import read_pristine
from networks.describe import results_beside

CODES = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
VECTOR = np.random.default_rng(1).normal(size=16).astype(np.float32)
MEAN, COVARIANCE = np.arange(36.0), np.diag(np.arange(1.0, 37))
KEY = {"data": "x"}


def text(content: Any) -> Callable[[Path], None]:
    """Return a function that writes a text, or a value as JSON."""
    return lambda path: write_text(path, content if isinstance(content, str) else json.dumps(content))


def _read_codes(path: Path) -> str:
    return digest(read_codes(path, 4))


def _read_vector(path: Path) -> str:
    return digest(read_vector(path))


def _read_seed_labels(path: Path) -> str:
    labels = read_labels(path)
    return digest(labels.seeds, labels.scores)


def _read_pristine(path: Path) -> str:
    model = read_pristine(path)
    return digest(model.mean, model.covariance, model.block)


def _write_features(path: Path) -> None:
    cache = FeatureCache(path.parent)
    rows = cache.temporary(KEY)
    np.save(rows.with_suffix(".npy"), CODES)
    rows.with_suffix(".npy").replace(rows)
    cache.store(KEY, rows)
    cache._path(KEY).replace(path)


def _read_features(path: Path) -> str:
    """Read features from the cache; what is damaged there is computed anew, and so is as it was."""
    cache = FeatureCache(path.parent)
    cache._path(KEY).write_bytes(path.read_bytes())
    rows = cache.find(KEY)
    return digest(np.asarray(CODES if rows is None else rows))


def _write_record(path: Path) -> None:
    entry = {"photo": "a.png", "settings": "s", "size": 1, "sha256": "0", "base": "a", "files": ["a-restored.png"]}
    write_text(path, "".join(json.dumps({**entry, "photo": f"{index}.png"}) + "\n" for index in range(3)))


def _read_record(path: Path) -> str:
    return digest(DoneRecord(path.parent, "restore", {}).entries)


def _read_parts(path: Path) -> str:
    return digest(PartCache(path.parent, "table", {}).entries)


def _read_measured(path: Path) -> str:
    return digest(results_beside(path.with_name("n.safetensors")))


def _write_measured(path: Path) -> None:
    write_text(path.with_name("n.safetensors"), "any network")
    lines = [{"network": "n.safetensors", "values": {"fid": 3.5 + index}, "quality": "sharp"} for index in range(3)]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


READERS = [
    Reader("quality codes .npy", "q.npy", lambda path: np.save(path, CODES), _read_codes, False),
    Reader("quality codes .npz", "q.npz", lambda path: np.savez_compressed(path, q=CODES), _read_codes, True),
    Reader("quality codes .json", "q.json", text({"q": CODES.tolist()}), _read_codes, False),
    Reader("quality codes .txt", "q.txt", lambda path: np.savetxt(path, CODES), _read_codes, False),
    Reader("direction .npy", "v.npy", lambda path: np.save(path, VECTOR), _read_vector, False),
    Reader("direction .npz", "v.npz", lambda path: np.savez(path, VECTOR), _read_vector, True),
    Reader("direction .pt", "v.pt", lambda path: torch.save(torch.from_numpy(VECTOR), path), _read_vector, True),
    Reader(
        "direction .pt before torch 1.6",
        "v.pt",
        lambda path: torch.save(torch.from_numpy(VECTOR), path, _use_new_zipfile_serialization=False),
        _read_vector,
        False,
    ),
    Reader("labels of seeds .csv", "l.csv", text("seed,score\n1,0.5\n2,0.25\n30,1\n"), _read_seed_labels, False),
    Reader("labels of seeds .json", "l.json", text({"1": 0.5, "2": 0.25, "30": 1}), _read_seed_labels, False),
    Reader("NIQE .npz", "n.npz", lambda path: np.savez(path, mean=MEAN, covariance=COVARIANCE), _read_pristine, True),
    Reader(
        "NIQE .mat",
        "n.mat",
        lambda path: scipy.io.savemat(path, {"mu_prisparam": MEAN, "cov_prisparam": COVARIANCE}, do_compression=True),
        _read_pristine,
        False,
    ),
    Reader("features in the cache", "features.npy", _write_features, _read_features, True),
    Reader("record of photos", "done-restore.jsonl", _write_record, _read_record, False),
    Reader("parts of a table", "table-parts.json", text({"k": {"part": {}, "result": [1, 2]}}), _read_parts, False),
    Reader("metrics of a run", "metric-fid.jsonl", _write_measured, _read_measured, False),
    Reader(
        "manifest of a hub",
        "manifest.json",
        text({"format_version": 1, "files": {CANONICAL: {"sha256": "0" * 64, "bytes": 5}}}),
        lambda path: digest(_read_manifest(path, str(path))),
        False,
    ),
    Reader("results for a hub", "r.json", text({"fid": 3.5}), lambda path: digest(_read_results(str(path))), False),
]
