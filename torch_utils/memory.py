"""Memory: how much a run takes, and host memory that is used again instead of being fetched anew."""

import ctypes
import resource
import sys

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep large blocks after they are freed; return whether it was told.

    Activations on a CPU are blocks of megabytes. By default each is mapped from the system and given back after use,
    so that every layer of every step pays for page faults.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _LARGEST))


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that the run has held at once: on the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
