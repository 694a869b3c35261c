"""Records of a run in JSON lines: what a run has written is told from everything else, which stays byte for byte."""

import pytest

from dnnlib.errors import UserError
from training import records

FOREIGN = (
    b'plain text\n{"a": 1}\n[1, 2]\n\xff\xfe\x00\n{"images_seen": "x"}\n{"images_seen": true}\n' + b"[" * 10_000 + b"\n"
)


def line(images_seen):
    return f'{{"images_seen": {images_seen}, "loss": NaN}}\n'.encode()


CASES = {
    "later steps": (line(8) + line(16) + line(24), 16, line(8) + line(16)),
    "all of a run that begins": (line(0) + line(8), -1, b""),
    "foreign lines": (FOREIGN + line(24) + FOREIGN, 16, FOREIGN + FOREIGN),
    "foreign lines of a run that begins": (FOREIGN + line(0), -1, FOREIGN),
    "a line that was cut off": (line(8) + line(16)[:-7], 16, line(8)),
    "a line without its end": (line(8) + line(16)[:-1], 16, line(8) + line(16)),
    "zeros after a power cut": (line(8) + b"\0" * 100, 16, line(8)),
    "nothing": (b"", 16, b""),
}


@pytest.mark.parametrize(("before", "limit", "after"), CASES.values(), ids=CASES)
def test_lines_of_later_steps_are_forgotten(tmp_path, before, limit, after):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(before)
    records.forget_after(path, limit)
    assert path.read_bytes() == after


def test_a_file_without_lines_to_forget_is_not_written(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_bytes(line(8) + FOREIGN)
    before = path.stat()
    records.forget_after(path, 8)
    records.forget_moment(path, 9)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # being read is no change
    records.forget_after(tmp_path / "missing.jsonl", 8)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_lines_of_a_moment_are_forgotten(tmp_path):
    path = tmp_path / "metric-fid.jsonl"
    path.write_bytes(line(8) + FOREIGN + line(16) + line(16))
    records.forget_moment(path, 16)
    assert path.read_bytes() == line(8) + FOREIGN
    assert [record["images_seen"] for record in records.read(path)] == [8]


def test_a_folder_in_place_of_records_is_a_sentence(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.mkdir()
    with pytest.raises(UserError, match="stats.jsonl cannot be written: Is a directory; mend that"):
        records.append(path, {"images_seen": 8})
    with pytest.raises(UserError, match="stats.jsonl cannot be read: Is a directory; move it away"):
        records.forget_after(path, 8)
