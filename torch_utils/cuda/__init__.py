"""CUDA kernels (bias_act, upfirdn2d): compiled at first use by NVRTC, cached, launched."""
