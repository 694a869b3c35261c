"""Torch helpers that know nothing of GANs: processes, checkpoints, statistics, random draws."""
