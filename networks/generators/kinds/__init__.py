"""Kinds of generators, one file each; the file's name is the `kind` of a configuration."""
