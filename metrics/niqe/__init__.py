"""NIQE: the naturalness of a single image, measured without a reference."""
