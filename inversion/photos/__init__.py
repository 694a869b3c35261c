"""Photos: find and align faces, invert all photos of a folder, paste restored squares back."""
