"""Reading of files that others made: regular files of bounded size, and one sentence for whatever else is there."""

import json
import os

import numpy as np
import pytest

from dnnlib import limits, reading
from dnnlib.arrays import map_array, read_array, read_arrays
from dnnlib.errors import LONGEST, UserError, as_user_error, one_line, printable
from dnnlib.parsing import integers
from dnnlib.reading import (
    UnreadableError,
    explained,
    open_file,
    parse_json,
    path_exists,
    read_bytes,
    read_json,
    read_text,
)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert (read_bytes(path, 6), read_text(path), read_json(path)) == (b"\xef\xbb\xbf[1]", "[1]", [1])
    with pytest.raises(UnreadableError, match="a.txt has 6 bytes, at most 5 are read; give a smaller file$"):
        open_file(path, 5)


def test_an_object_has_each_entry_once():
    """Readers take the last of several or the first; nobody could tell which was meant."""
    assert parse_json('{"a": {"b": 1}, "b": 2}') == {"a": {"b": 1}, "b": 2}
    with pytest.raises(ValueError, match="it has two entries called 'b'"):
        parse_json('{"a": {"b": 1, "c": 0, "b": 1}}')
    assert parse_json('{"a": 1, "a": 2}', object_pairs_hook=list) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "null byte", "long name"])
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, kind):
    """Opening the pipe would wait for ever, and reading the device would never end."""
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    special = {"device": "/dev/zero", "null byte": "a\0b", "long name": "n" * 300}
    with pytest.raises(UnreadableError, match="^cannot read .*; (check the file|copy what it gives into one)$"):
        read_bytes(special.get(kind, path), 10)


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(bytes(10))
    monkeypatch.setattr(reading.os, "fstat", lambda handle: os.stat(os.devnull))
    monkeypatch.setattr(reading, "_require_regular", lambda *_: None)
    with pytest.raises(UnreadableError, match="it has more than 9 bytes"):
        read_bytes(path, 9)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may enter any folder")
def test_a_closed_folder_is_one_sentence(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UnreadableError, match="cannot be reached: Permission denied; check the path"):
        path_exists(tmp_path / "closed" / "x")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "9" * 5000, "{", "\ud800x", b"\xff", ""])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_of_too_many_lists_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(limits, "JSON_LISTS", 3)
    assert parse_json("[[],{}]") == [[], {}]
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("it is parsed"))
    with pytest.raises(ValueError, match="more than 3 lists"):
        parse_json("[[],[],[]]")


ERRORS = [ValueError("a\nb"), KeyError("x"), RecursionError("deep"), MemoryError(), OSError(5, "io")]


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_reader_raises_is_one_sentence(error):
    expected = pytest.raises(UnreadableError, match="^x.bin cannot be read: .*; copy it$")
    with expected as caught, explained(lambda: "x.bin", "copy it"):
        raise error
    assert str(caught.value).isprintable()


def test_sentences_pass_unchanged():
    with pytest.raises(UserError, match="^as it is$") as caught, explained(lambda: "x", "y"):
        raise UserError("as it is")
    assert type(caught.value) is UserError


# Errors.


def test_control_bytes_are_escaped_and_letters_are_not():
    assert printable("a\x1b[31m\n\u202e\udcff é中") == r"a\x1b[31m\n\u202e\udcff é中"
    assert str(UserError("bad\nname\x1b]0;", "do\r")) == r"bad\nname\x1b]0;; do\r"


def test_a_sentence_is_never_a_page():
    error = UserError("begin " + "x" * 100_000 + " end", "cure")
    assert len(str(error)) < LONGEST + 30 and str(error).startswith("begin x") and str(error).endswith("x end; cure")


def test_a_command_may_name_another_cure():
    error = UnreadableError("a.png is damaged", "replace it").with_cure("leave it out")
    assert str(error) == "a.png is damaged; leave it out" and type(error) is UnreadableError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Not allowed", "/a\nb"), r"/a\nb cannot be used: Not allowed; check that path"),
        (IsADirectoryError(21, "Is a directory", b"/log"), "/log cannot be used: Is a directory; check that path"),
        (MemoryError(), "this machine has too little memory for that; take less at once, or a machine with more"),
        (OSError(28, "No space", "x"), "x cannot be written, the disk is full; free some space and go on"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(error, sentence):
    assert str(as_user_error(error)) == sentence


def test_a_mistake_of_the_program_keeps_its_traceback():
    assert as_user_error(KeyError("x")) is None and as_user_error(OSError("no file named")) is None


def test_an_error_that_says_nothing_is_named_by_its_kind():
    assert one_line(AssertionError()) == "AssertionError" and one_line(OSError(2, "No such file")) == "No such file"


# Arrays.

ARRAYS = [
    np.arange(6, dtype=">i2").reshape(2, 3),
    np.float16(2),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.array(["a", "bcä"]),
    np.zeros((0, 3)),
    np.array([True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: np.asarray(array).dtype.str)
def test_arrays_are_those_that_numpy_wrote(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", q=array, other=1)
    for read in (read_array(tmp_path / "a.npy"), read_arrays(tmp_path / "a.npz")["q"]):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == np.asarray(array).dtype and read.flags.writeable


def npy(header):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(16)


HEADERS = {
    "a pickle": "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
    "a struct": "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}",
    "terabytes": "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,)}",
    "fewer": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
    "negative": "{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -1)}",
    "no size": "{'descr': '<U0', 'fortran_order': False, 'shape': (100000000000,)}",
    "unfinished": "{'descr': '<f8', 'fortran_order': False, 'shape': (2,",
    "a call": "{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (2,)}",
    "nested": "(" * 118,
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("read", [read_array, map_array])
def test_other_arrays_are_refused(tmp_path, name, read):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(HEADERS[name]))
    if read is map_array and name in ("fewer", "a struct", "no size"):
        return  # it maps what the header says, and its users check the type
    with pytest.raises(UnreadableError, match="a.npy cannot be read: .*; check the file$"):
        read(path)


def test_an_archive_that_expands_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", q=np.zeros(1 << 20))
    with pytest.raises(UnreadableError, match="more than 100,000 bytes"):
        read_arrays(tmp_path / "a.npz", 100_000)


# Numbers that people type.


@pytest.mark.parametrize("text", ["9" * 5000, "0-" + "9" * 30, "\u0663", "1;2", ""])
def test_numbers_too_long_for_python_are_one_sentence(text):
    with pytest.raises(UserError, match="is neither a number nor a range; write for example 0-7,12$") as caught:
        integers(text)
    assert len(str(caught.value)) < 400
