"""Where a file is: a path, a web address, or a repository of the Hugging Face hub; always a local path in the end."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import click

from dnnlib.cache import CACHE_VARIABLE, cache_folder
from dnnlib.errors import UserError, as_user_error
from dnnlib.files import sha256, write_text
from dnnlib.remote import hugging_face
from dnnlib.remote.fetch import fetch, web_address

try:
    import fcntl
except ImportError:  # not on Windows, which runs no torchrun of several processes either
    fcntl = None

logger = logging.getLogger(__name__)


def resolve(location: str | os.PathLike) -> Path:
    """Return the local path of a file.

    Args:
        location: a path, which comes back as it is; `http(s)://...[#sha256=HEX]`, downloaded once and checked on each
            use; or `hf://owner/name[@revision][/file]`, which the hub's own cache keeps.

    Raises UserError where the file cannot be had or has another checksum, and for other schemes. A path is not opened.
    """
    text = os.fspath(location)
    if text.startswith(hugging_face.SCHEME):
        return hugging_face.network_file(hugging_face.parse(text))
    if text.startswith(("http://", "https://")):
        return _downloaded(text)
    if not _is_path(text):
        raise UserError(f"{text} is no location; write a path, https://host/file, or {hugging_face.EXAMPLE}")
    return Path(location)


class NetworkFile(click.ParamType):
    """An option that takes any location of a network or an encoder; the command gets the local path as text."""

    name = "file"

    def convert(self, value, param, ctx):
        """Return the local path; a failure ends the command with its sentence."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        try:
            return value if _is_path(value) else str(resolve(value))
        except (UserError, OSError) as error:
            sentence = as_user_error(error)
            if sentence is None:
                raise
            raise _WrongLocation(str(sentence)) from error


class _WrongLocation(click.ClickException):
    exit_code = 2  # as for every wrong value of an option


def _is_path(text):
    return "://" not in text


def _downloaded(location: str) -> Path:
    url, wanted = _parse_checksum(location)
    folder = cache_folder("networks") / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / (Path(unquote(urlsplit(url).path)).name or "file")
    with _alone(folder):
        if not _is_whole(path, wanted):
            fetch(url, path, sha256=wanted)
            write_text(_note(path), f"{sha256(path)}\n")
    return path


def _parse_checksum(location):
    """Return the address without its fragment, and the checksum that the fragment demands, perhaps empty."""
    url, fragment = urldefrag(web_address(location))
    match = re.fullmatch(r"(?:sha256=([0-9a-fA-F]{8,64}))?", fragment)
    if match is None:
        raise UserError(f"{location} ends in #{fragment}; write #sha256= and 8 to 64 hex digits, or nothing")
    return url, (match[1] or "").lower()


def _is_whole(path, wanted):
    """Return whether the file is there as it arrived, and is the one that is wanted."""
    if not path.is_file() or not _note(path).is_file():
        return False
    actual = sha256(path)
    if actual != _note(path).read_text(encoding="utf-8").strip():
        logger.warning("%s has changed since it was downloaded; it is downloaded again", path)
        return False
    return actual.startswith(wanted)


def _note(path):
    return path.with_name(f"{path.name}.sha256")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time into a folder of the cache: those of torchrun all come at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(
            f"the cache {folder} cannot be written ({error.strerror}); set {CACHE_VARIABLE} to another folder"
        ) from error
    with lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
