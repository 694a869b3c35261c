"""Images: files, photos, formats, ranges of pixels, square crops, sheets, figures, video and data sets."""
