"""Precision: the fastest type for convolutions on each device, and float32 without shortcuts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch


def fastest_dtype(device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """Return `fp16`, `bf16` or `fp32`: the type for the mixed precision of a device.

    GPUs before Ampere have only float16. A CPU is faster in bfloat16 where it has instructions for it, and a hundred
    times slower in float16.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    if device.type == "cpu" and cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"}:
        return "bf16"
    return "fp32"


def suits(device: torch.device, dtype: str) -> bool:
    """Return whether a device computes in `dtype` (`fp32`, `bf16` or `fp16`) at full speed."""
    if device.type == "cuda" and dtype == "fp16":
        return True
    return dtype in ("fp32", fastest_dtype(device))


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 without TensorFloat-32 on GPUs, as published numbers were; afterwards as before."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def with_float64(device: torch.device) -> torch.device:
    """Return `device`, or the CPU instead of a Mac's GPU, which has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def cpu_flags() -> set[str]:
    """Return the processor's features as Linux names them; none on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())
