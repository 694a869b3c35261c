"""Torch helpers without GANs: ops and CUDA kernels, processes, checkpoints, statistics, random numbers."""
