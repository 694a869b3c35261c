"""What all commands share: errors as one sentence, and exit codes."""

import functools
import logging
import sys
from collections.abc import Callable

import click

from dnnlib.errors import as_user_error


def one_sentence_errors(command: Callable[..., None], exit_code: int = 1) -> Callable[..., None]:
    """Decorate a command: a UserError is printed without traceback, and ends it with `exit_code`."""

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
            sys.exit(exit_code)

    return wrapped


# Of commands on many photos: 2 is wrong use, as click has it, so that 1 tells of photos that were passed over.
wrong_use_errors = functools.partial(one_sentence_errors, exit_code=2)
