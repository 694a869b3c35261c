"""NIQE: the naturalness of a single image, without a reference."""
