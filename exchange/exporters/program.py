"""torch.export: a graph that torch loads without this program's code, to run, compile or lower."""

import io
import json
from pathlib import Path

import torch

from dnnlib.files import replace_file
from exchange.exportable import GRAPH_PARTS, ExportRequest, exportable, largest_error, quiet, report, traced

SUFFIX = ".pt2"
PARTS = GRAPH_PARTS
FACTS = "qc_stylegan.json"  # among the file's extra files


def export(request: ExportRequest, path: Path) -> str:
    """Write a part of a network and check what torch loads again; return what came of it."""
    part = exportable(request)
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(traced(part), buffer, extra_files={FACTS: json.dumps(request.facts())})
        loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    with torch.no_grad():
        error = largest_error(part, lambda inputs: loaded(*inputs.values()))
    with replace_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return report(path, request, error)
