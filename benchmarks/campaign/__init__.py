"""Campaign of faults: what is damaged, killed, filled up or run twice, and what comes of it; one file a part.

python -m benchmarks.campaign [PART...] [--full] [--seed=N]

A part is a file here with `main(full: bool, seed: int) -> list[dict[str, object]]`: the rows of its table, by the names
of columns. It runs for minutes, or with `full` for hours. docs/reliability.md has what was measured.
"""
