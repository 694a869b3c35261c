"""Commands: options in sections, former spellings, and groups that import what is asked for."""

import sys

import click
import pytest
from click.testing import CliRunner

from dnnlib import commands
from dnnlib.running.wording import as_called, call_as


@commands.command("draw", sections={"Shape": ["side", "round_"]}, former={"--width": "--side", "-w": "--side"})
@click.option("--side", type=int, default=1, help="Side.")
@click.option("--colour", default="red", help="Colour.")
@click.option("--round/--square", "round_", help="Form.")
@click.argument("names", nargs=-1)
def draw(side, colour, round_, names):
    """Draw: python invert.py restore."""
    click.echo(f"{side} {colour} {names}")


@commands.group(
    targets={"heavy": ("tests.support.no_such_module:main", "Does much."), "draw": (f"{__name__}:draw", "")}
)
def family():
    """A group."""


def run(command, *arguments):
    return CliRunner().invoke(command, arguments)


def test_options_stand_in_sections():
    """What no section names comes last."""
    shape, others = run(draw, "--help").output.partition("Shape:")[2].split("Options:")
    assert "--side" in shape and "--square" in shape and "--colour" not in shape
    assert "--colour" in others and "--help" in others and "--side" not in others


@pytest.mark.parametrize("former", [["--width=3"], ["--width", "3"], ["-w", "3"]])
def test_former_spellings_are_taken_with_a_note(former):
    result = run(draw, *former)
    assert result.stdout == "3 red ()\n"
    assert result.stderr == f"Note: {former[0].partition('=')[0]} is now --side\n"


def test_what_stands_behind_two_hyphens_is_no_option():
    result = run(draw, "--", "--width=3")
    assert result.stdout == "1 red ('--width=3',)\n" and not result.stderr


def test_former_spellings_are_hidden():
    assert "--width" not in run(draw, "--help").output


def test_a_group_imports_only_what_is_asked_for():
    output = run(family, "--help").output
    assert "heavy  Does much." in output
    assert run(family, "draw", "--side=2").output == "2 red ()\n"
    assert isinstance(run(family, "heavy").exception, ModuleNotFoundError)


def test_unknown_commands_are_answered_with_the_nearest():
    result = run(family, "drow")
    assert result.exit_code == 2 and "unknown command 'drow'; did you mean 'draw'?" in result.output


def test_texts_call_commands_as_the_running_one_is_called():
    call_as({"python invert.py": "qc-stylegan", "python -m exchange.hub": "qc-stylegan hub"})
    try:
        assert "Draw: qc-stylegan restore." in run(draw, "--help").output
        assert as_called("invert.py train-encoder; python -m exchange.hub push") == (
            "qc-stylegan train-encoder; qc-stylegan hub push"
        )
        assert as_called("x/invert.py and invert.pyc stay") == "x/invert.py and invert.pyc stay"
    finally:
        call_as({})
    assert as_called("python invert.py") == "python invert.py"


def test_the_version_names_what_a_report_needs():
    @commands.command()
    @commands.version_option
    def main():
        """Do nothing."""

    assert run(main, "--version").output.startswith("qc-stylegan 0.")
    assert f"Python {sys.version.split()[0]}, torch " in run(main, "--version").output
