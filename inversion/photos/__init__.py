"""People's photos: reading, aligning, inverting a folder of them, pasting back."""
