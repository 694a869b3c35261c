"""Backbones of encoders, one file each; the file's name is the backbone's."""
