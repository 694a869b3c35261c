"""Runs that are killed (kill -9) again and again, at random moments and inside saves; each ends as if undisturbed."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaign.support.commands import Command, finish, start
from benchmarks.campaign.support.kinds import Kind, Row, damaged, differences, for_each_kind, leftovers

KILLS = 24  # kills of each kind of run; 67 with --full, 201 in all
KILLS_FULL = 67
KILLS_A_RUN = 4
SAVES = 20  # calls of os.replace in a run, about
Hook = Callable[[], None]


def main(full: bool, seed: int) -> list[Row]:
    """Kill runs of each kind, and return a row for each."""
    rng, count = random.Random(seed), KILLS_FULL if full else KILLS
    return for_each_kind(lambda kind, folder: campaign(kind, folder, count, rng))


def campaign(kind: Kind, folder: Path, kills: int, rng: random.Random) -> Row:
    """Disturb runs of one kind until there were so many kills, and return the row about them."""
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    duration = _duration(kind, folder)
    while counts["kills"] < kills:
        outdir = folder / f"run{counts['runs']}"
        counts["runs"] += 1
        for _ in range(KILLS_A_RUN):
            command, place = _kill_once(kind, outdir, duration, rng)
            if command.code == -signal.SIGKILL:
                counts["kills"] += 1
                counts[place] += 1
            counts["tracebacks"] += command.has_traceback
            wrong.update(tracebacks(command))
            counts["unreadable"] += len(damaged(outdir))
        last = finish(kind.command(outdir), folder / "last.out")
        counts["tracebacks"] += last.has_traceback
        wrong.update(tracebacks(last))
        found = differences(outdir, kind.reference)
        counts["resumed"] += last.code == 0
        counts["equal"] += not found
        counts["leftovers"] += len(leftovers(outdir))
        wrong.update(found if last.code == 0 else [last.last_line()])
    return {
        "run": kind.name,
        "kills": counts["kills"],
        "in start-up": counts["start-up"],
        "inside saves": counts["save"],
        "files unreadable after a kill": counts["unreadable"],
        "runs": counts["runs"],
        "came to their end": counts["resumed"],
        "bit-equal": counts["equal"],
        "files left over": counts["leftovers"],
        "tracebacks": counts["tracebacks"],
        "what was wrong": "; ".join(wrong) or "nothing",
    }


def tracebacks(command: Command) -> list[str]:
    """Return what a command's tracebacks end with, where it has any."""
    return [command.text()[-1500:].replace("\n", "\\n")] if command.has_traceback else []


def _duration(kind: Kind, folder: Path) -> float:
    """Return the seconds that an undisturbed run takes now."""
    return -finish(kind.command(folder / "measured"), folder / "measured.out").started + time.monotonic()


def _kill_once(kind: Kind, outdir: Path, duration: float, rng: random.Random) -> tuple[Command, str]:
    """Run the command until it is killed, or to its end; return it, and where it was killed."""
    workers = f"--workers={rng.choice([0, 0, 1])}"
    output = outdir.with_suffix(".out")
    if rng.random() < 0.4:
        hook = killing_at(rng.randint(1, SAVES), rng.choice(["before", "inside", "after"]))
        return finish(kind.command(outdir, workers), output, hook), "save"
    command = start(kind.command(outdir, workers), output)
    moment = duration * rng.random() * rng.choice([0.2, 1.0])
    command.wait(moment)
    text = command.text()
    command.kill()
    return command, "training" if "Training" in text or "Continuing" in text else "start-up"


def killing_at(number: int, where: str) -> Hook:
    """Return what makes a process kill itself when it replaces a file for that time: before, while or after it does."""

    def prepare() -> None:
        calls = [0]
        replace, sync = os.replace, os.fsync

        def killing_replace(*arguments: str) -> None:
            if where != "after":
                _count(calls, number if where == "before" else 0)
                replace(*arguments)
            else:
                replace(*arguments)
                _count(calls, number)

        def killing_sync(handle: int) -> None:
            if where == "inside":  # the file is written, but for its last bytes
                size = os.fstat(handle).st_size
                if calls[0] + 1 == number:
                    os.ftruncate(handle, size // 2)
                _count(calls, number)
            sync(handle)

        os.replace, os.fsync = killing_replace, killing_sync  # type: ignore[assignment]

    return prepare


def _count(calls: list[int], fatal: int) -> None:
    calls[0] += 1
    if calls[0] == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
