"""Downloads with a progress bar, resumed after a cut connection, checked by SHA-256, and atomic."""

import errno
import json
import os
import queue
import re
import socket
import ssl
import string
import threading
import time
import typing
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from dnnlib import files
from dnnlib.cache import open_own
from dnnlib.errors import UserError, one_line
from dnnlib.limits import DOWNLOAD_BYTES, NOTE_BYTES, SLOW_RATE, SLOW_SECONDS, STALL_SECONDS
from dnnlib.reading import read_json

BLOCK = 1 << 18
_NETWORK_ERRORS = (OSError, HTTPException, ValueError)  # ValueError: a redirect to an address that is none

T = TypeVar("T")


def fetch(url: str, path: str | os.PathLike, sha256: str = "", label: str = "") -> Path:
    """Download `url` to `path`, whose folder is created if it is missing; return the path.

    The bytes received so far are in PATH.part. A later call resumes from there as long as the server has the same file
    by its ETag or date; where the server states neither, the download starts again.

    Args:
        url: http or https address.
        path: file to write.
        sha256: checksum that the file must have, as hex digits: all 64 or the first few.
        label: text of the progress bar; the file's name by default.

    Raises UserError without network, for an answer other than the file, on a cut connection, a full disk, and
    another checksum.
    """
    path, sha256 = Path(path), sha256.lower()
    if not re.fullmatch("[0-9a-f]{0,64}", sha256):
        raise UserError(f"{sha256} is no SHA-256; give up to 64 hex digits")
    url = web_address(url)
    part = _PartialFile(path.with_name(f"{path.name}.part"), url)
    _on_disk(path.parent, lambda: path.parent.mkdir(parents=True, exist_ok=True))
    _receive(part, label or path.name)
    _check(part, sha256)
    _on_disk(path, lambda: os.replace(part.path, path))
    part.remove()
    return path


def web_address(text: str) -> str:
    """Return a web address with blanks and non-ASCII letters percent-encoded, as servers expect it.

    Raises UserError for anything else than http and https with a host.
    """
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, and ports beyond 65535
        valid = False
    if not valid:
        raise UserError(f"{text} is no web address; give one like https://host/file")
    return quote(text, safe=string.punctuation)


@dataclass(frozen=True)
class _PartialFile:
    """The bytes of a download received so far; PATH.part.json beside them identifies the remote file."""

    path: Path
    url: str

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.lstat().st_size if self.path.is_file() else 0

    def validator(self) -> str:
        """Return ETag or date of the remote file; empty where the download cannot be resumed."""
        try:
            note = read_json(self.note, NOTE_BYTES)
            is_ours = note["url"] == self.url and isinstance(note["validator"], str) and self.size() > 0
            return note["validator"] if is_ours else ""
        except (UserError, LookupError, TypeError):
            return ""

    def start(self, validator: str) -> None:
        """Remove the bytes received before, and record which file is downloaded now."""
        self.remove()
        files.write_text(self.note, json.dumps({"url": self.url, "validator": validator}))

    def remove(self) -> None:
        for path in (self.path, self.note):
            path.unlink(missing_ok=True)


def _receive(part: _PartialFile, label: str) -> None:
    """Download the bytes that are missing."""
    size, validator = part.size(), part.validator()
    resume = {"Range": f"bytes={size}-", "If-Range": validator} if validator else {}
    with _request(part.url, resume) as answer:
        if answer.status == 200:
            _on_disk(part.path, lambda: part.start(_validator(answer.headers)))
            return _store(answer, part, _number(answer.headers["Content-Length"]), label)
        if not resume:
            raise UserError(f"{part.url} answers with HTTP {answer.status} instead of a file; try again later")
        first, total = _content_range(answer.headers)
        if _validator(answer.headers) in ("", validator):
            if answer.status == 206 and first == size:
                return _store(answer, part, total, label)
            if answer.status == 416 and total == size:
                return None  # the file is complete
    _on_disk(part.path, part.remove)  # the bytes belong to another file: request all of it
    return _receive(part, label)


def _store(answer: Any, part: _PartialFile, total: int | None, label: str) -> None:
    """Append an HTTP answer to the partial file, whose final size is `total` bytes; None where it is unknown."""
    _check_size(part, total)
    bar = tqdm(desc=label, total=total, initial=part.size(), unit="B", unit_scale=True, unit_divisor=1000, disable=None)
    with bar:
        _on_disk(part.path, lambda: _append_or_clear(answer, part, bar))
    if total is not None and part.size() != total:
        raise _cut(part)


def _append_or_clear(answer: Any, part: _PartialFile, bar: tqdm) -> None:
    """Append an answer; what a full disk has room for is removed where it could not be gone on with."""
    try:
        _append(answer, part, bar)
    except OSError:
        if not part.validator():
            part.remove()
        raise


