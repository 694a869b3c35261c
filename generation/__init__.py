"""Generation: from seeds and quality codes to images, figures, strips and videos."""
