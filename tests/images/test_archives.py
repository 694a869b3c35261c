"""Published archives, damaged or made to harm: nothing runs, no foreign memory is touched, a sentence says so."""

import gzip
import io
import pickle
import random
import struct
import tarfile

import numpy as np
import PIL.Image
import pytest

from dnnlib import limits
from dnnlib.errors import UserError
from images.datasets.archives import read_cifar10, read_lsun, read_mnist
from images.datasets.lmdb_pages import LmdbFile
from tests.support.processes import in_fork

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), np.uint8)


def archive_of(path, content, name="cifar-10-batches-py/data_batch_1"):
    """Write a CIFAR archive of one pickle."""
    with tarfile.open(path, "w:gz") as target:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        target.addfile(entry, io.BytesIO(content))
    return path


def images_of(source):
    count, images = source
    loaded = [np.asarray(image.load()) for image in images()]
    assert len(loaded) == count
    return loaded


# Pickles, opcode by opcode: as Python 2 wrote those of CIFAR, and as no pickler would.


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def old_text(value):
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def called(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


def dtype(code):
    return called("numpy", "dtype") + text(code) + b"\x89\x88\x87R"


def array_of_python_2(values):
    """The opcodes of an array, as cifar-10-python.tar.gz has them."""
    made = called("numpy.core.multiarray", "_reconstruct") + called("numpy", "ndarray") + b"K\x00\x85U\x01b\x87R"
    kind = called("numpy", "dtype") + b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = number(values.shape[0]) + number(values.shape[1]) + b"\x86"
    return made + b"(K\x01" + shape + kind + b"\x89" + old_text(values.tobytes()) + b"tb"


def batch_of_python_2():
    items = old_text(b"batch_label") + old_text(b"training batch 1 of 5")
    items += old_text(b"labels") + b"](K\x07K\x00K\x09e" + old_text(b"data") + array_of_python_2(PIXELS)
    items += old_text(b"filenames") + b"](" + b"".join(old_text(name) for name in (b"a.png", b"b.png", b"c.png")) + b"e"
    return b"\x80\x02}q\x01(" + items + b"u."


def test_cifar_as_it_is_published(tmp_path):
    count, images = read_cifar10(archive_of(tmp_path / "cifar-10-python.tar.gz", batch_of_python_2()))
    assert count == 3 and [image.label for image in images()] == [7, 0, 9]
    np.testing.assert_array_equal(images_of((count, images)), PIXELS.reshape(3, 3, 32, 32).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("keys", [bytes, str])
def test_cifar_pickled_anew(tmp_path, protocol, keys):
    name = (lambda text: text.encode()) if keys is bytes else str
    content = pickle.dumps({name("data"): PIXELS, name("labels"): [7, 0, 9]}, protocol=protocol)
    assert len(images_of(read_cifar10(archive_of(tmp_path / "c.tar.gz", content)))) == 3


def mutated_dtype(flags):
    """A type that an array uses becomes a struct of objects afterwards, so that the array owns what the file says."""
    array = called("numpy", "ndarray") + b"(" + number(0) + b"t\x85R(K\x01(" + number(100) + b"th\x01\x89"
    array += b"B" + struct.pack("<I", 800) + struct.pack("<Q", 0x4141414141414141) * 100 + b"tbq\x020"
    field = b"(" + text("f") + b"t}" + text("f") + b"(" + dtype("O") + number(0) + b"ts"
    state = b"(" + number(3) + text("|") + b"N" + field + number(8) + number(1) + number(flags) + b"tb0N."
    return b"\x80\x02" + dtype("V8") + b"q\x01" + array + b"h\x01" + state


HOSTILE = {
    **{f"a type changed under an array, flags {flags}": mutated_dtype(flags) for flags in (1, 27, 63)},
    "an array of 8 MB that was never filled": b"\x80\x02"
    + b"}("
    + text("data")
    + called("numpy", "ndarray")
    + b"("
    + number(2730)
    + number(3072)
    + b"t\x85R"
    + text("labels")
    + b"](e"
    + b"u.",
    "a memo of 2 GB": b"\x80\x02]r" + struct.pack("<I", 0x07FFFFFF) + b".",
    "a text of 4 GB": b"\x80\x02T\xff\xff\xff\x7fabc.",
    "a command": b"\x80\x02" + called("posix", "system") + text("exit 3") + b"\x85R.",
    "an unfinished pickle": b"\x80\x02}(",
    "lists within lists": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
}


def refusal_of(path):
    with pytest.raises(UserError) as caught:
        read_cifar10(path)
    return str(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_in_cifar_are_one_sentence(tmp_path, name):
    """In a process of its own: what is tried here has ended it by a signal."""
    path = archive_of(tmp_path / "cifar-10-python.tar.gz", HOSTILE[name])
    sentence = in_fork(refusal_of, path)
    assert sentence.startswith(f"{path} cannot be read: ") and sentence.isprintable()


@pytest.mark.parametrize("change", ["labels", "shape", "type", "class"])
def test_other_contents_are_refused(tmp_path, change):
    batch = {"data": PIXELS, "labels": [7, 0, 9]}
    batch |= {
        "labels": {"labels": [7, 0]},
        "shape": {"data": PIXELS[:, :3071]},
        "type": {"data": PIXELS.astype(np.int8)},
        "class": {"labels": [7, 0, 10]},
    }[change]
    with pytest.raises(UserError, match="CIFAR-10; use cifar-10-python.tar.gz as it is published, or download"):
        read_cifar10(archive_of(tmp_path / "c.tar.gz", pickle.dumps(batch)))


# gzip.


def mnist_of(path):
    path.write_bytes(gzip.compress(struct.pack(">4I", 2051, 2, 28, 28) + bytes(range(256)) * 6 + bytes(32)))
    return path


@pytest.mark.parametrize("kind", ["cifar", "mnist"])
def test_no_changed_bit_of_an_archive_goes_unseen(tmp_path, kind):
    """The checksum of gzip comes last, after the end of the tar file within."""
    if kind == "cifar":
        read, path = read_cifar10, archive_of(tmp_path / "c.tar.gz", batch_of_python_2())
    else:
        read, path = read_mnist, mnist_of(tmp_path / "t-images-idx3-ubyte.gz")
    whole, expected = path.read_bytes(), images_of(read(path))
    rng, refused = random.Random(0), 0
    for _ in range(40):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            np.testing.assert_array_equal(images_of(read(path)), expected)
        except UserError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("cut", [4, 8, 12])
def test_an_archive_without_its_trailer_is_refused(tmp_path, cut):
    path = archive_of(tmp_path / "c.tar.gz", batch_of_python_2())
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="end-of-stream marker"):
        read_cifar10(path)


def test_archives_that_expand_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CIFAR_BYTES", 9000)
    monkeypatch.setattr(limits, "MNIST_BYTES", 1000)
    for read, path in (
        (read_cifar10, archive_of(tmp_path / "c.tar.gz", bytes(20_000))),
        (read_mnist, mnist_of(tmp_path / "t-images-idx3-ubyte.gz")),
    ):
        with pytest.raises(UserError, match="cannot be read: it has more than [91],000 bytes"):
            read(path)


# LMDB.


@pytest.fixture(scope="module")
def lsun(tmp_path_factory):
    """An lmdb of LSUN, on some dozens of pages, and its entries."""
    lmdb = pytest.importorskip("lmdb")
    folder = tmp_path_factory.mktemp("church_lmdb")
    entries, rng = {}, np.random.default_rng(0)
    for index in range(40):
        buffer = io.BytesIO()
        side = 8 if index % 4 else 48
        PIL.Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
        entries[b"%05d" % (index * 7919 % 99991)] = buffer.getvalue()
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return folder / "data.mdb", entries


@pytest.mark.parametrize(("count", "largest"), [(0, 1), (1, 10), (700, 3000), (3000, 40), (40, 100_000), (100, 2030)])
def test_entries_are_those_that_lmdb_wrote(tmp_path, count, largest):
    """In several transactions and with entries deleted, so that pages lie in any order."""
    lmdb = pytest.importorskip("lmdb")
    rng, entries = random.Random(count), {}
    with lmdb.open(str(tmp_path), map_size=1 << 28) as database:
        for _ in range(3):
            with database.begin(write=True) as transaction:
                for _ in range(count // 3):
                    key, value = rng.randbytes(rng.choice([4, 40, 400])), rng.randbytes(rng.randrange(largest))
                    transaction.put(key, value)
                    entries[key] = value
                for key in list(entries)[::5]:
                    transaction.delete(key)
                    del entries[key]
    with open(tmp_path / "data.mdb", "rb") as file:
        stored = LmdbFile.open(file)
        assert list(stored.items(1 << 30)) == sorted(entries.items()) and stored.entries == len(entries)


def outcome(folder, entries):
    """Read a damaged lmdb; return whether it was refused. Entries that are read must be whole images."""
    try:
        images_of(read_lsun(folder))
        return False
    except UserError as error:
        assert str(folder) in str(error) and str(error).isprintable()
        return True


@pytest.mark.parametrize("seed", range(20))
def test_a_truncated_lmdb_is_one_sentence(tmp_path, lsun, seed):
    data = lsun[0].read_bytes()
    with open(lsun[0], "rb") as file:
        used = LmdbFile.open(file).pages * 4096
    (tmp_path / "data.mdb").write_bytes(data[: random.Random(seed).randrange(used)])
    assert outcome(tmp_path, lsun[1])


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_lmdb_is_read_or_one_sentence(tmp_path, lsun, seed):
    """Mostly where pages say what they hold."""
    rng, data = random.Random(seed), bytearray(lsun[0].read_bytes())
    for _ in range(rng.choice([1, 1, 3, 10])):
        page = rng.randrange(len(data) // 4096)
        data[page * 4096 + rng.randrange(120 if rng.random() < 0.8 else 4096)] = rng.randrange(256)
    (tmp_path / "data.mdb").write_bytes(data)
    outcome(tmp_path, lsun[1])


def test_a_tree_with_a_loop_ends(tmp_path, lsun):
    data = bytearray(lsun[0].read_bytes())
    with open(lsun[0], "rb") as file:
        root = LmdbFile.open(file).root
    page = data[root * 4096 : (root + 1) * 4096]
    assert page[10] == 1, "the root is a branch"
    (count,) = struct.unpack_from("<H", page, 12)
    for position in struct.unpack_from(f"<{(count - 16) // 2}H", page, 16):
        struct.pack_into("<HHH", data, root * 4096 + position, root & 0xFFFF, root >> 16, 0)
    (tmp_path / "data.mdb").write_bytes(data)
    with pytest.raises(UserError, match="its tree has a loop"):
        images_of(read_lsun(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no lmdb", bytes(8192)])
def test_what_is_no_lmdb_is_one_sentence(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(UserError, match="it is no lmdb of a machine with 64 bits; download the lmdb again"):
        read_lsun(tmp_path)


def test_an_lmdb_without_entries_is_one_sentence(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    lmdb.open(str(tmp_path)).close()
    with pytest.raises(UserError, match="no images in .*; download the lmdb again"):
        read_lsun(tmp_path)
