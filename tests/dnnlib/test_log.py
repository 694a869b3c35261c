"""The log of a run: lines in the file and on the console, a bar on a terminal alone, and a sentence on a full disk."""

import io
from pathlib import Path

import pytest

from dnnlib.errors import UserError
from dnnlib.running.log import RunLog


class Terminal(io.StringIO):
    def isatty(self):
        return True


def log_two_lines(path, **options):
    log = RunLog(path, total=10, initial=2, unit="kimg", **options)
    log.line("first")
    log.advance(3)
    log.line("second")
    log.close()


def test_lines_are_printed_and_appended(tmp_path, capsys):
    (tmp_path / "log.txt").write_text("before\n")
    log_two_lines(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text() == "before\nfirst\nsecond\n"
    assert capsys.readouterr() == ("first\nsecond\n", "")


def test_a_terminal_has_a_bar_besides(tmp_path, capsys, monkeypatch):
    """Lines stay lines, in the file as on the console."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    log_two_lines(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text() == capsys.readouterr().out == "first\nsecond\n"
    assert "20%" in terminal.getvalue() and "5.0/10.0 kimg" in terminal.getvalue()


def test_a_last_step_beyond_the_end_fills_the_bar(tmp_path, monkeypatch):
    """Steps of 8 images end beyond 100; speed is in seconds for a kimg, as in the lines."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    log = RunLog(tmp_path / "log.txt", total=0.1, unit="kimg")
    for _ in range(13):
        log.advance(0.008)
    assert log.bar.n == log.bar.total
    log.bar.refresh()
    log.close()
    assert "100%" in terminal.getvalue() and "104%" not in terminal.getvalue() and "s/kimg]" in terminal.getvalue()


def test_other_processes_log_nothing(capsys):
    log_two_lines(None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_sentence():
    log = RunLog("/dev/full")
    with pytest.raises(UserError, match="^/dev/full cannot be written: No space left on device; free some space"):
        log.line("first")
    log.close()
