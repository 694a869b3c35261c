"""Cache folder: files that can be computed or downloaded again, in folders that belong to this user alone.

A cache may be put where others write, too. So nothing in it is trusted that another user could have put there, and
no link is followed: it could lead to any file of this user.
"""

import os
import stat
import sys
from pathlib import Path

from dnnlib.errors import UserError

CACHE_VARIABLE = "QC_STYLEGAN_CACHE"
_ANOTHER = f"set {CACHE_VARIABLE} to another folder"


def cache_folder(name: str) -> Path:
    """Return the folder called `name` in the cache: the folder that CACHE_VARIABLE names, else the user's own cache.

    It may not exist yet.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    root = Path(chosen).expanduser() if chosen else _user_cache() / "qc-stylegan"
    return root / name


def private_folder(path: Path) -> Path:
    """Return a folder of the cache, made where it is missing, that only this user can write to.

    Raises UserError where it cannot be made, and where it is a link or belongs to another user.
    """
    try:
        for folder in [*reversed(path.parents), path]:
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != _user(status):
            raise UserError(f"the cache {path} is a link or belongs to another user", _ANOTHER)
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UserError(f"the cache {path} cannot be written ({error.strerror})", _ANOTHER) from error
    return path


def open_own(path: Path, flags: int) -> int:
    """Return the handle of a file in the cache, made where it is missing; its content stays as it is.

    Args:
        path: path of the file.
        flags: how it is opened, such as `os.O_RDWR`.

    Raises OSError for a link to another place, and for anything but a regular file with one name.
    """
    extra = sum(getattr(os, name, 0) for name in ("O_CREAT", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    handle = os.open(path, flags | extra, 0o666)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(handle)
        raise OSError(f"{path.name} is a link or no regular file")
    return handle


def _user(status: os.stat_result) -> int:
    return os.geteuid() if hasattr(os, "geteuid") else status.st_uid


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
