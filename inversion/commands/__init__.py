"""The commands of invert.py."""
