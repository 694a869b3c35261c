"""Files made to harm: nothing in them runs, none hangs, none takes much memory, and each is refused in one sentence."""

import io
import os
import pickle
import re
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dnnlib.errors import UserError
from exchange import import_network
from networks.published.contents import CLASSES
from tests.support import stand_ins
from tests.support.networks import small_generator
from tests.support.processes import in_fork
from tests.support.stand_ins import Instance, Name, Reduced, pickled
from torch_utils.untrusted import opcodes
from torch_utils.untrusted.torch_files import read_inert

LEGACY = {"_use_new_zipfile_serialization": False}


def call(name, *arguments):
    module, _, function = name.rpartition(".")
    return Reduced(module, function, *arguments)


def storage_file(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, **LEGACY)
    return buffer.getvalue()


def tensor(size, stride, offset=0, count=4):
    storage = call("torch.storage._load_from_bytes", storage_file(torch.zeros(count)._typed_storage()))
    return call("torch._utils._rebuild_tensor_v2", storage, offset, size, stride, False, {})


def array(shape, content, code="f4", order="<"):
    dtype = call("numpy.dtype", code, False, True)
    dtype.reduced = (*dtype.reduced[:2], (3, order, None, None, None, -1, -1, 0))
    made = Reduced("numpy.core.multiarray", "_reconstruct", Name("numpy", "ndarray"), (0,), b"b")
    made.reduced = (*made.reduced[:2], (1, shape, dtype, False, content))
    return made


def raw(*parts):
    """Return a pickle of opcodes written by hand."""
    return b"\x80\x04" + b"".join(parts) + b"."


def nested_load(depth):
    content = b"".join(
        pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ) + pickled(call("torch.storage._load_from_bytes", nested_load(depth - 1) if depth else b""), 2)
    return content + pickle.dumps([], 2)


def persistent_legacy(count, kind="FloatStorage"):
    """Return a file of torch.save whose one storage claims `count` elements."""
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    pid = stand_ins.pickled(("storage", Name("torch", kind), "0", "cpu", count, None), 2)[:-1]
    return head + pid + b"Q." + pickle.dumps(["0"], 2) + struct.pack("<q", count)


