"""Damaged files: every reader reads some hundred, and gives a sentence, equal content, or what no checksum covers."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.campaign.corpus import images, networks, numbers, published
from benchmarks.campaign.corpus.readers import Reader
from benchmarks.campaign.corpus.trials import Tally, run

READERS: tuple[Reader, ...] = (*networks.READERS, *numbers.READERS, *images.READERS, *published.READERS)
FILES = {False: 2_500, True: 12_000}  # number of files in all, by `full`
_MIB = 1 << 20


def main(full: bool, seed: int = 0) -> list[dict[str, object]]:
    """Return a row for each reader, and one for all of them; files that made a fault are kept, and named on stderr."""
    keep = Path(tempfile.mkdtemp(prefix="readers-"))
    count = -(-FILES[full] // len(READERS))
    tallies = {}
    for reader in tqdm(READERS, unit="reader"):
        tallies[reader.name] = run(reader, count, seed, keep)
        for index, fault in tallies[reader.name].faults:
            tqdm.write(f"{reader.name}, file {index}: {fault}")
    rows = [_row(reader.name, [tallies[reader.name]], reader.has_checksums) for reader in READERS]
    rows.append(_row("all", list(tallies.values()), None))
    if not any(keep.iterdir()):
        os.rmdir(keep)
    else:
        tqdm.write(f"the files that made faults are in {keep}")
    return rows


def _row(name: str, tallies: Sequence[Tally], has_checksums: bool | None) -> dict[str, object]:
    row: dict[str, object] = {"reader": name, "files": sum(sum(tally.outcomes.values()) for tally in tallies)}
    for outcome in ("sentence", "same", "different", "fault"):
        row[outcome] = sum(tally.outcomes[outcome] for tally in tallies)
    row["checksums"] = "" if has_checksums is None else "yes" if has_checksums else "no"
    row["slowest, s"] = f"{max(tally.seconds for tally in tallies):.1f}"
    row["memory, MiB"] = f"{max(tally.memory for tally in tallies) / _MIB:.0f}"
    return row
