"""SIGTERM and SIGINT at random moments, once or twice, to one process or its group; each run ends as if undisturbed."""

import os
import random
import signal
from collections import Counter
from pathlib import Path

from benchmarks.campaign.support.commands import finish, start
from benchmarks.campaign.support.kinds import Kind, Row, differences, for_each_kind, leftovers

SIGNALS = 12  # to each kind of run; 67 with --full
SIGNALS_FULL = 67
SIGNALS_A_RUN = 3
LATER = 1.3  # seconds after which a signal is a second request


def main(full: bool, seed: int) -> list[Row]:
    """Send signals to runs of each kind, and return a row for each."""
    rng, count = random.Random(seed), SIGNALS_FULL if full else SIGNALS
    return for_each_kind(lambda kind, folder: campaign(kind, folder, count, rng))


def campaign(kind: Kind, folder: Path, signals: int, rng: random.Random) -> Row:
    """Return the row about one kind of run."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    while counts["signals"] < signals:
        outdir = folder / f"run{counts['runs']}"
        counts["runs"] += 1
        for _ in range(SIGNALS_A_RUN):
            ending = _stop_once(kind, outdir, rng)
            counts[ending] += 1
            counts["signals"] += ending != "came to its end"
            if ending not in ("saved", "ended at once", "came to its end"):
                wrong.append(ending)
            counts["left"] += len(leftovers(outdir)) if ending == "saved" else 0
        last = finish(kind.command(outdir), folder / "last.out")
        found = differences(outdir, kind.reference) if last.code == 0 else [last.last_line()]
        counts["equal"] += not found and not leftovers(outdir)
        wrong += found
    return {
        "run": kind.name,
        "signals": counts["signals"],
        "announced, saved": counts["saved"],
        "second signal: ended at once": counts["ended at once"],
        "files left over by those that saved": counts["left"],
        "runs": counts["runs"],
        "bit-equal, without leftovers": counts["equal"],
        "what was wrong": "; ".join(dict.fromkeys(wrong)) or "nothing",
    }


def _stop_once(kind: Kind, outdir: Path, rng: random.Random) -> str:
    """Start a command and stop it; return how it ended."""
    command = start(kind.command(outdir, f"--workers={rng.choice([0, 1])}"), outdir.with_suffix(".out"))
    number, send = rng.choice([signal.SIGTERM, signal.SIGINT]), rng.choice([os.kill, os.killpg])
    times = rng.choice([1, 1, 2])
    command.wait(rng.random() * rng.choice([2.0, 10.0]))
    for _ in range(times):
        if command.poll() is None:
            send(command.pid, number)
            command.wait(LATER if times == 2 else 0)
    command.wait()
    text, name = command.text(), signal.Signals(number).name
    if "stopping after" not in text:
        return "came to its end" if command.code == 0 else f"{command.code}: {command.last_line()}"
    is_stopped = command.code == 128 + number and f"Stopped by {name} at" in text
    if is_stopped or (command.code == 0 and ("Done: " in text or "Nothing to do" in text)):
        return "saved"
    if command.code == 128 + number and times == 2 and command.last_line().startswith(f"Stopped at once by {name}"):
        return "ended at once"
    return f"{command.code}: {command.last_line()}"
