"""Say what this machine runs the ops with, what is missing, and why.

python -m torch_utils.doctor [--arch sm_90]
"""

import importlib.metadata
import importlib.util

import click
import torch

from dnnlib.cli import one_sentence_errors
from dnnlib.flags import SETTINGS
from torch_utils.cuda import bias_act, cache, operators, upfirdn2d  # noqa: F401 - these name their kernels
from torch_utils.cuda.compiler import KernelError, compile_kernel, target, version

OPTIONAL = {"cv2": "degradations and video", "pyspng": "faster PNG, else Pillow", "av": "video"}


@click.command(context_settings=SETTINGS)
@click.option("--arch", default="sm_90", help="What to compile for without a GPU: sm_XX, or compute_XX for PTX.")
@one_sentence_errors
def main(arch):
    """Print what is there, what is missing, and which path each op takes."""
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    _line("torch", f"{torch.__version__}, {built_for}, {torch.get_num_threads()} CPU threads")
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    for device in devices:
        major, minor = torch.cuda.get_device_capability(device)
        _line(f"cuda:{device}", f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}")
    if not devices:
        _line("GPU", "none that torch can use")
    _line("cuda-bindings", _installed("cuda-bindings"))
    _line("NVRTC", _answer(version))
    entries = list(cache.folder().glob("*.kernel"))
    _line("kernel cache", f"{cache.folder()}, {len(entries)} entries")
    targets = {_answer(lambda device=device: target(torch.cuda.get_device_capability(device))) for device in devices}
    for wanted in sorted(targets) or [arch]:
        for kernel in operators.PROBES:
            _line(kernel.name, _answer(lambda kernel=kernel, wanted=wanted: _compiles(kernel, wanted)))
    for name, purpose in OPTIONAL.items():
        _line(name, "installed" if importlib.util.find_spec(name) else f"not installed ({purpose})")
    _line("ops on the CPU", "plain torch")
    for device in devices:
        reason = operators.cause(device)
        _line(f"ops on cuda:{device}", f"plain torch: {reason}" if reason else "CUDA kernels")


def _line(name, text):
    click.echo(f"{name:<22}{text}")


def _answer(question):
    try:
        return question()
    except KernelError as error:
        return str(error)


def _compiles(kernel, target):
    return f"compiles for {target}, {len(compile_kernel(kernel, target)):,} bytes"


def _installed(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed; CUDA builds of torch bring it on Linux, else: pip install cuda-bindings"


if __name__ == "__main__":
    main()
