"""Where networks and data meet metrics: streams of images, results, tables."""
