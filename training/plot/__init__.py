"""Curves of runs, several beside each other: `python -m training.plot RUN... -o curves.png`."""