CODE = {
    "os.system": lambda flag: call("os.system", f"touch {flag}"),
    "posix.system": lambda flag: call("posix.system", f"touch {flag}"),
    "builtins.eval": lambda flag: call("builtins.eval", f"open({str(flag)!r}, 'w')"),
    "__builtin__.exec": lambda flag: call("__builtin__.exec", f"open({str(flag)!r}, 'w')"),
    "builtins.open": lambda flag: call("builtins.open", str(flag), "w"),
    "builtins.getattr": lambda flag: call("builtins.getattr", Name("os", "system"), "__call__"),
    "subprocess.Popen": lambda flag: Instance("subprocess", "Popen", {"args": ["touch", str(flag)]}),
    "torch.load": lambda flag: call("torch.load", str(flag)),
    "torch.hub.load": lambda flag: call("torch.hub.load", str(flag)),
    "torch.storage.sys.modules.get": lambda flag: call("torch.storage.sys.modules.get", "os"),
    "torch_utils.persistence.exec": lambda flag: call("torch_utils.persistence.exec", str(flag)),
    "dnnlib.util.open_url": lambda flag: call("dnnlib.util.open_url", str(flag)),
    "networks.files.save_network": lambda flag: call("networks.files.save_network", str(flag), None, {}, {}),
    "numpy.load": lambda flag: call("numpy.load", str(flag)),
    "copyreg._reconstructor": lambda flag: call("copyreg._reconstructor", Name("os", "_wrap_close"), None, None),
    "operator.attrgetter": lambda flag: call("operator.attrgetter", "system"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", CODE)
def test_nothing_runs(tmp_path, name, protocol):
    flag = tmp_path / "ran"
    path = stand_ins.write_pickle(tmp_path / "network.pkl", {"G_ema": CODE[name](flag)}, protocol)
    result = CliRunner().invoke(import_network.main, [str(path), "-o", str(tmp_path / "n.safetensors")])
    asks = f"asks for `{name}`, which plain data never need; it is not opened\n"
    assert result.exit_code == 1 and result.output == f"Error: {path} {asks}"
    assert sorted(tmp_path.iterdir()) == [path]


def test_names_of_several_lines_come_in_one(tmp_path):
    path = stand_ins.write_pickle(tmp_path / "network.pkl", call("a\nb.c\x1b[2J"))
    assert refused(path) == "asks for `a\\nb.c\\x1b[2J`, which plain data never need; it is not opened"


def test_source_code_in_a_file_is_left_alone(tmp_path):
    """The stand-ins' sources end the program where they run."""
    path = stand_ins.write_pickle(tmp_path / "G.pkl", stand_ins.ada_generator(small_generator().eval()))
    assert b"source code ran" in path.read_bytes()
    result = CliRunner().invoke(import_network.main, [str(path), "-o", str(tmp_path / "n.safetensors")])
    assert result.exit_code == 0, result.output


BOMBS = {
    "memo index": raw(pickle.NONE, pickle.LONG_BINPUT, struct.pack("<I", 2**32 - 1)),
    "frame": raw(pickle.FRAME, struct.pack("<Q", 2**62)),
    "text": raw(pickle.BINUNICODE8, struct.pack("<Q", 2**62)),
    "bytes": raw(pickle.BINBYTES8, struct.pack("<Q", 2**63 - 1)),
    "long": raw(pickle.LONG4, struct.pack("<i", 2**31 - 1)),
    "bytearray": raw(pickle.BYTEARRAY8, struct.pack("<Q", 2**62)),
    "text opcodes": b"I" + b"1" * 1_000_000 + b"\n.",
    "deep tuples": raw(pickle.EMPTY_TUPLE, pickle.TUPLE1 * 100_000),
    "deep lists": raw(pickle.EMPTY_LIST * 100_000, pickle.APPEND * 99_999),
    "many marks": raw(pickle.MARK * 100_000),
    "doubling": raw(pickle.EMPTY_LIST, *[pickle.MEMOIZE + b"h" + bytes([i]) + pickle.TUPLE2 for i in range(200)]),
    "a key of tuples": raw(pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE1 * 9, b"N", pickle.SETITEM),
    "keys of equal hash": pickle.dumps({index * (2**61 - 1): None for index in range(3)}, 4),
    "too little on the stack": raw(pickle.TUPLE3),
    "get of nothing": raw(pickle.BINGET, b"\x07"),
    "a call of data": raw(pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.REDUCE),
    "names that are no text": raw(pickle.NONE, pickle.NONE, pickle.STACK_GLOBAL),
    "a persistent id": raw(pickle.NONE, pickle.BINPERSID),
    "an extension": raw(pickle.EXT4, struct.pack("<i", 5)),
    "other bytes": pickled({"G": call("_codecs.encode", "touch", "rot13")}),
    "objects": pickled(array((2,), b"", "O8")),
    "a record type": pickled(array((2,), b"", "V8")),
    "dates": pickled(array((2,), b"", "M8")),
    "a shape beyond the bytes": pickled(array((1 << 40,), b"1234")),
    "a negative shape": pickled(array((-1, -1), b"1234")),
    "a byte order": pickled(array((1,), b"1234", order="!")),
    "beyond the storage": pickled(tensor((5,), (1,))),
    "beyond by offset": pickled(tensor((4,), (1,), offset=1)),
    "beyond by stride": pickled(tensor((2,), (1 << 62,))),
    "before the storage": pickled(tensor((2,), (-1,), offset=1)),
    "stride 0": pickled(tensor((1 << 40,), (0,))),
    "stride 0 in many axes": pickled(tensor((2,) * 64, (0,) * 64)),
    "a size of another type": pickled(tensor((2.0,), (1,))),
    "torch.load in torch.load": pickled(call("torch.storage._load_from_bytes", nested_load(3))),
    "a zip in torch.load": pickled(call("torch.storage._load_from_bytes", b"PK\x03\x04")),
    "a tensor in torch.load": pickled(call("torch.storage._load_from_bytes", storage_file({"a": torch.zeros(1)}))),
    "a large storage": persistent_legacy(1 << 40),
    "a negative storage": persistent_legacy(-1),
    "another storage": persistent_legacy(1, "device"),
    "no zip": b"PK\x03\x04" + bytes(100),
    "nothing known": b"hello",
}


def refused(path):
    with pytest.raises(UserError) as caught:
        read_inert(path, CLASSES)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()
    return str(caught.value)


# Refusals aside, these are read: they are nothing but data, if of a strange kind.
HARMLESS = {"deep tuples", "deep lists", "doubling"}


def refusals_in_little_memory(folder):
    """Return, by the names of files, why they are not read (None: they are), with 2 GB beyond what there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (2 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    refusals = {}
    for path in sorted(folder.iterdir()):
        try:
            read_inert(path, CLASSES)
            refusals[path.name] = None
        except UserError as error:
            refusals[path.name] = str(error)
    return refusals


def test_bombs_neither_hang_nor_take_memory(tmp_path):
    """All in one process that may have two gigabytes beyond what it has now, and a minute."""
    for name, content in BOMBS.items():
        (tmp_path / name.replace(" ", "_")).write_bytes(content)
    # Each storage, text or list once more and once more, without more bytes.
    repeated = call("torch.storage._load_from_bytes", storage_file(torch.zeros(1 << 18)._typed_storage()))
    arguments = repeated.reduced[1]
    copies = [Reduced("torch.storage", "_load_from_bytes", arguments[0]) for _ in range(2000)]
    stand_ins.write_pickle(tmp_path / "copies_of_storages", copies)
    text = "x" * (1 << 20)
    stand_ins.write_pickle(tmp_path / "copies_of_bytes", [call("_codecs.encode", text, "latin1") for _ in range(3000)])
    pairs = [[str(number), None] for number in range(1 << 14)]
    stand_ins.write_pickle(tmp_path / "copies_of_dicts", [call("collections.OrderedDict", pairs) for _ in range(2000)])
    names = sorted(path.name for path in tmp_path.iterdir())
    refusals = in_fork(refusals_in_little_memory, tmp_path)
    assert sorted(refusals) == names
    read = {name for name, refusal in refusals.items() if refusal is None}
    assert read == {name.replace(" ", "_") for name in HARMLESS}, refusals
    assert sum("expands to more than it holds" in str(refusal) for refusal in refusals.values()) >= 3, refusals


def test_more_objects_than_any_network_has(tmp_path, monkeypatch):
    monkeypatch.setattr(opcodes, "MOST_OPCODES", 1000)
    path = tmp_path / "many.pkl"
    path.write_bytes(pickle.dumps(list(range(2000)), 4))
    assert refused(path) == "has more than 1,000 objects, no network has so many; it is not opened"


# Archives.


def archive(path, change=None, compression=zipfile.ZIP_STORED, **parts):
    """Write a state dict as torch.save does, with some parts exchanged."""
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(6.0)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", compression) as target:
        for info in source.infolist():
            name = info.filename.partition("/")[2]
            target.writestr(f"network/{name}", parts.get(name, source.read(info)))
        for name in parts.keys() - {info.filename.partition("/")[2] for info in source.infolist()}:
            target.writestr(f"network/{name}", parts[name])
    return path


def test_plain_archives_are_read(tmp_path):
    assert torch.equal(read_inert(archive(tmp_path / "n.pt"), CLASSES).content["w"], torch.arange(6.0))


DEFLATED = {"compression": zipfile.ZIP_DEFLATED}
ARCHIVES = [
    (DEFLATED, "has compressed parts"),
    ({**DEFLATED, "data/1": bytes(1 << 26)}, "has compressed parts"),
    ({"data/0": b"123"}, "is damaged"),
    ({"data/0": bytes(1 << 20)}, "is damaged"),
    ({"data.pkl": b""}, "is damaged"),
    ({"data.pkl": pickled(call("os.system", "true"), 2)}, "asks for `os.sys"),
    ({"byteorder": b"big"}, "was written on a machine of another byte order"),
]


@pytest.mark.parametrize(("parts", "beginning"), ARCHIVES)
def test_other_archives_are_refused(tmp_path, parts, beginning):
    assert refused(archive(tmp_path / "n.pt", **parts)).startswith(beginning)


def test_parts_that_share_their_bytes_are_refused(tmp_path):
    """A directory may name the same bytes many times."""
    path = archive(tmp_path / "n.pt", **{"data/1": bytes(1 << 16)})
    with zipfile.ZipFile(path, "a") as target:
        shared = target.getinfo("network/data/1")
        for number in range(100):
            info = zipfile.ZipInfo(f"network/data/{number + 2}")
            info.header_offset, info.CRC = shared.header_offset, shared.CRC
            info.compress_size = info.file_size = shared.file_size
            target.filelist.append(info)
        target._didModify = True
    assert refused(path).startswith("expands to more than it holds")


def test_one_storage_as_many_tensors_is_refused(tmp_path):
    state = small_generator().state_dict()
    large = torch.zeros(1 << 16)
    path = tmp_path / "n.pt"
    torch.save(state | {f"copy{number}": large[:] for number in range(200)}, path)
    result = CliRunner().invoke(import_network.main, [str(path), "-o", str(tmp_path / "n.safetensors")])
    assert "has tensors that share their numbers" in result.output and result.exit_code == 1


# Real files, cut and changed.


def real_files(folder):
    G = small_generator(8, channel_max=4, z_dim=4, w_dim=4).eval()
    stand_ins.write_pickle(folder / "ada.pkl", {"G_ema": stand_ins.ada_generator(G)})
    torch.save(G.state_dict(), folder / "state.pt")
    torch.save(G.state_dict(), folder / "legacy.pt", **LEGACY)
    return [folder / name for name in ("ada.pkl", "state.pt", "legacy.pt")]


@pytest.mark.parametrize("index", range(3))
def test_truncations_are_refused(tmp_path, index):
    path = real_files(tmp_path)[index]
    content = path.read_bytes()
    read_inert(path, CLASSES)
    for length in range(0, len(content), 100):
        path.write_bytes(content[:length])
        refused(path)


@pytest.mark.parametrize("index", range(3))
def test_changed_bytes_are_refused_or_harmless(tmp_path, index):
    path = real_files(tmp_path)[index]
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(index)
    for _ in range(100):
        changed = content.copy()
        for place in rng.integers(0, min(len(content), 20_000), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        result = CliRunner().invoke(import_network.main, [str(path), "-o", str(tmp_path / "n.safetensors")])
        assert result.exit_code == 0 or (result.exit_code == 1 and result.output.count("\n") == 1), result.exception


PATHS = {
    "missing.pkl": "cannot be read: No such file or directory; check the path",
    "folder": "cannot be read: Is a directory.*",
    "pipe": "is no regular file; copy what it gives into one",
    "empty": "has 0 bytes, no published network has; it is not opened",
    "empty/file": "cannot be read: Not a directory.*",
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_to_no_file_are_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to
    (tmp_path / "empty").write_bytes(b"")
    assert re.fullmatch(PATHS[name], refused(tmp_path / name))
