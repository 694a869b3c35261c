"""From seeds and quality codes to images."""
