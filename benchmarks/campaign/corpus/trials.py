"""Trials: a reader reads damaged files in a process of its own, which may die, hang, or take too much memory."""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.campaign.corpus.mutations import mutate
from benchmarks.campaign.corpus.readers import Reader
from dnnlib.errors import UserError

SECONDS = 10.0  # that reading a damaged file may take, of the processor
PATIENCE = 30 * SECONDS  # of the clock, after which a process is killed: others may be at work on this machine
MEMORY = 2 << 30  # bytes that it may take
_ROOM = 4 << 30  # bytes after which the system refuses more, so that this machine survives
ALLOWED = ("sentence", "same", "different")
_MIB = 1 << 20


@dataclass
class Tally:
    """What came of the damaged files of a reader.

    Attributes:
        outcomes: how many had each outcome: `sentence`, `same` (equal content), `different`, or a fault.
        faults: each fault as the number of the file and what it was.
        seconds: time of the processor that the slowest took.
        memory: largest growth of the process in bytes.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0

    def add(self, index: int, outcome: str, detail: str, allowed: bool) -> None:
        """Count the outcome of one file."""
        self.outcomes[outcome if allowed else "fault"] += 1
        if not allowed:
            self.faults.append((index, f"{outcome}: {detail}"))


def run(reader: Reader, count: int, seed: int, keep: Path | None = None) -> Tally:
    """Read `count` damaged files, in processes that are started anew after each death; number `index` depends on
    (reader, seed, index) alone. Files that made a fault are kept in the folder `keep`, if there is one.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        path = Path(folder) / "whole" / reader.file
        path.parent.mkdir()
        reader.write(path)
        expected = reader.read(path)
        content = reader.unpack(path.read_bytes())
        done = 0
        while done < count:
            done = _run_some(reader, path, content, expected, range(done, count), seed, tally)
        if keep is not None:
            for index, _ in tally.faults:
                (keep / f"{_slug(reader)}-{index}-{reader.file}").write_bytes(damaged(reader, content, seed, index))
    return tally


def damaged(reader: Reader, content: bytes, seed: int, index: int) -> bytes:
    """Return the damaged file of this number."""
    return reader.pack(mutate(content, random.Random(f"{reader.name} {seed} {index}")))


def _run_some(
    reader: Reader, path: Path, content: bytes, expected: str, numbers: range, seed: int, tally: Tally
) -> int:
    """Read files in one process until it dies; return the number of the next one."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    work = (reader, path, content, numbers, seed, sender)
    child = multiprocessing.get_context("fork").Process(target=_work, args=work)
    child.start()
    sender.close()
    index = numbers.start
    try:
        while index < numbers.stop:
            if not receiver.poll(PATIENCE):
                tally.add(index, "hang", f"no answer within {PATIENCE:.0f} s", allowed=False)
                return index + 1
            _judge(reader, index, json.loads(receiver.recv()), expected, tally)
            index += 1
    except EOFError:
        child.join()
        tally.add(index, "killed", f"exit code {child.exitcode}", allowed=False)
        return index + 1
    finally:
        child.kill()
        child.join()
    return index


def _judge(reader: Reader, index: int, answer: dict[str, Any], expected: str, tally: Tally) -> None:
    outcome, detail = answer["outcome"], answer["detail"]
    tally.seconds, tally.memory = max(tally.seconds, answer["seconds"]), max(tally.memory, answer["memory"])
    if outcome == "read":
        outcome = "same" if detail == expected else "different"
    if answer["seconds"] > SECONDS or answer["memory"] > MEMORY:
        outcome, detail = "too much", f"{answer['seconds']:.1f} s, {answer['memory'] / _MIB:.0f} MiB"
    tally.add(index, outcome, detail, outcome in ALLOWED and (outcome != "different" or not reader.has_checksums))


def _work(reader: Reader, path: Path, content: bytes, numbers: range, seed: int, sender: Connection) -> None:
    """Read damaged files and send what came of each."""
    _silence()
    _limit_memory()
    for index in numbers:
        with _copy_of(path) as copy:
            copy.write_bytes(damaged(reader, content, seed, index))
            before, start = _reset_peak(), time.process_time()
            outcome, detail = _attempt(reader, copy)
            seconds = time.process_time() - start
            answer = {"outcome": outcome, "detail": detail, "seconds": seconds, "memory": _peak() - before}
        sender.send(json.dumps(answer))


def _attempt(reader: Reader, path: Path) -> tuple[str, str]:
    try:
        return "read", reader.read(path)
    except UserError as error:
        return _sentence(str(error), path)
    except BaseException as error:  # whatever it is, it would have been a traceback
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__} at {last.filename}:{last.lineno}: {str(error)[:200]}"


def _sentence(text: str, path: Path) -> tuple[str, str]:
    """Return whether an error is a sentence: on one line, about this file, with a cure."""
    names = (path.name, path.parent.name)
    if not text.isprintable() or "; " not in text or not any(name in text for name in names):
        return "bad sentence", text
    return "sentence", text


@contextlib.contextmanager
def _copy_of(path: Path) -> Iterator[Path]:
    """Yield a path in a folder of its own, with what lies beside the whole file."""
    with tempfile.TemporaryDirectory(prefix="damaged-", dir=path.parents[1]) as folder:
        for other in path.parent.iterdir():
            if other != path and other.is_file():
                os.link(other, Path(folder) / other.name)
        yield Path(folder) / path.name


def _silence() -> None:
    """Keep what libraries write on standard output and error out of the table."""
    import logging

    logging.disable()
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _limit_memory() -> None:
    limit = _status("VmSize") + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _reset_peak() -> int:
    """Begin to measure the peak of memory anew; return what is in use now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    """Return a number of bytes that Linux states about this process; 0 elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0


def _slug(reader: Reader) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in reader.name)
