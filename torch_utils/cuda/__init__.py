"""CUDA kernels (bias_act, epilogue, upfirdn2d): compiled at first use by NVRTC, cached, launched."""
