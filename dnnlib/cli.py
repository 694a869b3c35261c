"""What all commands share: errors as one sentence, and exit codes."""

import errno
import functools
import logging
import sys
from collections.abc import Callable

import click

from dnnlib.errors import UserError


def one_sentence_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: a UserError is printed without traceback, and the exit code is 1."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
        try:
            return command(*args, **kwargs)
        except UserError as error:
            _fail(error)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _fail(f"{error.filename or 'the log'} could not be written, the disk is full; free some space and go on")

    return wrapped


def _fail(message):
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)
