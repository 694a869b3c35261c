"""Numbers for images: features of detectors, distances between sets, similarity of pairs."""
