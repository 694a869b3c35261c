"""What NVRTC makes of the CUDA kernels: instructions, registers, memory, and loads that are under way together."""
