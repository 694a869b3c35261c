"""Streams of images that metrics are computed from: generated, real, along latent paths, from files."""
