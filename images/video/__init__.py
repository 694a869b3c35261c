"""Video: reading clips with their sound, writing clips and mp4."""
