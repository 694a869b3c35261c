"""Error handling of all commands: an error is printed as one sentence, and the exit code says its kind."""

import functools
import io
import logging
import sys
from collections.abc import Callable
from typing import Any

import click

from dnnlib.errors import ESCAPED, as_user_error, printable
from dnnlib.running.stop import StopNow
from dnnlib.running.wording import as_called


def one_sentence_errors(command: Callable[..., Any], exit_code: int = 1) -> Callable[..., Any]:
    """Decorate a command: a UserError is printed without a traceback and ends the command with its exit code.

    That is `exit_code` unless the error has one of its own.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        prepare_console()
        try:
            return command(*args, **kwargs)
        except Exception as error:
            sentence = as_user_error(error)
            if sentence is None:
                raise
            click.echo(f"Error: {as_called(str(sentence))}", err=True)
            sys.exit(exit_code if sentence.exit_code is None else sentence.exit_code)
        except StopNow as stop:
            click.echo(str(stop), err=True)
            sys.exit(stop.exit_code)

    return wrapped


class OneLine(logging.Formatter):
    """Writes a message on one line, with what could command the terminal escaped: it may quote what files hold."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the base class
        return printable(as_called(super().formatMessage(record)))


def prepare_console() -> None:
    """Print warnings of the program on standard error, unless logging is set up already; escape what is no text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


# Decorator of commands on many photos: wrong use ends with 2, as in click, so that 1 means that photos were skipped.
wrong_use_errors = functools.partial(one_sentence_errors, exit_code=2)
