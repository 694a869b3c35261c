"""Errors as they read in Python: what commands call `--noise-mode=x` is `noise_mode=x` here."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dnnlib.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

NAMES = {"trunc": "truncation", "class": "class_index", "to": "to"}  # flags whose parameters have other names


def in_python(text: str) -> str:
    """Return a sentence with flags as parameters.

    >>> in_python("--noise-mode=loud is none; leave --class out")
    'noise_mode=loud is none; leave class_index out'
    """
    return re.sub(r"(?<!\S)--([a-z][a-z-]*)", lambda flag: NAMES.get(flag[1], flag[1].replace("-", "_")), text)


def errors_in_python(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: its UserErrors speak of parameters, not of flags."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise type(error)(in_python(str(error))) from error

    return wrapped
