"""Families of metrics, one file each: FID, KID, IS, PPL, precision and recall; each lists its METRICS."""
