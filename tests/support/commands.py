"""Call click commands as a shell does."""

import click
from click.testing import CliRunner


def done(command, *arguments):
    """Return what a command prints that succeeds."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def refused(command, *arguments):
    """Return the one sentence with which a command ends."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    [sentence] = result.output.strip().splitlines()
    assert sentence.startswith("Error: ")
    return sentence.removeprefix("Error: ")


def all_commands(group, path=()):
    """Yield the path and the command of everything that a group can be asked for."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield [*path, name], command
        if isinstance(command, click.Group):
            yield from all_commands(command, [*path, name])
