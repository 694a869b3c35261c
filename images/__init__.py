"""Images: files, formats, ranges, squares, sheets, figures and video."""
