"""A plain state dict: a dict from the published parameter names to tensors, as torch.save writes it."""

from pathlib import Path

import torch

from dnnlib.errors import UserError, counted
from exchange.exportable import ExportRequest
from torch_utils.checkpoint import load_state, load_tensors, read_header, save_state

SUFFIX = ".pt"
PARTS = ("G_ema", "D_sharp", "D_degraded")


def export(request: ExportRequest, path: Path) -> str:
    """Write the tensors of one network of the file; return the line to print."""
    read_header(request.network)
    stored = load_tensors(request.network)
    held = [part for part in PARTS if any(name.startswith(f"{part}.") for name in stored)]
    if request.part not in held:
        known = ", ".join(held) or "none of the networks that can be exported"
        raise UserError(f"{request.network} holds no {request.part}; what it holds: {known}")
    tensors = load_tensors(request.network, f"{request.part}.")
    save_state(path, tensors)
    written = load_state(path)
    same = written.keys() == tensors.keys() and all(torch.equal(written[name], tensors[name]) for name in tensors)
    assert same, f"{path} holds other tensors than were written"
    return f"{path}: {request.part}, {counted(len(tensors), 'tensor')}, {path.stat().st_size:,} bytes"
