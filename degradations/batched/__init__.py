"""The same degradations for batches of images on any torch device, GPUs above all."""
