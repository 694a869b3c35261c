"""Where the rooms of the program lie: beside this package in a checkout, in its folder `tree` where it is installed."""

import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Rooms and scripts, by the names under which they import each other.
ROOMS = (
    *("dnnlib", "torch_utils", "degradations", "images", "networks", "metrics"),
    *("generation", "training", "inversion", "evaluation", "exchange", "web"),
)
SCRIPTS = ("train", "generate", "invert", "calc_metrics", "dataset_tool", "app")
# Those that only the command line imports; many programs have such modules of their own.
OF_THE_PAGE = ("web", "app")
NEEDED = tuple(name for name in (*ROOMS, *SCRIPTS) if name not in OF_THE_PAGE)


def tree() -> Path:
    """Return the folder that holds the rooms."""
    installed = HERE / "tree"
    return installed if installed.is_dir() else HERE.parent


def make_importable(names: Iterable[str] = NEEDED) -> None:
    """Put the rooms on the path of imports, before all else.

    Raises ImportError where one of their names is taken by a module from elsewhere.
    """
    folder = tree()
    for name in names:
        if name in sys.modules and not _is_below(name, folder):
            raise ImportError(
                f"qc_stylegan needs the name {name}, which {_origin(name)} has taken in this process; import "
                "qc_stylegan before it, or in a process of its own"
            )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_below(name: str, folder: Path) -> bool:
    origin = getattr(sys.modules[name], "__file__", None)
    return origin is not None and folder in Path(origin).resolve().parents


def _origin(name: str) -> str:
    return getattr(sys.modules[name], "__file__", None) or f"another module {name}"
