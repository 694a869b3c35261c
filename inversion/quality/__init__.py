"""The quality code of photos: fitted to traces of their degradation, and changed for another."""
