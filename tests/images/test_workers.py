"""Data workers that die: new ones make the same batches, and training is not interrupted in the middle of a step."""

import itertools
import os
import signal
import time

import pytest
import torch

from dnnlib.errors import UserError
from images.datasets import workers
from images.datasets.batches import TrainingBatches
from images.datasets.dataset import ImageDataset
from images.datasets.workers import BatchLoader
from tests.support.runs import write_images

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def dataset(tmp_path):
    return ImageDataset(write_images(tmp_path / "images.zip"), mirror=True, degradation="mixture")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let torch look for its workers after a moment, instead of five seconds."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as Iterator

    monkeypatch.setattr(Iterator._try_get_data, "__defaults__", (0.3,))


def batches(dataset, workers, start=0):
    return iter(TrainingBatches(dataset, 8, slice(None), 0, start, workers))


def children():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                after = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == os.getpid() and after[0] != "Z":
            found.append(int(pid))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_worker_is_replaced(dataset, number, caplog):
    """Also one that has died in the middle of other work, which goes on."""
    before = set(children())
    expected, stream = batches(dataset, 0), batches(dataset, 2)
    for step in range(12):
        mine, own = next(stream), next(expected)
        assert all(map(torch.equal, mine.tensors(), own.tensors()))
        if step in (1, 6):
            os.kill(max(set(children()) - before), number)  # of the newest workers
            for _ in range(30):
                time.sleep(0.01)  # a step of training
    assert caplog.text.count("exited unexpectedly, perhaps for lack of memory; new ones take over") == 2
    del stream
    deadline = time.monotonic() + 20
    while set(children()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(children()) - before


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError(), FileNotFoundError()]
)
def test_a_worker_that_dies_while_it_hands_over_a_batch_is_replaced(dataset, caplog, monkeypatch, error):
    def cut_off(loader, start=workers._start):
        answers = start(loader)
        yield next(answers)
        monkeypatch.undo()
        raise error

    expected, stream = list(itertools.islice(batches(dataset, 0), 4)), batches(dataset, 1)
    monkeypatch.setattr(workers, "_start", cut_off)
    for own in expected:
        assert all(map(torch.equal, next(stream).tensors(), own.tensors()))
    assert caplog.text.count("exited unexpectedly") == 1 and "new ones take over" in caplog.text


def die(keys):
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_die_for_ever_end_in_a_sentence(dataset, caplog):
    with pytest.raises(UserError, match=r"die again and again \(DataLoader worker .*--workers=0$"):
        next(iter(BatchLoader(dataset, die, [[0], [1]], 1)))
    assert caplog.text.count("new ones take over") == workers.DEATHS - 1


def test_finite_keys_come_once_each(dataset, tmp_path):
    mark = tmp_path / "mark"

    def die_once(keys):
        if keys == 3 and not mark.exists():
            mark.touch()
            die(keys)
        return keys

    loader = BatchLoader(dataset, die_once, range(7), 2, keep_workers=True)
    assert list(loader) == list(range(7))
    assert list(loader) == list(range(7))
