"""Downloads: whole, continued, checked; and one sentence for everything that goes wrong."""

import contextlib
import errno
import hashlib
import http.server
import json
import os
import re
import threading

import pytest

from dnnlib.errors import UserError
from dnnlib.remote import fetch as fetch_module
from dnnlib.remote.fetch import fetch
from tests.support.web import serving

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` at /file; what the tests set on the server makes it behave badly."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if self.path == "/moved":
            return self.answer(302, b"", Location=server.location)
        if self.path != "/file":
            return self.answer(server.missing, b"no")
        first = self.first_byte()
        if first is None:
            return self.answer(200, server.content)
        total = len(server.content)
        if first >= total:
            return self.answer(416, b"", **{"Content-Range": f"bytes */{total}"})
        ends = {"Content-Range": f"bytes {first + server.shift}-{total - 1}/{total}"}
        return self.answer(206, server.content[first:], **ends)

    def first_byte(self):
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = self.headers["If-Range"] in self.server.validators.values()
        return int(match[1]) if match and self.server.ranges and (same or self.server.careless) else None

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | self.server.validators | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with serving(Handler) as server:
        server.content, server.requests, server.missing, server.location = CONTENT, [], 404, ""
        server.ranges, server.careless, server.cut, server.shift = True, False, None, 0
        server.validators = {"ETag": '"one"'}
        server.url = f"{server.address}/file"
        yield server


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def cut_off(server, path, count=3000):
    """Leave the first `count` bytes of a download."""
    server.cut = count
    with pytest.raises(UserError, match="broke off"):
        fetch(server.url, path)
    server.cut = None


def test_a_file_arrives_whole_and_nothing_else_stays(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    assert fetch(server.url, path, sha256=SHA256, label="a file") == path
    assert path.read_bytes() == CONTENT and files_in(path.parent) == ["file.bin"]
    assert "Range" not in server.requests[0] and server.requests[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("validators", [{"ETag": '"one"'}, {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}])
def test_a_cut_download_continues(server, tmp_path, validators):
    server.validators = validators
    path = tmp_path / "file"
    cut_off(server, path)
    assert files_in(tmp_path) == ["file.part", "file.part.json"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:3000]
    fetch(server.url, path, sha256=SHA256[:8].upper())
    assert server.requests[-1]["Range"] == "bytes=3000-"
    assert len(server.requests) == 2 and path.read_bytes() == CONTENT and files_in(tmp_path) == ["file"]


def test_the_sentence_of_a_cut_says_what_is_kept(server, tmp_path):
    server.cut = 3000
    with pytest.raises(UserError, match="run this again, 3,000 bytes are kept"):
        fetch(server.url, tmp_path / "file")
    server.validators = {}
    with pytest.raises(UserError, match="run this again, it has to start again"):
        fetch(server.url, tmp_path / "file")


def test_a_download_cut_twice_continues_twice(server, tmp_path):
    cut_off(server, tmp_path / "file", 1000)
    cut_off(server, tmp_path / "file", 2000)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:3000]
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=1000-", "bytes=3000-"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    cut_off(server, tmp_path / "file")
    server.ranges = False
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("careless", [False, True])
def test_a_changed_file_is_not_glued_to_an_old_half(server, tmp_path, careless):
    """Nor when the server pays no heed to If-Range."""
    cut_off(server, tmp_path / "file")
    server.careless = careless
    server.content, server.validators = CONTENT[::-1], {"ETag": '"two"'}
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT[::-1]
    assert "Range" in server.requests[1] and len(server.requests) == (3 if careless else 2)


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"weak"'}])
def test_what_cannot_be_told_apart_starts_again(server, tmp_path, validators):
    server.validators = validators
    cut_off(server, tmp_path / "file")
    server.content = CONTENT[::-1]
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT[::-1]
    assert "Range" not in server.requests[-1]


def test_a_part_of_another_address_or_with_a_damaged_note_starts_again(server, tmp_path):
    note = tmp_path / "file.part.json"
    for text in ('{"url": "http://elsewhere/file", "validator": "\\"one\\""}', "[1]", "{", '"url"', "{}"):
        (tmp_path / "file.part").write_bytes(b"x" * 100)
        note.write_text(text)
        assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT
        assert "Range" not in server.requests[-1]


def test_a_part_from_the_wrong_place_is_refused(server, tmp_path):
    cut_off(server, tmp_path / "file")
    server.shift = 1  # says that it sends other bytes than those asked for
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=3000-", None]


@pytest.mark.parametrize(("kept", "requests"), [(len(CONTENT), 2), (len(CONTENT) + 5, 3)])
def test_a_full_part_needs_no_more_bytes_and_an_overfull_one_starts_again(server, tmp_path, kept, requests):
    cut_off(server, tmp_path / "file")
    (tmp_path / "file.part").write_bytes((CONTENT + bytes(5))[:kept])
    assert fetch(server.url, tmp_path / "file", sha256=SHA256).read_bytes() == CONTENT
    assert len(server.requests) == requests


def test_another_checksum_deletes_what_arrived_and_keeps_what_was_there(server, tmp_path):
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(UserError, match=f"SHA-256 {SHA256[:8]} instead of 00ff, so it was deleted"):
        fetch(server.url, tmp_path / "file", sha256="00ff")
    assert files_in(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"before"
    with pytest.raises(UserError, match="no SHA-256"):
        fetch(server.url, tmp_path / "file", sha256="xyz")


@pytest.mark.parametrize(("status", "sentence"), [(404, "is not there"), (410, "not there"), (503, "try again later")])
def test_answers_without_a_file(server, tmp_path, status, sentence):
    server.missing = status
    with pytest.raises(UserError, match=f"{sentence}.*HTTP {status}|HTTP {status}.*{sentence}"):
        fetch(server.url + "s", tmp_path / "file")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "data:text/plain,a", "vgg16.pt", ""])
def test_only_web_addresses(tmp_path, url):
    with pytest.raises(UserError, match="no web address"):
        fetch(url, tmp_path / "file")


@pytest.mark.parametrize("target", ["ftp://127.0.0.1:1/file", "file:///etc/passwd"])
def test_redirects_lead_to_web_addresses_only(server, tmp_path, target):
    server.location = target
    with pytest.raises(UserError, match="HTTP 302|no web address"):
        fetch(server.url.replace("file", "moved"), tmp_path / "file")
    assert files_in(tmp_path) == []


def test_redirects_are_followed_but_not_away_from_encryption(server, tmp_path):
    server.location = server.url
    assert fetch(server.url.replace("file", "moved"), tmp_path / "file").read_bytes() == CONTENT
    encrypted = fetch_module.urllib.request.Request("https://127.0.0.1/file")
    with pytest.raises(UserError, match="not encrypted"):
        fetch_module._WebRedirects().redirect_request(encrypted, None, 302, "Found", {}, "http://127.0.0.1/file")


def test_no_network(server, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot reach nowhere.invalid: .*check the network connection"):
        fetch("http://nowhere.invalid/file", tmp_path / "file")
    with pytest.raises(UserError, match="cannot reach 127.0.0.1:1: Connection refused"):
        fetch("http://127.0.0.1:1/file", tmp_path / "file")
    monkeypatch.setattr(fetch_module, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(Handler, "do_GET", lambda self: threading.Event().wait(0.3))
    with pytest.raises(UserError, match="no answer within 0.05 s"):
        fetch(server.url, tmp_path / "file")
    with pytest.raises(UserError, match="no safe connection|broke|check the network"):
        fetch(server.url.replace("http:", "https:"), tmp_path / "file")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("content", [CONTENT, b"less than what is buffered"])
def test_a_full_disk(server, tmp_path, monkeypatch, content):
    """What arrives goes to a device that is full."""
    server.content = content
    monkeypatch.setattr(fetch_module, "open_own", lambda path, flags: os.open("/dev/full", flags))
    with pytest.raises(UserError, match="file.part: the disk is full; free some space"):
        fetch(server.url, tmp_path / "file")


def test_what_a_full_disk_has_taken_is_removed_where_it_cannot_be_gone_on_with(server, tmp_path, monkeypatch):
    def fill(answer, part, bar):
        part.path.write_bytes(answer.read1(100))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "_append", fill)
    for validators, kept in [({}, []), ({"ETag": '"one"'}, ["file.part", "file.part.json"])]:
        server.validators = validators
        with pytest.raises(UserError, match="the disk is full"):
            fetch(server.url, tmp_path / "file")
        assert sorted(os.listdir(tmp_path)) == kept


@pytest.mark.parametrize("length", [None, len(CONTENT)])
def test_an_endless_file_is_not_fetched(server, tmp_path, monkeypatch, length):
    monkeypatch.setattr(fetch_module, "DOWNLOAD_BYTES", 5000)
    if length is None:
        monkeypatch.setattr(fetch_module, "_number", lambda text: None)
    with pytest.raises(UserError, match="has more than 5,000 bytes, the most that is fetched; get it by hand$"):
        fetch(server.url, tmp_path / "file")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dripping", ["head", "body"])
def test_a_server_that_drips_is_given_up(server, tmp_path, monkeypatch, dripping):
    """It sends something before each time limit of the connection, and would do so for ever."""
    done = threading.Event()

    def drip(self):
        head = b"HTTP/1.1 200 OK\r\nX-Slow: " if dripping == "head" else b"HTTP/1.1 200 OK\r\n\r\n"
        with contextlib.suppress(OSError):
            self.wfile.write(head)
            while not done.wait(0.02):
                self.wfile.write(b"a")
        self.close_connection = True

    monkeypatch.setattr(Handler, "do_GET", drip)
    monkeypatch.setattr(fetch_module, "SLOW_SECONDS", 0.3)
    sentence = "no answer within" if dripping == "head" else "sends less than 1,024 bytes a second; try again later"
    try:
        with pytest.raises(UserError, match=sentence):
            fetch(server.url, tmp_path / "file")
    finally:
        done.set()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe"])
def test_a_part_that_leads_elsewhere_is_not_written_to(server, tmp_path, kind):
    victim, part = tmp_path / "victim", tmp_path / "cache" / "file.part"
    part.parent.mkdir()
    victim.write_text("precious")
    make = {"symbolic link": part.symlink_to, "hard link": part.hardlink_to, "pipe": lambda _: os.mkfifo(part)}
    make[kind](victim)
    server.validators = {"ETag": '"one"'}
    note = {"url": server.url, "validator": '"one"'}
    (tmp_path / "cache" / "file.part.json").write_text(json.dumps(note))
    with contextlib.suppress(UserError):
        fetch(server.url, tmp_path / "cache" / "file")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("target", ["http://[::1", "http://host:port/x", "http://" + "a" * 300])
def test_redirects_to_addresses_that_are_none_are_one_sentence(server, tmp_path, target):
    server.location = target
    with pytest.raises(UserError, match="; "):
        fetch(server.url.replace("/file", "/moved"), tmp_path / "file")


def test_what_a_server_says_does_not_reach_the_terminal_raw(server, tmp_path, monkeypatch):
    def garbage(self):
        self.wfile.write(b"\x1b[31mHACKED\x1b[0m\x07 you\r\n\r\n")
        self.close_connection = True

    monkeypatch.setattr(Handler, "do_GET", garbage)
    with pytest.raises(UserError) as caught:
        fetch(server.url, tmp_path / "file")
    assert str(caught.value).isprintable() and "HACKED" in str(caught.value)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot write .*taken"):
        fetch(server.url, tmp_path / "taken" / "file")
    assert server.requests == []


def test_errors_of_the_disk_are_told_from_those_of_the_network(server, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fetch_module.os, "replace", refuse)
    with pytest.raises(UserError, match="cannot write .*: Permission denied"):
        fetch(server.url, tmp_path / "file")
