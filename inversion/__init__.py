"""Inversion: photos to codes by encoders (psp), projector and pivotal tuning (PTI); restoring, editing, degrading."""
