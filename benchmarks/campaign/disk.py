"""Disks that are too small: a limit for each file, and where the system allows it, a small file system."""

import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaign.support.commands import Command, finish
from benchmarks.campaign.support.kinds import Kind, damaged, differences, leftovers, prepare

SIZES = 9  # sizes for each kind of run and limit; 34 with --full
SIZES_FULL = 34


def main(full: bool, seed: int) -> list[dict[str, object]]:
    """Run on too little space; return a row for each kind of run and of limit."""
    rng, sizes = random.Random(seed), SIZES_FULL if full else SIZES
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in prepare(folder / "kinds"):
            rows.append(campaign(kind, folder / f"{kind.name}-limit", sizes, rng, _on_limited_files))
            if _can_mount(folder / "probe"):
                rows.append(campaign(kind, folder / f"{kind.name}-disk", sizes, rng, _on_small_disk))
    return rows


Attempt = Callable[[Kind, Path, int], tuple[Command, Command]]


def campaign(kind: Kind, folder: Path, count: int, rng: random.Random, attempt: Attempt) -> dict[str, object]:
    """Return the row about one kind of run, with as many sizes from too small for anything to nearly enough."""
    largest = sum(path.stat().st_size for path in kind.reference.iterdir())
    too_small = sentences = torn = equal = 0
    wrong: list[str] = []
    for number in range(count):
        size = int(largest * 2 ** rng.uniform(-8, 0.5))
        outdir = folder / f"run{number}"
        command, again = attempt(kind, outdir, size)
        kept = outdir / "run"
        too_small += command.code != 0
        is_sentence = command.code in (1, 2) and command.last_line().startswith("Error: ")
        sentences += is_sentence and not command.has_traceback
        if command.code != 0 and (not is_sentence or command.has_traceback):
            wrong.append(f"{size} bytes: {command.last_line()}")
        torn += len(damaged(kept))
        found = differences(kept, kind.reference) if again.code == 0 else [again.last_line()]
        equal += not found and not leftovers(kept)
        wrong += [f"{size} bytes, then enough: {name}" for name in found + leftovers(kept)]
    return {
        "run": kind.name,
        "limit": "of each file" if attempt is _on_limited_files else "of the disk",
        "sizes": count,
        "too small": too_small,
        "ended with one sentence": sentences,
        "torn files": torn,
        "with enough space bit-equal, without leftovers": equal,
        "what was wrong": "; ".join(dict.fromkeys(wrong)) or "nothing",
    }


def _on_limited_files(kind: Kind, folder: Path, size: int) -> tuple[Command, Command]:
    """Run with a limit for the size of a file, as a quota would have it; then once more without."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    outdir = folder / "run"
    first = finish(kind.command(outdir), folder / "first.out", limit)
    return first, finish(kind.command(outdir), folder / "second.out")


def _on_small_disk(kind: Kind, folder: Path, size: int) -> tuple[Command, Command]:
    """Run on a file system of that size; then once more when it has grown."""
    mounted = folder / "run"
    mounted.mkdir(parents=True)
    _mount(mounted, f"size={max(size, 16384)}")
    try:
        first = finish(kind.command(mounted), folder / "first.out")
        _mount(mounted, "remount,size=1g")
        second = finish(kind.command(mounted), folder / "second.out")
        shutil.copytree(mounted, folder / "kept")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    shutil.copytree(folder / "kept", mounted, dirs_exist_ok=True)
    return first, second


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)


def _can_mount(folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    try:
        _mount(folder, "size=16k")
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True
