"""Work of a command that several processes divide: each item is done by one, and a death loses what was at hand only.

The processes do not wait for each other, as those of a training do: each takes the next item when it has finished one.
What they know of each other is in a store: that of the process which has started them, or torchrun's.
"""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from dnnlib.errors import UserError
from dnnlib.running.stop import StopNow, StopRequest
from torch_utils.distributed import is_under_torchrun, process_device, require_devices
from torch_utils.processes.spawning import start

PATIENCE = timedelta(seconds=60)  # time that the store has to answer
POLL = timedelta(seconds=1)  # between two looks at whether what is waited for will still come
LOOK = 0.05  # seconds between two looks at whether something is there
TO_END = 30 * 24 * 3600.0  # seconds that torchrun's first process waits for the last item of another

Item = TypeVar("Item")


class Store(Protocol):
    """The part of torch's stores that is used: bytes by name, and counters."""

    def get(self, key: str) -> bytes: ...
    def set(self, key: str, value: str) -> None: ...
    def add(self, key: str, amount: int) -> int: ...
    def check(self, keys: list[str]) -> bool: ...
    def wait(self, keys: list[str], timeout: timedelta) -> None: ...


class Share:
    """A process's part of a command's work; this one is that of a single process, which does everything.

    Attributes:
        rank: number of this process.
        size: number of processes.
        device: device of this process.
    """

    rank = 0
    size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counts: Counter[str] = Counter()
        self.offers: dict[str, Any] = {}

    def count(self, what: str, amount: int = 1) -> int:
        """Count some more of something that all processes count together; return how many there are now."""
        self.counts[what] += amount
        return self.counts[what]

    def agree(self, make: Callable[[], Any]) -> Any:
        """Return what the first process makes, JSON values; the others do not call `make`."""
        return make()

    def claim(self, items: Sequence[Item], name: Callable[[Item], str] = str) -> Iterator[Item]:
        """Yield those of the items, which are the same in all processes, that this one is to do, in their order.

        `name` says what is lost where this process dies while it does an item. Where the work has several stages, all
        processes claim the items of each, one stage after the other.
        """
        yield from items

    def offer(self, name: str, value: Any = True) -> None:
        """Hand a JSON value to all processes."""
        self.offers[name] = value

    def wait(self, name: str) -> Any:
        """Return what a process offers, when it does.

        Raises StopNow where that will not come since all are to stop, and UserError since a process has died.
        """
        return self.offers[name]

    def go_on(self) -> None:
        """Raise StopNow where this process was asked to stop, within work that it does not claim."""

    def halt(self) -> None:
        """Let all processes end."""

    def is_last(self) -> bool:
        """Return whether all other processes have done their part; each process asks once, after its own."""
        return True


class PartShare(Share):
    """The part of one of several processes.

    Args:
        device: device of this process.
        store: what all processes share.
        rank: number of this process.
        size: number of processes.
    """

    def __init__(self, device: torch.device, store: Store, rank: int, size: int) -> None:
        super().__init__(device)
        self.store = store
        self.rank = rank
        self.size = size
        self.agreements = 0
        self.claims = 0

    def count(self, what: str, amount: int = 1) -> int:
        """Count some more; return how many there are now."""
        return self.store.add(f"count/{what}", amount)

    def agree(self, make: Callable[[], Any]) -> Any:
        """Return what the first process makes; raise UserError where it dies before."""
        name = f"agreement/{self.agreements}"
        self.agreements += 1
        if self.rank == 0:
            self.offer(name, make())
        return self._await(name, "death of the first")

    def claim(self, items: Sequence[Item], name: Callable[[Item], str] = str) -> Iterator[Item]:
        """Yield the next item that no process has begun, until there is none, or all were asked to stop."""
        stage, self.claims = self.claims, self.claims + 1
        self.store.set(f"items/{stage}", str(len(items)))
        with StopRequest(is_silent=True) as stop:
            while stop.signal is None and not self.store.check(["stop"]):
                index = self.store.add(f"begun/{stage}", 1) - 1
                if index >= len(items):
                    break
                self.store.set(f"hand/{self.rank}", name(items[index]))
                yield items[index]
                self.store.add("finished", 1)
        self.store.set(f"hand/{self.rank}", "")

    def is_last(self) -> bool:
        """Return whether this process is the last one to have done its part, and all of the work is done."""
        ended = self.store.add("ended", 1) == self.size
        return ended and self.store.add("finished", 0) == sum(_stages(self.store))

    def offer(self, name: str, value: Any = True) -> None:
        """Hand a JSON value to all processes."""
        self.store.set(f"offer/{name}", json.dumps(value))

    def wait(self, name: str) -> Any:
        """Return what a process offers, when it does; see `Share.wait`."""
        return self._await(name, "death")

    def _await(self, name: str, death: str) -> Any:
        """Return what is offered; raise UserError when the store tells of a death.

        It looks again and again, since a store that waits keeps the other threads of this process out.
        """
        key = f"offer/{name}"
        while not self.store.check([key]):
            self.go_on()
            if reason := _text(self.store, death):
                raise UserError(reason, "the same command goes on from what was found")
            time.sleep(LOOK)
        return json.loads(self.store.get(key))

    def go_on(self) -> None:
        """Raise StopNow where this process was asked to stop, or another one has halted all."""
        with StopRequest(is_silent=True) as stop:
            if stop.signal is not None:
                raise StopNow(stop.signal)
        if self.store.check(["stop"]):
            raise StopNow(signal.SIGTERM)  # without a sentence: the other process has one

    def halt(self) -> None:
        """Let all processes end."""
        self.store.set("stop", "1")


