"""What photos still tell, which restored images keep: bands of frequencies, damage, and the traces of JPEG."""
