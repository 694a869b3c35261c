"""How commands are called in what is printed: as the scripts of a checkout, or as those of the installed program."""

import re
from collections.abc import Mapping

_calls: dict[str, str] = {}


def call_as(calls: Mapping[str, str]) -> None:
    """Call commands otherwise from now on: `python invert.py` -> `qc-stylegan`, say; an empty mapping: as scripts."""
    _calls.clear()
    _calls.update(calls)


def as_called(text: str) -> str:
    """Return a text in which commands are called as the running one was.

    >>> call_as({"python invert.py": "qc-stylegan"})
    >>> as_called("python invert.py restore --help says more; invert.py train-encoder trains one")
    'qc-stylegan restore --help says more; qc-stylegan train-encoder trains one'
    >>> call_as({})
    """
    for script, name in _calls.items():
        words = re.escape(script.removeprefix("python "))
        text = re.sub(rf"(?:\bpython )?(?<![\w./]){words}(?![\w.])", name, text)
    return text
