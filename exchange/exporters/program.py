"""torch.export: a graph that torch loads without this program's code, to run, compile or lower."""

import io
import json
from pathlib import Path

import torch

from dnnlib.files import replace_file
from exchange.exportable import GRAPH_PARTS, ExportRequest, exportable, largest_error, quiet, report, trace

SUFFIX = ".pt2"
PARTS = GRAPH_PARTS
FACTS = "qc_stylegan.json"  # name of the facts among the file's extra files


def export(request: ExportRequest, path: Path) -> str:
    """Write a part of a network and check the graph that torch loads from the file; return the line to print."""
    part = exportable(request)
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(trace(part), buffer, extra_files={FACTS: json.dumps(request.facts())})
        loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    with torch.no_grad():
        error = largest_error(part, lambda inputs: loaded(*inputs.values()))
    with replace_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return report(path, request, error)
