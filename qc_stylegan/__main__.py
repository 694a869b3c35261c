"""`python -m qc_stylegan`: the command `qc-stylegan`."""

from qc_stylegan.program import main

if __name__ == "__main__":
    main()
