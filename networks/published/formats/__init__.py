"""Formats of published networks, one file each."""
