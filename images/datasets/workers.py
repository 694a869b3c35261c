"""DataLoader workers: processes that read (and degrade) images beside the training."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from dnnlib.errors import UserError
from images.datasets.dataset import ImageDataset, logger


class BatchLoader:
    """Batches of a dataset, in the order of their keys, made in worker processes.

    Args:
        dataset: dataset that `make_batch` reads; files found bad by a worker are set aside in it.
        make_batch: function from the keys of a batch (a list of image numbers, for example) to its content; it can be
            pickled where processes are spawned.
        keys: keys of each batch.
        workers: number of processes; 0 makes the batches in this one.
        keep_workers: whether the workers outlive one iteration.
        pin_memory: whether tensors are returned in page-locked memory.

    Iteration raises UserError with the same text when a worker has raised it.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        make_batch: Callable[[Any], Any],
        keys: Iterable[Any],
        workers: int = 0,
        keep_workers: bool = False,
        pin_memory: bool = False,
    ):
        self.dataset = dataset
        self._loader = torch.utils.data.DataLoader(
            _Batches(dataset, make_batch),
            batch_sampler=keys,
            collate_fn=_return_unchanged,
            num_workers=workers,
            persistent_workers=keep_workers and workers > 0,
            worker_init_fn=prepare_worker,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, so that iterating draws nothing from the global one
        )

    def __iter__(self) -> Iterator[Any]:
        for answer in self._loader:
            if isinstance(answer, str):
                raise UserError(answer)  # made here: a variable that held it would keep the workers alive in a cycle
            content, bad_images = answer
            for file_index, reason in bad_images.items():
                self.dataset.set_aside(file_index, reason)
            yield content


class _Batches(torch.utils.data.Dataset):
    """Content of a batch by its keys, with the files that were found bad for it.

    A UserError is returned as its text: the loader would bury a raised one in the text of a worker's traceback.
    """

    def __init__(self, dataset: ImageDataset, make_batch: Callable[[Any], Any]):
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
