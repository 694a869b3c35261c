"""Readers of files that others wrote; nothing in such a file is ever run."""
