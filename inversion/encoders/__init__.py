"""Encoders: from photos to codes in one pass, and their training."""
