"""The web page: restore and edit photos in a browser, and see images from seeds; served by this machine alone."""
