"""Files that are elsewhere: addresses, downloads that are asked for, hubs."""
