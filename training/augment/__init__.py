"""Adaptive augmentation of the images that discriminators see: the pipe, and the strength that adapts (ADA)."""
