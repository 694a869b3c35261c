"""3x3 convolutions on CPUs: which way of computing them is the fastest, in every pass and any order of autograd."""
