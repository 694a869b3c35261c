"""Kinds of encoders, one file each: what an encoder predicts besides w and q; `feature-style` is `feature_style.py`."""