def _append(answer: Any, part: _PartialFile, bar: tqdm) -> None:
    start, received = time.monotonic(), 0
    with os.fdopen(open_own(part.path, os.O_WRONLY | os.O_APPEND), "ab") as file:
        while block := _next_block(answer, part):
            file.write(block)
            bar.update(len(block))
            received += len(block)
            _check_size(part, file.tell())
            _check_speed(part, received, time.monotonic() - start)
        file.flush()
        os.fsync(file.fileno())


def _next_block(answer: Any, part: _PartialFile) -> bytes:
    """Return what has arrived by now, at most BLOCK bytes; b"" at the end."""
    try:
        return answer.read1(BLOCK)
    except _NETWORK_ERRORS as error:
        raise _cut(part) from error


def _check_size(part: _PartialFile, size: int | None) -> None:
    """Raise UserError for a download of more than DOWNLOAD_BYTES bytes, which a server may go on with for ever."""
    if size is not None and size > DOWNLOAD_BYTES:
        part.remove()
        most = f"{DOWNLOAD_BYTES:,} bytes"
        raise UserError(f"{part.url} has more than {most}, the most that is fetched; get it by hand")


def _check_speed(part: _PartialFile, received: int, seconds: float) -> None:
    """Raise UserError for a server that sends next to nothing, but does send."""
    if seconds > SLOW_SECONDS and received < SLOW_RATE * seconds:
        raise UserError(f"{part.url} sends less than {SLOW_RATE:,} bytes a second; try again later, or get it by hand")


def _check(part: _PartialFile, sha256: str) -> None:
    actual = _on_disk(part.path, lambda: files.sha256(part.path))
    if not actual.startswith(sha256):
        _on_disk(part.path, part.remove)
        raise UserError(
            f"what {part.url} sent has the SHA-256 {actual[: max(len(sha256), 8)]} instead of {sha256}, so it was "
            "deleted; try again, or get the file elsewhere"
        )


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other web addresses, never from encrypted to plain ones."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        newurl = web_address(newurl)
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise UserError(f"{req.full_url} leads to {newurl}, which is not encrypted; get the file by hand")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str, headers: dict[str, str]) -> Any:
    """Return the open HTTP answer: the file, a range of it, or status 416 where that range does not exist."""
    always = {"User-Agent": "qc-stylegan", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=always | headers)
    try:
        opener = urllib.request.build_opener(_WebRedirects)
        return _within(SLOW_SECONDS, lambda: opener.open(request, timeout=STALL_SECONDS))
    except urllib.error.HTTPError as error:
        if error.code == 416 and headers:
            return error
        error.close()
        missing = error.code in (404, 410)
        cure = "look for its new address and get it by hand" if missing else "try again later or get the file by hand"
        raise UserError(f"{url} {'is not there' if missing else 'is refused'} (HTTP {error.code}); {cure}") from error
    except _NETWORK_ERRORS as error:
        raise UserError(f"cannot reach {urlsplit(url).netloc}: {_reason(error)}, then run this again") from error


def _within(seconds: float, action: Callable[[], T]) -> T:
    """Return `action()`; raise TimeoutError when it takes longer, as the head of a dripping answer does.

    The thread of such an action is left to itself; it ends with the program.
    """
    results: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((action(), None))
        except BaseException as error:  # raised again below
            results.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return typing.cast(T, result)


def _reason(error: Exception) -> str:
    """Return what is wrong with the network, and what to do."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return "its address cannot be found; check the network connection"
    if isinstance(cause, TimeoutError):
        return f"no answer within {STALL_SECONDS} s; check the network connection"
    if isinstance(cause, ssl.SSLError):
        return f"no safe connection ({cause.reason or cause}); check the clock and the certificates"
    reason = one_line(cause) if isinstance(cause, Exception) else cause
    return f"{reason}; check the network connection"


def _validator(headers: HTTPMessage) -> str:
    """Return what identifies the bytes of a file: a strong ETag, else the date of its last change, else nothing."""
    etag = headers["ETag"] or ""
    return etag if etag.startswith('"') else headers["Last-Modified"] or ""


def _content_range(headers: HTTPMessage) -> tuple[int | None, int | None]:
    """Return first byte and total size of `bytes 5-9/10` or `bytes */10`; None for a number that is missing."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers["Content-Range"] or "")
    return (_number(match[1]), _number(match[2])) if match else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _on_disk(path: Path, action: Callable[[], T]) -> T:
    """Return `action()`; an OSError becomes a UserError that names `path`."""
    try:
        return action()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; free some space" if full else f"{error.strerror or error}; mend that"
        raise UserError(f"cannot write {path}: {reason} and run this again") from error


def _cut(part: _PartialFile) -> UserError:
    kept = f"{part.size():,} bytes are kept" if part.validator() else "it has to start again"
    return UserError(f"the connection broke off while {part.url} arrived; run this again, {kept}")
