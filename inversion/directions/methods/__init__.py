"""Ways to find directions, one file each; the file's name is the method's."""

from dnnlib.registry import Registry

# Each has `find(G: Generator, search: Search) -> list[Direction]`.
METHODS = Registry("inversion.directions.methods", "method")
