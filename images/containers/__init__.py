"""Where image files lie: below a folder, in a zip, in a tar (WebDataset), or in several archives, the shards of one."""
