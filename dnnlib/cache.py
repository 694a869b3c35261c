"""Cache folder: files that can be computed or downloaded again."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "QC_STYLEGAN_CACHE"


def cache_folder(name: str) -> Path:
    """Return the folder called `name` in the cache: the folder that CACHE_VARIABLE names, else the user's own cache.

    It may not exist yet.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    root = Path(chosen).expanduser() if chosen else _user_cache() / "qc-stylegan"
    return root / name


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
