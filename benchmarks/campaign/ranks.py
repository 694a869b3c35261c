"""One of two processes (--gpus=2), or the one that has started them, is killed or stopped: all end, in one sentence."""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.campaign.support.commands import Command, finish, start
from benchmarks.campaign.support.kinds import Kind, damaged, leftovers, prepare

ROUNDS = 2  # rounds of each way to lose a process; 10 with --full
ROUNDS_FULL = 10
TIMEOUT = 8.0  # run.rank_timeout in seconds
LIMIT = 120.0  # seconds until a process counts as hanging for ever
WAYS = {
    "first rank killed": 0,
    "second rank killed": 1,
    "first rank stopped (SIGSTOP)": 0,
    "second rank stopped (SIGSTOP)": 1,
    "parent killed": None,
}


def main(full: bool, seed: int) -> list[dict[str, object]]:
    """Lose processes of a base run, and return a row for each way to."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        kind = prepare(Path(folder) / "kinds", metrics=False)[0]
        return [campaign(kind, Path(folder), way, ROUNDS_FULL if full else ROUNDS, rng) for way in WAYS]


def campaign(kind: Kind, folder: Path, way: str, rounds: int, rng: random.Random) -> dict[str, object]:
    """Return the row about one way to lose a process."""
    seconds: list[float] = []
    sentences = rescued = continued = 0
    wrong: list[str] = []
    for number in range(rounds):
        outdir = folder / f"{way} {number}"
        flags = ["--gpus=2", f"--set=run.rank_timeout={TIMEOUT}"]
        command = start(kind.command(outdir, *flags), outdir.with_suffix(".out"))
        ranks = _ranks(command, outdir)
        time.sleep(rng.random())
        began = time.monotonic()
        _lose(command, ranks, way)
        while any(map(_is_alive, [command.pid, *ranks])) and time.monotonic() < began + LIMIT:
            command.poll()
            time.sleep(0.05)
        seconds.append(time.monotonic() - began)
        errors = [line for line in command.text().splitlines() if line.startswith("Error: ")]
        sentences += len(errors) == 1 and not command.has_traceback
        rescued += "Saved at" in command.text() or "everything is saved" in command.text()
        wrong += damaged(outdir) + (["traceback"] if command.has_traceback else [])
        again = finish(kind.command(outdir), outdir.with_suffix(".again"))
        seen = torch.load(outdir / "training-state.pt", weights_only=True)["trainer"]["images_seen"]
        is_whole = again.code == 0 and seen == 144 and not leftovers(outdir)
        continued += is_whole
        wrong += [] if is_whole else [again.last_line()]
    return {
        "what happens": way,
        "times": rounds,
        "all processes gone after (s)": f"{min(seconds):.1f} to {max(seconds):.1f}",
        "one sentence": sentences,
        "state saved at that moment": rescued,
        "continued by one process to the end": continued,
        "what was wrong": "; ".join(dict.fromkeys(wrong)) or "nothing",
    }


def _ranks(command: Command, outdir: Path) -> list[int]:
    """Wait until a run has saved a state, and return its two processes by rank."""
    while not (outdir / "training-state.pt").exists() and command.poll() is None:
        time.sleep(0.02)
    return sorted(pid for pid, text in _children(command.pid) if "spawn_main" in text)


def _children(parent: int) -> list[tuple[int, str]]:
    """Return the processes that a process has started, with their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append((int(folder.name), (folder / "cmdline").read_text()))
        except OSError:  # it has ended
            continue
    return found


def _lose(command: Command, ranks: list[int], way: str) -> None:
    rank = WAYS[way]
    if rank is None:
        command.kill()
    else:
        os.kill(ranks[rank], signal.SIGSTOP if "SIGSTOP" in way else signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
