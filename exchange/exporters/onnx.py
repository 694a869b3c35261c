"""ONNX: the format that onnxruntime, TensorRT and most other runtimes read."""

from pathlib import Path

import torch

from dnnlib.errors import UserError
from dnnlib.files import replace_file
from exchange.exportable import GRAPH_PARTS, Exportable, ExportRequest, exportable, largest_error, quiet, report, traced

SUFFIX = ".onnx"
PARTS = GRAPH_PARTS
OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(request: ExportRequest, path: Path) -> str:
    """Write a part of a network and check it in onnxruntime; return what came of it."""
    _require_packages()
    part = exportable(request)
    model = _model(part, request.facts()).SerializeToString()
    error = largest_error(part, _runner(model))
    with replace_file(path) as temporary:
        temporary.write_bytes(model)
    return report(path, request, error)


def _model(part: Exportable, facts: dict[str, str]):
    """Return the model as protobuf: its axis 0 is called `batch`, and it tells nothing of the machine that made it."""
    import onnx

    program = traced(part)
    names = {"input_names": list(part.inputs), "output_names": [part.output]}
    with quiet():
        model = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False, **names).model_proto
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        del entry.metadata_props[:]
    del model.graph.value_info[:]  # shapes of what lies between; runtimes infer them
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name = "qc_stylegan"
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return model


def _runner(model: bytes):
    """Return a function from inputs by name to the output, computed by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(inputs):
        [output] = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return torch.from_numpy(output)

    return run


def _require_packages() -> None:
    for name in PACKAGES:
        try:
            __import__(name)
        except ImportError as error:
            raise UserError(
                f"{SUFFIX} files need the package {name}; pip install -r requirements-export.txt"
            ) from error
