"""Training: configuration, presets, losses, phases, the loop, and the directory of a run."""
