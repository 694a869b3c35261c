"""Where files lie that can be made or fetched again."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "QC_STYLEGAN_CACHE"


def cache_folder(name: str) -> Path:
    """Return the folder for one kind of such files: in the folder that CACHE_VARIABLE names, else in the user's cache.

    It need not exist yet.
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
