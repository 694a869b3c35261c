"""Work of a command that several processes divide: each item is done by one, and a death loses what was at hand only.

The processes do not wait for each other, as those of a training do: each takes the next item when it has finished one.
What they know of each other is in a store: that of the process which has started them, or torchrun's.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from dnnlib.errors import UserError
from dnnlib.running.stop import StopRequest
from torch_utils.distributed import is_under_torchrun, process_device, require_devices
from torch_utils.processes.spawning import start

PATIENCE = timedelta(seconds=60)  # for the store to answer
POLL = timedelta(seconds=1)  # between two looks at whether what is waited for will still come
TO_MAKE = 600.0  # seconds for what one process makes for all
TO_END = 30 * 24 * 3600.0  # seconds that torchrun's first process waits for the last item of another

Item = TypeVar("Item")


class Store(Protocol):
    """The part of torch's stores that is used: bytes by name, and counters."""

    def get(self, key: str) -> bytes: ...  # noqa: D102 - as torch says
    def set(self, key: str, value: str) -> None: ...  # noqa: D102
    def add(self, key: str, amount: int) -> int: ...  # noqa: D102
    def check(self, keys: list[str]) -> bool: ...  # noqa: D102
    def wait(self, keys: list[str], timeout: timedelta) -> None: ...  # noqa: D102


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

    def count(self, what: str, amount: int = 1) -> int:
        """Count some more of something that all processes count together; return how many there are now."""
        self.counts[what] += amount
        return self.counts[what]

    def agree(self, make: Callable[[], Any]) -> Any:
        """Return what the first process makes, JSON values; the others do not call `make`."""
        return make()

    def claim(self, items: Sequence[Item], name: Callable[[Item], str] = str) -> Iterator[Item]:
        """Yield those of the items, which are the same in all processes, that this one is to do; may be called once.

        `name` says what is lost where this process dies while it does an item.
        """
        yield from items

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

    def count(self, what: str, amount: int = 1) -> int:
        """Count some more; return how many there are now."""
        return self.store.add(f"count/{what}", amount)

    def agree(self, make: Callable[[], Any]) -> Any:
        """Return what the first process makes; raise UserError where it makes nothing."""
        key = f"agreement/{self.agreements}"
        self.agreements += 1
        if self.rank == 0:
            self.store.set(key, json.dumps(make()))
        elif not wait_for(self.store, key, TO_MAKE, unless=["stop", "no first"]):
            raise UserError("the first process has ended before the work was divided", "run the same command again")
        return json.loads(self.store.get(key))

    def claim(self, items: Sequence[Item], name: Callable[[Item], str] = str) -> Iterator[Item]:
        """Yield the next item that no process has begun, until there is none, or all were asked to stop."""
        self.store.set("items", str(len(items)))
        with StopRequest(is_silent=True) as stop:
            while stop.signal is None and not self.store.check(["stop"]):
                index = self.store.add("begun", 1) - 1
                if index >= len(items):
                    break
                self.store.set(f"hand/{self.rank}", name(items[index]))
                yield items[index]
                self.store.add("finished", 1)
        self.store.set(f"hand/{self.rank}", "")

    def is_last(self) -> bool:
        """Return whether this process is the last one to have done its part, and all of the work is done."""
        ended = self.store.add("ended", 1) == self.size
        return ended and self.store.add("finished", 0) == int(self.store.get("items"))


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
    """

    results: list[Any]
    losses: list[Loss] = field(default_factory=list)
    left: int = 0


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
        if rank == 0:
            store.set("no first", "1")

    start(_work_here, processes, lambda _: (work, kind, processes, store.port, arguments), on_death=note)
    return _outcome(store, processes, deaths)


def wait_for(store: Store, key: str, seconds: float, unless: Sequence[str] = ()) -> bool:
    """Wait until the store has something; return False where it has something else first, or time is over."""
    for _ in range(int(seconds / POLL.total_seconds())):
        try:
            store.wait([key], POLL)
            return True
        except dist.DistStoreError:
            if any(store.check([other]) for other in unless):
                break
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
        share.store.set("stop", "1")
        raise
    share.store.set(f"result/{share.rank}", json.dumps(result))


def _outcome(store: Store, size: int, deaths: dict[int, str]) -> Outcome:
    """Return what has become of the work when all processes have ended."""
    results = [json.loads(store.get(f"result/{rank}")) for rank in range(size) if store.check([f"result/{rank}"])]
    losses = [Loss(reason, _text(store, f"hand/{rank}")) for rank, reason in sorted(deaths.items())]
    left = max(0, int(_text(store, "items") or 0) - store.add("begun", 0))
    if not results and losses:
        raise UserError(f"{losses[0].reason}, and so did all others", "run the same command again, or fewer processes")
    return Outcome(results, losses, left)


def _text(store: Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
