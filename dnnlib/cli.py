"""What all commands share: errors as one sentence, and exit codes."""

import functools
import logging
import sys
from collections.abc import Callable

import click

from dnnlib.errors import as_user_error


def one_sentence_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: a UserError is printed without traceback, and the exit code is 1."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
        try:
            return command(*args, **kwargs)
        except Exception as error:
            sentence = as_user_error(error)
            if sentence is None:
                raise
            click.echo(f"Error: {sentence}", err=True)
            sys.exit(1)

    return wrapped
