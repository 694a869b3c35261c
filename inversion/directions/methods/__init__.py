"""Ways to find directions, one file each; the file's name is the method's."""
