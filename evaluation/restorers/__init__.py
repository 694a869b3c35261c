"""Restorers: from degraded photos to restored ones, by inversion, by classical filters, or by other programs."""
