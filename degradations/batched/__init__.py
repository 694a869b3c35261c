"""Batched degradations: the same degradations for batches of images on any torch device, mainly GPUs."""
