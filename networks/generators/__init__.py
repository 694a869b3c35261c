"""Generators: their common interface, StyleGAN2, QC-StyleGAN and its DegradBlocks."""
