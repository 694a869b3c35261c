"""The machine of a measurement: its name, its speed at convolutions, timing of calls, counting of operations."""

import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from torch_utils.memory import keep_freed_memory

aten = torch.ops.aten

# Images, channels and side of a convolution that is large for a CPU, and for a GPU.
LARGE_ON_CPU, LARGE_ON_GPU = (8, 256, 32), (64, 512, 64)


def describe(device: torch.device) -> str:
    """Return the processor, the threads, and the version of torch."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}"


def prepare(device: torch.device) -> None:
    """Set up this process as training does."""
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)
    else:
        torch.backends.cudnn.benchmark = True


def seconds(function: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the median time of a call, after one call that warms up."""
    function()
    times = []
    for _ in range(repeats):
        start = now(device)
        function()
        times.append(now(device) - start)
    return sorted(times)[len(times) // 2]


def convolution_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a large 3x3 convolution: the bound that networks can approach."""
    images, channels, side = LARGE_ON_CPU if device.type == "cpu" else LARGE_ON_GPU
    x = torch.randn(images, channels, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    operations, repeats = 2 * images * side**2 * w.numel(), 3 if device.type == "cpu" else 10
    with torch.no_grad():
        return operations / seconds(lambda: F.conv2d(x, w, padding=1), device, repeats)


class Operations(TorchDispatchMode):
    """A context that counts the floating-point operations of convolutions and matrix products, with derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet == aten.convolution:
            self.count += _convolution(args[0], args[1], result, transposed=args[6])
        elif packet == aten.convolution_backward:
            self.count += _convolution(args[1], args[2], args[0], transposed=args[7]) * sum(args[10][:2])
        elif packet in flop_registry:
            self.count += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        return result


def _convolution(x: Tensor, weight: Tensor, y: Tensor, transposed: bool) -> int:
    """Return the operations of a convolution: each weight is used once for every pixel of the smaller image.

    The registry's formula ignores groups.
    """
    pixels = (x if transposed else y).shape[2:].numel()
    return 2 * x.shape[0] * weight.numel() * pixels


def now(device: torch.device) -> float:
    """Return the time in seconds, after all work on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _processor() -> str:
    """Return the name of the CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return {key.strip(): value.strip() for key, value in lines.items()}["model name"]
    except (OSError, KeyError):
        return platform.processor() or platform.machine()
