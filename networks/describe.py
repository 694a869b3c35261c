"""What is to be known about a network file, and about the networks in a folder."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from torch import nn

from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.limits import METADATA_BYTES
from dnnlib.reading import parse_json, read_bytes
from networks.config import GeneratorConfig
from networks.files import load_generator
from networks.generators.interface import Generator
from torch_utils.checkpoint import has_checksums, load_tensors, read_header

SUFFIX = ".safetensors"
NAMES_OF_KINDS = {"stylegan2": "StyleGAN2", "creps": "CREPS"}
TAPS = "resample_filter"  # a buffer that every layer has, and no training changes


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Return facts about a file of this program, as JSON.

    A network has `architecture` (rows of its table), `generator`, `discriminators`, `images` besides what all files
    have: `file`, `bytes`, `sha256`, `kind`, `checksums` (whether it has some), `header`. Raises UserError for any other
    file.
    """
    header = read_header(path)
    facts = {
        "file": Path(path).name,
        "bytes": os.path.getsize(path),
        "sha256": sha256(path),
        "kind": header.get("kind", "network"),
        "checksums": has_checksums(path),
        "header": header,
    }
    return facts | _of_network(path) if facts["kind"] == "network" else facts


def snapshots(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Return facts about each network or encoder of a folder, by name, with the latest value of each metric.

    Raises UserError where there are none; other safetensors files are passed over.
    """
    measured = _measured(Path(folder))
    rows = []
    for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
        try:
            header = read_header(path)
        except UserError:
            continue
        digest = sha256(path)
        rows.append(
            {
                "file": path.name,
                "kimg": header.get("kimg"),
                "bytes": path.stat().st_size,
                "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime)),
                "sha256": digest,
                "metrics": measured.get(path.name, {}) | measured.get(digest, {}),
            }
        )
    if not rows:
        raise UserError(f"{folder} holds no networks and no runs; give a network-snapshot, or the folder of a run")
    return rows


def results_beside(path: str | os.PathLike) -> dict[str, float]:
    """Return what the files metric-*.jsonl beside a network say about it: `NAME QUALITY` to value."""
    path = Path(path)
    measured = _measured(path.parent)
    return measured.get(path.name, {}) | measured.get(sha256(path), {})


def quality_of(G: Generator) -> dict[str, Any] | None:
    """Return the fields of a QC generator's quality code; None for a plain one."""
    quality = G.config.quality
    if quality is None:
        return None
    facts: dict[str, Any] = {
        "variant": quality.variant,
        "q_dim": quality.q_dim,
        "blocks": quality.blocks,
        "width": quality.width,
    }
    if "blocks" in quality.unused:
        facts["blocks"] = G.synthesis.num_blocks  # all of them see the code
    if quality.injection != "degrad_block":
        facts["variant"] = quality.injection
    return facts


def name_of_kind(kind: str) -> str:
    """Return how people write a kind of generators."""
    return NAMES_OF_KINDS.get(kind, kind)


def _of_network(path: str | os.PathLike) -> dict[str, Any]:
    G, header = load_generator(path)
    tensors = load_tensors(path)
    parameters: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if name.startswith("D_") and not name.endswith(TAPS):
            parameters[name.partition(".")[0]] += tensor.numel()
    return {
        "mode": "qc" if G.config.quality else "plain",
        "quality": quality_of(G),
        "images": {"resolution": G.img_resolution, "channels": G.img_channels, "c_dim": G.c_dim},
        "generator": {
            "kind": G.config.kind,
            "z_dim": G.z_dim,
            "w_dim": G.w_dim,
            "num_ws": G.num_ws,
            "parameters": _size(G),
        },
        "discriminators": dict(parameters),
        "architecture": _architecture(G, G.config),
    }


def _architecture(G: Generator, config: GeneratorConfig) -> list[dict[str, Any]]:
    """Return a row for the mapping network, and one for each synthesis block."""
    layers = config.mapping.num_layers
    rows = [{"block": "mapping", "layers": layers, "channels": G.w_dim, "parameters": _size(G.mapping)}]
    rows[0] |= {"resolution": None, "dtype": "float32", "degrades": False}
    for block in G.synthesis.describe():
        facts = block._asdict()
        rows.append({"block": facts.pop("name"), **facts, "dtype": str(block.dtype).removeprefix("torch.")})
    return rows


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _measured(folder: Path) -> dict[str, dict[str, float]]:
    """Return by a network's file name or SHA-256 what metric-*.jsonl of a folder say; later lines win."""
    measured: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("metric-*.jsonl")):
        for line in read_bytes(path, METADATA_BYTES).decode(errors="replace").splitlines():
            record = _parsed(line)
            network, values = record.get("network"), record.get("values")
            key = str(network.get("sha256") if isinstance(network, dict) else network)
            for name, value in values.items() if isinstance(values, dict) else ():
                measured.setdefault(key, {})[f"{name} {record.get('quality', '')}".strip()] = value
    return measured


def _parsed(line: str) -> dict[str, Any]:
    """Return the record of a line; {} for one that a stopped program has not finished."""
    try:
        record = parse_json(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
