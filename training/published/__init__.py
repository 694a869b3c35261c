"""Networks as others publish them, read as data: one file a format, `format_NAME.py`, see `training.import_network`."""
