"""Augmentation of what discriminators see (Karras et al. 2020, ADA)."""
