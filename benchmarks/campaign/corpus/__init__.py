"""A corpus of damaged files: whole ones of every format that is read, and ways to damage them."""
