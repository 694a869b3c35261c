"""The lock of a folder: one process works there at a time, and its death unlocks."""

import contextlib
import datetime
import errno
import json
import os
import re
import socket
import stat
import sys
import time
import weakref
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from dnnlib.errors import InUseError, UserError

if sys.platform != "win32":
    import fcntl

NAME = ".run.lock"
CURE = "wait until it ends or stop it, or choose another --outdir"
PATIENCE = 0.2  # seconds
# What the system says where a file system has no locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# Types of file systems, and the option of the mount with which locks count on one machine alone; "": always.
LOCAL_LOCKS = {
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("local_lock=all", "local_lock=flock"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "9p": ("",),
    "fuse.sshfs": ("",),
}
MOUNTS = Path("/proc/self/mountinfo")


class FolderLock:
    """A folder that belongs to this process, and to those that it has handed the lock to, until all of them have ended.

    The system's own lock (flock) on the file `.run.lock`: it ends with its holders, however they die. Forks of this
    process do not hold it; a spawned process does that gets it as an argument.

    Args:
        folder: an existing folder.

    Attributes:
        note: a sentence where the lock counts on this machine alone, or not at all; "" elsewhere.

    Raises InUseError when another process holds it, and UserError when files cannot be written there.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / NAME
        self.note = doubts(folder)
        self._owner = os.getpid()
        try:
            self._handle = self._take()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot lock {folder}: {reason}; choose another --outdir") from error
        _describe(self._handle)
        _close_in_forks(self)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[Callable[..., "FolderLock"], tuple[Any, ...]]:
        return _receive, (self.path, self.note, reduction.DupFd(self._handle))

    def release(self) -> None:
        """Unlock the folder; in a process that has been handed the lock, let go of it."""
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        if self._owner == os.getpid():
            with contextlib.suppress(OSError):  # the next one takes over a file that is left
                self.path.unlink()
        os.close(handle)

    def _take(self) -> int:
        """Return the locked file's handle."""
        while True:
            handle = _open(self.path, os.O_RDWR | os.O_CREAT)
            try:
                if not _try_lock(handle):
                    raise _in_use(self.path)
                if _is_current(handle, self.path):
                    return handle
            except OSError as error:
                if error.errno in WITHOUT_LOCKS:
                    self.note = f"the file system of {self.path.parent} has no locks: start its run once only"
                    return handle
                os.close(handle)
                raise
            except UserError:
                os.close(handle)
                raise
            os.close(handle)  # the file is one that the holder before has just removed


def require_unlocked(folder: str | os.PathLike) -> None:
    """Raise InUseError when a process holds the lock of a folder; nothing is written."""
    path = Path(folder) / NAME
    try:
        handle = _open(path, os.O_RDWR)
    except OSError:  # there is no lock, or whoever takes it says what is wrong
        return
    try:
        if not _try_lock(handle):
            raise _in_use(path)
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise UserError(f"cannot lock {folder}: {error.strerror}; choose another --outdir") from error
    finally:
        os.close(handle)


def doubts(folder: str | os.PathLike, mounts: Path = MOUNTS) -> str:
    """Return a sentence where a lock on a file in this folder may be unknown to other machines; else ""."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return ""
    place = Path(os.path.realpath(folder))
    best: tuple[int, str, list[str]] = (0, "", [])
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split()[4]))
        if place.is_relative_to(point) and len(point.parts) >= best[0]:
            best = len(point.parts), after.split()[0], after.split()[-1].split(",")
    _, kind, given = best
    if any(option in ("", *given) for option in LOCAL_LOCKS.get(kind, ())):
        return f"locks of {folder} ({kind}) are unknown to other machines: do not start its run on two of them"
    return ""


def _open(path: Path, flags: int) -> int:
    """Open a regular file; links are not followed, and pipes not waited for."""
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EEXIST, f"{path.name} is no regular file")
    return handle


def _try_lock(handle: int) -> bool:
    """Return whether the lock is ours now; who only looks whether there is one has it for a moment."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "no locks of files")
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)


def _is_current(handle: int, path: Path) -> bool:
    """Return whether the opened file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _describe(handle: int) -> None:
    """Write into a lock who holds it."""
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n"
    with contextlib.suppress(OSError):  # a full disk, of which what is written next tells
        os.ftruncate(handle, 0)
        os.write(handle, text.encode())


def _in_use(path: Path) -> InUseError:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # it has not written it yet
        who = "another process"
    return InUseError(f"{path.parent} is in use by {who}", CURE)


def _receive(path: Path, note: str, duplicate: Any) -> FolderLock:
    """Return the lock in a process that gets it as an argument."""
    lock = FolderLock.__new__(FolderLock)
    lock.path, lock.note, lock._owner, lock._handle = path, note, -1, duplicate.detach()
    os.set_inheritable(lock._handle, False)
    _close_in_forks(lock)
    return lock


def _close_in_forks(lock: FolderLock) -> None:
    """Let forks, such as data workers, not hold the lock when this process is killed."""
    reference = weakref.ref(lock)

    def close() -> None:
        if (here := reference()) is not None and here._handle >= 0:
            os.close(here._handle)
            here._handle = -1

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=close)
