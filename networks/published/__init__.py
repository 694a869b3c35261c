"""Published networks, read as data: one file a format, `formats/NAME.py`; see `exchange.import_network`."""
