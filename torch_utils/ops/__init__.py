"""Operations of the networks: plain torch on any device, fused CUDA kernels where they are available."""
