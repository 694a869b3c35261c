"""CUDA kernels: compiled at first use, launched, cached."""
