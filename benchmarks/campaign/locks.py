"""The same command several times at once, and over one that runs or has died: one process works in a folder."""

import time
from pathlib import Path

from benchmarks.campaign.support.commands import Command, finish, start
from benchmarks.campaign.support.kinds import Kind, Row, differences, for_each_kind, leftovers

AT_ONCE = 8
ROUNDS = 1  # 5 with --full
ROUNDS_FULL = 5


def main(full: bool, seed: int) -> list[Row]:
    """Start commands at once, one after another, and after a death; return a row for each kind of run."""
    rounds = ROUNDS_FULL if full else ROUNDS
    return for_each_kind(lambda kind, folder: campaign(kind, folder, rounds))


def campaign(kind: Kind, folder: Path, rounds: int) -> Row:
    """Return the row about one kind of run."""
    ran = refused = equal = 0
    wrong: list[str] = []
    delays: list[float] = []
    for number in range(rounds):
        outdir = folder / f"run{number}"
        commands = [start(kind.command(outdir), folder / f"{number}-{index}.out") for index in range(AT_ONCE)]
        for command in commands:
            command.wait()
        ran += sum(command.code == 0 for command in commands)
        refused += sum(_is_refused(command) for command in commands)
        found = differences(outdir, kind.reference) + leftovers(outdir)
        equal += not found
        wrong += found + [command.last_line() for command in commands if command.code != 0 and not _is_refused(command)]
        delays.append(_second_command(kind, folder / f"second{number}", wrong))
    takeover = _after_a_death(kind, folder / "death", wrong)
    return {
        "run": kind.name,
        "commands at once": AT_ONCE * rounds,
        "ran": ran,
        "refused with one sentence": refused,
        "runs bit-equal, without leftovers": equal,
        "a later command is refused after (s)": f"{max(delays):.2f}",
        "killed, the next one begins after (s)": f"{takeover:.2f}",
        "what was wrong": "; ".join(dict.fromkeys(wrong)) or "nothing",
    }


def _is_refused(command: Command) -> bool:
    lines = command.text().strip().splitlines()
    return command.code == 1 and len(lines) == 1 and "is in use by process" in lines[0]


def _second_command(kind: Kind, outdir: Path, wrong: list[str]) -> float:
    """Start a command while another runs; return how long it takes to be refused, from the first line of `main`."""
    first = start(kind.command(outdir), outdir.with_suffix(".first.out"))
    _wait_for_line(first)
    second = finish(kind.command(outdir), outdir.with_suffix(".second.out"))
    delay = time.monotonic() - second.started
    if not _is_refused(second):
        wrong.append(f"a second command: {second.last_line()}")
    first.wait()
    if found := differences(outdir, kind.reference):
        wrong += [f"disturbed by a second command: {name}" for name in found]
    return delay


def _after_a_death(kind: Kind, outdir: Path, wrong: list[str]) -> float:
    """Kill a run whose data workers outlive it for a while, and return the seconds until the next one has begun."""
    first = start(kind.command(outdir, "--workers=2"), outdir.with_suffix(".first.out"))
    _wait_for_line(first)
    first.kill()
    second = start(kind.command(outdir, "--workers=0"), outdir.with_suffix(".second.out"))
    _wait_for_line(second)
    delay = time.monotonic() - second.started
    second.wait()
    found = differences(outdir, kind.reference) if second.code == 0 else [second.last_line()]
    wrong += [f"after a death: {name}" for name in found]
    return delay


def _wait_for_line(command: Command) -> None:
    """Wait until a run has begun to train."""
    while command.poll() is None and not any(line in command.text() for line in ("Training", "Continuing")):
        time.sleep(0.02)
