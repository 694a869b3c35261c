"""CREPS: images of any size from two thick lines of features, one for rows and one for columns (CVPR 2023)."""
