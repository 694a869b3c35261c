"""Data sets: reading, writing, labels, batches for training, and sources to convert."""
