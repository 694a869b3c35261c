"""Measurements of the method: what a DegradBlock can express, the grain of degraded images, what distances rank."""
