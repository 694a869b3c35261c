"""Metrics of images: features, distances between sets (FID, KID, PR, IS, PPL), similarity of pairs, NIQE."""
