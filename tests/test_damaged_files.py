"""All readers, each with some damaged files: a sentence, equal content, or what no checksum covers; nothing else."""

import mmap
import os
import random
import signal
import time

import numpy as np
import pytest

from benchmarks.campaign import readers
from benchmarks.campaign.corpus import trials
from benchmarks.campaign.corpus.mutations import MUTATIONS, mutate
from benchmarks.campaign.corpus.readers import Reader, digest
from dnnlib.errors import UserError

FILES = 2  # of each reader; `python -m benchmarks.campaign readers` reads some thousand


@pytest.mark.parametrize("reader", readers.READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_noticed(reader):
    assert trials.run(reader, FILES, seed=0).faults == []


def test_readers_have_names_of_their_own():
    names = [reader.name for reader in readers.READERS]
    assert len(set(names)) == len(names)


# The campaign itself.


WHOLE = random.Random(0).randbytes(600)


def write(path):
    path.write_bytes(WHOLE)


def reader_that(act, has_checksums=False):
    """A reader of a format that reads whole files, and acts on damaged ones."""

    def read(path):
        content = path.read_bytes()
        return digest("whole") if content == WHOLE else act(path)

    return Reader("made up", "a.bin", write, read, has_checksums)


def raising(error):
    def act(path):
        raise error(path)

    return act


def hang(path):
    time.sleep(60)


def work_for_ever(path):
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
    return digest("whole")


def take_memory(path):
    with mmap.mmap(-1, 80 << 20) as memory:  # fresh pages, where the heap may have freed ones
        memory.write(bytes(80 << 20))
    return digest("other")


FAULTS = {
    "traceback: KeyError": raising(lambda path: KeyError(path.name)),
    "traceback: MemoryError": lambda path: bytes(1 << 46),
    "bad sentence": raising(lambda path: UserError("it is damaged; copy it again")),
    "bad sentence: ": raising(lambda path: UserError(f"{path} is damaged")),
    "killed: exit code -11": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "killed: exit code 3": lambda path: os._exit(3),
    "hang": hang,
    "too much: 0.": work_for_ever,
    "too much: ": take_memory,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_campaign_sees_faults(fault, monkeypatch):
    monkeypatch.setattr(trials, "PATIENCE", 1.0 if fault == "hang" else 60.0)
    monkeypatch.setattr(trials, "SECONDS", 0.3)
    monkeypatch.setattr(trials, "MEMORY", 40 << 20)
    tally = trials.run(reader_that(FAULTS[fault]), 2, seed=0)
    assert tally.outcomes["fault"] == 2 and all(what.startswith(fault) for _, what in tally.faults)


@pytest.mark.parametrize(("has_checksums", "outcome"), [(False, "different"), (True, "fault")])
def test_other_content_is_a_fault_where_there_are_checksums(has_checksums, outcome):
    tally = trials.run(reader_that(lambda path: digest("other"), has_checksums), 3, seed=0)
    assert dict(tally.outcomes) == {outcome: 3}


def test_sentences_and_equal_content_are_no_faults():
    sentence = reader_that(raising(lambda path: UserError(f"{path} is damaged", "copy it again")), True)
    assert dict(trials.run(sentence, 3, seed=0).outcomes) == {"sentence": 3}
    assert dict(trials.run(reader_that(lambda path: digest("whole"), True), 3, seed=0).outcomes) == {"same": 3}


def test_a_file_depends_on_its_number_alone(tmp_path):
    reader = reader_that(raising(lambda path: KeyError()))
    tally = trials.run(reader, 3, seed=5, keep=tmp_path)
    kept = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert len(tally.faults) == 3 and len(set(kept)) == 3
    assert kept == [trials.damaged(reader, WHOLE, 5, index) for index in range(3)]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@pytest.mark.parametrize("content", [b"", b"7", bytes(range(256)) * 20])
def test_mutations_take_any_content(mutation, content):
    changed = 0
    for seed in range(20):
        data = bytearray(content)
        mutation(data, random.Random(seed))
        changed += bytes(data) != content
    assert changed or len(content) < 2


def test_mutations_are_those_of_the_seed():
    content = bytes(range(256))
    first, again = ([mutate(content, random.Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == again and len(set(first)) > 40


def test_digests_tell_contents_apart():
    a = np.zeros((2, 2), np.float32)
    contents = [a, a.reshape(4), a.astype(np.float64), [a], [a, a], {"x": a}, {"y": a}, "0", 0, 0.0, None, [], [[]]]
    assert len({digest(content) for content in contents}) == len(contents)
