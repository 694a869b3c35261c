"""DataLoader workers: processes that read (and degrade) images beside the training."""

import functools
import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dnnlib.errors import UserError
from dnnlib.remarks import go_on
from images.datasets.dataset import logger

# How a batch ends that a worker has died in the middle of handing over, its tensors' memory being sent apart.
CUT_OFF = (ConnectionError, EOFError, FileNotFoundError)
DEATHS = 3  # deaths of workers in a row, without a batch between, after which no more are started


class Reads(Protocol):
    """What reads files, such as an ImageDataset.

    Attributes:
        bad_images: number of each file that cannot be read, and why.
    """

    bad_images: dict[int, str]

    def set_aside(self, file_index: int, reason: str) -> None:
        """Record that a file cannot be read."""
        ...


class BatchLoader:
    """Batches of a dataset, in the order of their keys, made in worker processes.

    When a worker dies (for lack of memory, say), new ones make the batches that are left.

    Args:
        dataset: dataset that `make_batch` reads; files found bad by a worker are set aside in it.
        make_batch: function from the keys of a batch (a list of image numbers, for example) to its content; it can be
            pickled where processes are spawned.
        keys: keys of each batch.
        workers: number of processes; 0 makes the batches in this one.
        keep_workers: whether the workers outlive one iteration.
        pin_memory: whether tensors are returned in page-locked memory.

    Iteration raises UserError with the same text when a worker has raised it, and when workers die again and again.
    """

    def __init__(
        self,
        dataset: Reads,
        make_batch: Callable[[Any], Any],
        keys: Iterable[Any],
        workers: int = 0,
        keep_workers: bool = False,
        pin_memory: bool = False,
    ):
        self.dataset = dataset
        self.keys = keys
        self._new_loader = functools.partial(
            torch.utils.data.DataLoader,
            _Batches(dataset, make_batch),
            collate_fn=_return_unchanged,
            num_workers=workers,
            persistent_workers=keep_workers and workers > 0,
            worker_init_fn=prepare_worker,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, so that iterating draws nothing from the global one
        )
        self._loader = self._new_loader(batch_sampler=keys)

    def __iter__(self) -> Iterator[Any]:
        loader, done, deaths = self._loader, 0, 0
        while True:
            answers = _start(loader)
            try:
                for answer in answers:
                    yield self._content(answer)
                    done, deaths = done + 1, 0
                return
            except (RuntimeError, *CUT_OFF) as error:
                deaths += 1
                _note_death(error, deaths)
            dropped = [loader, answers]
            del answers  # so that nothing else holds the workers
            self._loader = self._new_loader(batch_sampler=self.keys)
            loader = self._new_loader(batch_sampler=_Rest(self.keys, done))
            _drop(dropped)
            del dropped

    def _content(self, answer: tuple[Any, dict[int, str]] | str) -> Any:
        """Return the content in a worker's answer; raise UserError where it is an error's text."""
        if isinstance(answer, str):
            raise UserError(answer)
        content, bad_images = answer
        for file_index, reason in bad_images.items():
            self.dataset.set_aside(file_index, reason)
        return content


@dataclass(frozen=True)
class _Rest:
    """The keys after the first `start`."""

    keys: Iterable[Any]
    start: int

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.keys, self.start, None)


def _start(loader: torch.utils.data.DataLoader) -> Iterator[Any]:
    """Start the workers, and keep torch from raising the death of one in the middle of something else."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def _note_death(error: Exception, deaths: int) -> None:
    """Warn of a worker's death; raise UserError after too many in a row, and `error` itself where it is another one."""
    death = str(error)  # the text alone: whoever keeps the error keeps the workers, by its traceback
    if isinstance(error, CUT_OFF):
        death = f"DataLoader worker exited unexpectedly ({error})"
    elif not re.match(r"DataLoader worker \(pid.*\) (exited unexpectedly|is killed by signal)", death):
        raise error
    if deaths == DEATHS:
        raise UserError(
            f"the processes that read images die again and again ({death}), perhaps for lack of memory",
            "use fewer --workers, or --workers=0",
        )
    logger.warning("%s, perhaps for lack of memory; new ones take over", death)


def _drop(things: list[Any]) -> None:
    """Let go of workers beside the training: one that died may hold a lock that the others wait for."""
    threading.Thread(target=things.clear, daemon=True).start()


class _Batches(torch.utils.data.Dataset):
    """Content of a batch by its keys, with the files that were found bad for it.

    A UserError is returned as its text: the loader would bury a raised one in the text of a worker's traceback.
    """

    def __init__(self, dataset: Reads, make_batch: Callable[[Any], Any]):
        self.dataset = dataset
        self.make_batch = make_batch

    def __getitems__(self, keys: Any) -> tuple[Any, dict[int, str]] | str:
        known_bad = set(self.dataset.bad_images)
        try:
            content = self.make_batch(keys)
        except UserError as error:
            return str(error)
        return content, {index: why for index, why in self.dataset.bad_images.items() if index not in known_bad}


def _return_unchanged(answer: Any) -> Any:
    """Collate nothing: `__getitems__` returns whole batches."""
    return answer


def prepare_worker(worker: int) -> None:
    """Set up a worker: one thread, since the workers share the cores, and no warnings, which the main process gives."""
    _ignore_signals_to_all()
    torch.set_num_threads(1)
    logger.disabled = True
    go_on(is_silent=True)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)  # sequential; 1 would wait for ever for threads that a fork has left behind


def _ignore_signals_to_all() -> None:
    """Ctrl-C and cluster schedulers signal every process of a run; the main one saves, and ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_on_signal_of_parent, args=(os.getppid(),), daemon=True).start()


def _end_on_signal_of_parent(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
