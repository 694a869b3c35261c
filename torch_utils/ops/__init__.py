"""The operations of the networks: plain torch on any device, fused CUDA kernels where they can be had."""
