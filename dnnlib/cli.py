"""Error handling of all commands: an error is printed as one sentence, and the exit code says its kind."""

import functools
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from dnnlib.errors import ESCAPED, as_user_error, printable
from dnnlib.running.stop import StopNow
from dnnlib.running.wording import as_called

BAD_INPUT = 1  # exit code of a command that ends by a sentence, or has passed over some of its input


def one_sentence_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command: it ends as `exit_codes` says."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with exit_codes():
            prepare_console()
            return command(*args, **kwargs)

    return wrapped


@contextmanager
def exit_codes() -> Iterator[None]:
    """Leave the program by the rule for all commands: UserErrors as one sentence with 1, Ctrl-C with 130.

    Click ends with 2 what it refuses by itself, and a signal that nobody handles ends a program with 128 and its number
    as shells see it.
    """
    try:
        yield
    except Exception as error:
        sentence = as_user_error(error)
        if sentence is None:
            raise
        click.echo(f"Error: {as_called(str(sentence))}", err=True)
        sys.exit(BAD_INPUT)
    except StopNow as stop:
        click.echo(str(stop), err=True)
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        click.echo("Stopped by SIGINT", err=True)
        sys.exit(128 + signal.SIGINT)


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
