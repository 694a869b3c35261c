"""Locations of files: a path, a web address or a repository of the Hugging Face hub, resolved to a local path."""

import contextlib
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import click

from dnnlib.cache import cache_folder, open_own, private_folder
from dnnlib.cli import BAD_INPUT
from dnnlib.errors import UserError, as_user_error
from dnnlib.files import sha256, write_text
from dnnlib.limits import NOTE_BYTES
from dnnlib.reading import read_text
from dnnlib.remote import hugging_face
from dnnlib.remote.fetch import fetch, web_address
from dnnlib.remote.shipped import SHIPPED, looks_like_a_name, shipped_file

if sys.platform != "win32":  # Windows has no fcntl, and runs no torchrun of several processes either
    import fcntl

LONGEST_NAME = 60  # letters of a file in the cache, of up to four bytes each

logger = logging.getLogger(__name__)


def resolve(location: str | os.PathLike) -> Path:
    """Return the local path of a file.

    Args:
        location: name of a network that comes with the program, such as `cats`; a path, which is returned unchanged;
            `http(s)://...[#sha256=HEX]`, downloaded once and checked on each use; or
            `hf://owner/name[@revision][/file]`, kept in the hub's own cache.

    Raises UserError when the file is unavailable or has another checksum, and for other schemes. Paths are not opened.
    """
    text = os.fspath(location)
    shipped = shipped_file(text)
    if shipped is not None:
        return shipped
    if text.startswith(hugging_face.SCHEME):
        return hugging_face.network_file(hugging_face.parse(text))
    if text.lower().startswith(("http://", "https://")):
        return _download(text)
    if not _is_path(text):
        raise UserError(f"{text} is no location; write a path, https://host/file, or {hugging_face.EXAMPLE}")
    return Path(location)


def locate(location: str) -> str:
    """Return the local path of a network or encoder, as `resolve` does; a `~` at its beginning is the home folder.

    Raises UserError besides for a single word that is neither a shipped network's name nor a file.
    """
    path = str(resolve(os.path.expanduser(location)))
    if looks_like_a_name(path):
        raise UserError(f"there is no file {path}; give a path, or a network of the program: {', '.join(SHIPPED)}")
    return path


class NetworkFile(click.ParamType):
    """Type of a command-line option that is the location of a network or encoder; its value is the local path.

    A location is what `locate` takes.
    """

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the local path; a UserError ends the command with exit code 2."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        try:
            return locate(value)
        except (UserError, OSError) as error:
            sentence = as_user_error(error)
            if sentence is None:
                raise
            raise _WrongLocation(str(sentence)) from error


class _WrongLocation(click.ClickException):
    exit_code = BAD_INPUT


def _is_path(text: str) -> bool:
    return "://" not in text


def _download(location: str) -> Path:
    """Return the cached file of a web address, downloaded unless it is there and unchanged."""
    url, checksum = _parse_checksum(location)
    folder = cache_folder("networks") / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / _file_name(url)
    with _lock(folder):
        if not _is_complete(path, checksum):
            fetch(url, path, sha256=checksum)
            write_text(_checksum_file(path), f"{sha256(path)}\n")
    return path


def _file_name(url: str) -> str:
    """Return the last part of an address as the name of a file: of letters that need no care, and not too long."""
    name = re.sub(r"[^\w.+-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])
    return name.lstrip(".")[-LONGEST_NAME:] or "file"


def _parse_checksum(location: str) -> tuple[str, str]:
    """Return the address without its fragment, and the checksum in the fragment, empty where there is none."""
    url, fragment = urldefrag(web_address(location))
    match = re.fullmatch(r"(?:sha256=([0-9a-fA-F]{8,64}))?", fragment)
    if match is None:
        raise UserError(f"{location} ends in #{fragment}; write #sha256= and 8 to 64 hex digits, or nothing")
    return url, (match[1] or "").lower()


def _is_complete(path: Path, checksum: str) -> bool:
    """Return whether the file is unchanged since its download, and its SHA-256 begins with `checksum`."""
    try:
        recorded = read_text(_checksum_file(path), NOTE_BYTES).strip()
        actual = sha256(path)
    except UserError:  # one of them is missing, or no longer what it was
        return False
    if actual != recorded:
        logger.warning("%s has changed since it was downloaded; it is downloaded again", path)
        return False
    return actual.startswith(checksum)


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock a folder of the cache for this process: those of torchrun download at the same time."""
    try:
        lock = os.fdopen(open_own(private_folder(folder) / ".lock", os.O_RDWR), "rb+")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"the cache {folder} cannot be locked ({reason})", "remove its file .lock") from error
    with lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
