"""Processes that read images beside the training."""

import os
import signal
import threading

import torch

from images.datasets.dataset import logger


def prepare_worker(worker: int) -> None:
    """Ready a DataLoader's worker: one thread, as the workers share the cores; warnings are for the main process."""
    _outlive_signals_to_all()
    torch.set_num_threads(1)
    logger.disabled = True
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)  # sequential; 1 would wait for ever for threads that a fork has left behind


def _outlive_signals_to_all() -> None:
    """Ctrl-C and cluster schedulers signal every process of a run; the main one saves, and ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_the_parent_says_so, args=(os.getppid(),), daemon=True).start()


def _end_when_the_parent_says_so(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
