"""Formats that networks are exported to, one file each; the file's name is the format's name."""
