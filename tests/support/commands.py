"""Call click commands as a shell does."""

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
