"""Data sets: reading, writing, labels, and batches for training."""
