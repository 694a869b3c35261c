"""ONNX: the format that onnxruntime, TensorRT and most other runtimes read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dnnlib.errors import UserError
from dnnlib.files import replace_file
from exchange.exportable import GRAPH_PARTS, Exportable, ExportRequest, exportable, largest_error, quiet, report, trace

if TYPE_CHECKING:
    from onnx import ModelProto

SUFFIX = ".onnx"
PARTS = GRAPH_PARTS
OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(request: ExportRequest, path: Path) -> str:
    """Write a part of a network and check it in onnxruntime; return the line to print."""
    _require_packages()
    part = exportable(request)
    model = _model(part, request.facts()).SerializeToString()
    error = largest_error(part, _runner(model))
    with replace_file(path) as temporary:
        temporary.write_bytes(model)
    return report(path, request, error)


def _model(part: Exportable, facts: dict[str, str]) -> "ModelProto":
    """Return the model as protobuf: axis 0 is called `batch`, and nothing in it depends on the exporting machine."""
    import onnx

    graph = trace(part)
    with quiet():
        program = torch.onnx.export(
            graph,
            (),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=list(part.inputs),
            output_names=part.outputs,
        )
    assert program is not None, "with dynamo the exporter returns a program"
    model = program.model_proto
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        del entry.metadata_props[:]
    del model.graph.value_info[:]  # shapes of intermediate values; runtimes infer them
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name = "qc_stylegan"
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return model


def _runner(model: bytes) -> Callable[[dict[str, Tensor]], list[Tensor]]:
    """Return a function from inputs by name to the outputs, computed by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, Tensor]) -> list[Tensor]:
        outputs = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return [torch.from_numpy(output) for output in outputs]

    return run


def _require_packages() -> None:
    """Raise UserError where a package for ONNX is missing."""
    for name in PACKAGES:
        try:
            __import__(name)
        except ImportError as error:
            raise UserError(
                f"{SUFFIX} files need the package {name}; pip install -r requirements-export.txt"
            ) from error
