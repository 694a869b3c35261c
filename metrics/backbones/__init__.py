"""Networks that detectors are made of."""