@dataclass(frozen=True)
class Loss:
    """The death of a process.

    Attributes:
        reason: what is known of it, such as `process 2 of 4 was ended by SIGKILL`.
        item: name of what it had at hand; "" for nothing.
    """

    reason: str
    item: str


@dataclass(frozen=True)
class Outcome:
    """What has become of divided work.

    Attributes:
        results: what each process has returned, by rank, JSON values; without those that died.
        losses: deaths.
        left: number of items that nobody has begun, since no process was left or all were asked to stop.
        stopped_by: number of the signal that asked all to stop before the work was done; None without.
    """

    results: list[Any]
    losses: list[Loss] = field(default_factory=list)
    left: int = 0
    stopped_by: int | None = None


def divide(work: Callable[..., Any], processes: int, device: str | None, *arguments: Any) -> Outcome | None:
    """Call `work(share, *arguments)` in every process; return what they return.

    Under torchrun this process joins the others, and all but the first get None. Otherwise `processes` are started on
    this machine, where there are to be several. A UserError in any of them is raised here, after the others have
    finished what they had at hand; the death of one lets the others go on.

    Args:
        work: function of a module, which returns JSON values.
        processes: their number, unless torchrun has started them.
        device: name of the device; None: the best there is.
        arguments: further arguments, which can be pickled.
    """
    kind = require_devices(processes, device)
    if is_under_torchrun():
        return _join(work, kind, arguments)
    if processes == 1:
        if kind.type == "cuda" and kind.index is not None:
            torch.cuda.set_device(kind)
        return Outcome([work(Share(kind), *arguments)])
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    deaths: dict[int, str] = {}

    def note(rank: int, reason: str) -> None:
        deaths[rank] = reason
        store.set("death", reason)
        if rank == 0:
            store.set("death of the first", reason)

    stopped_by = start(_work_here, processes, lambda _: (work, kind, processes, store.port, arguments), on_death=note)
    return _outcome(store, processes, deaths, stopped_by)


def wait_for(store: Store, key: str, seconds: float) -> bool:
    """Wait until the store has something; return False where time is over."""
    for _ in range(int(seconds / POLL.total_seconds())):
        try:
            store.wait([key], POLL)
            return True
        except dist.DistStoreError:
            continue
    return store.check([key])


def _work_here(
    rank: int, work: Callable[..., Any], kind: torch.device, size: int, port: int, arguments: Sequence[Any]
) -> None:
    """Do the part of a process that `divide` has started."""
    store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=PATIENCE)
    _do_part(PartShare(process_device(kind), store, rank, size), work, arguments)


def _join(work: Callable[..., Any], kind: torch.device, arguments: Sequence[Any]) -> Outcome | None:
    """Do the part of a process that torchrun has started; the first one waits for the others."""
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    _do_part(PartShare(process_device(kind), store, rank, size), work, arguments)
    if rank > 0:
        return None
    for other in range(1, size):
        wait_for(store, f"result/{other}", TO_END)
    return _outcome(store, size, {})


def _do_part(share: PartShare, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        result = work(share, *arguments)
    except BaseException:
        share.halt()
        raise
    share.store.set(f"result/{share.rank}", json.dumps(result))


def _outcome(store: Store, size: int, deaths: dict[int, str], stopped_by: int | None = None) -> Outcome:
    """Return what has become of the work when all processes have ended."""
    results = [json.loads(store.get(f"result/{rank}")) for rank in range(size) if store.check([f"result/{rank}"])]
    losses = [Loss(reason, _text(store, f"hand/{rank}")) for rank, reason in sorted(deaths.items())]
    left = sum(max(0, count - store.add(f"begun/{stage}", 0)) for stage, count in enumerate(_stages(store)))
    if not results and losses:
        raise UserError(f"{losses[0].reason}, and so did all others", "run the same command again, or fewer processes")
    return Outcome(results, losses, left, stopped_by if left else None)


def _stages(store: Store) -> list[int]:
    """Return the number of items of each stage that was begun."""
    counts: list[int] = []
    while text := _text(store, f"items/{len(counts)}"):
        counts.append(int(text))
    return counts


def _text(store: Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
