"""Measurements of speed, memory and quality; each prints a table, with the machine that it was measured on."""
