"""Everything that needs no torch: errors, configuration, files, registries, logging."""
