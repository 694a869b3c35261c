"""Primitive degradations, one file each; the file's name is the degradation's."""
