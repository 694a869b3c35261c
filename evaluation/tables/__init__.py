"""The tables of the paper, one file each: Tables 1 and 4, 2 (restoration), 3 (runtime), Sections 4.3, 4.6, 4.7, C.2."""
