"""Published weights of detectors: the list of files, the directory of those at hand, the command that fetches them."""
