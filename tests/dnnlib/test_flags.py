"""Flags: fields that they set, assignments, options that reach a command as one object."""

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from dnnlib.config import with_overrides
from dnnlib.errors import UserError
from dnnlib.flags import SETTINGS, add_options, fields_of_flags, gather_flags, parse_assignment, require_effect

FIELDS = {"lr": ("optimizer_g.lr", "optimizer_d.lr"), "data": ("data.path",), "mirror": ("data.mirror",)}


@dataclass(frozen=True)
class Size:
    width: int
    height: int | None = None


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        ({}, {}),
        ({"lr": None, "data": None}, {}),
        ({"lr": 0.002}, {"optimizer_g.lr": "0.002", "optimizer_d.lr": "0.002"}),
        ({"data": "a folder", "mirror": False}, {"data.path": '"a folder"', "data.mirror": "false"}),
    ],
)
def test_flags_that_were_given_set_their_fields(flags, values):
    assert fields_of_flags(flags, FIELDS) == values


def test_a_text_stays_a_text_even_where_it_looks_like_a_number():
    @dataclass(frozen=True)
    class Data:
        path: str = ""

    assert with_overrides(Data(), fields_of_flags({"data": "0007"}, {"data": ("path",)})) == Data("0007")


@pytest.mark.parametrize(
    ("text", "parts"), [("a.b=1", ("a.b", "1")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c")), ("=1", ("", "1"))]
)
def test_an_assignment_has_a_field_and_a_value(text, parts):
    assert parse_assignment(text) == parts


@pytest.mark.parametrize("text", ["", "batch", "loss.r1_gamma:2"])
def test_an_assignment_without_a_value_is_refused(text):
    with pytest.raises(UserError) as error:
        parse_assignment(text)
    assert str(error.value) == f"--set {text} has no value; write --set field=value"


def resize_command(calls):
    """Return a command that notes its arguments; two of its flags reach it as one object."""
    options = [click.option("--width", type=int, required=True), click.option("--height", type=int)]

    @click.command(context_settings=SETTINGS)
    @lambda command: add_options(gather_flags("size", Size)(command), options)
    @click.option("--name", default="x", help="A name.")
    def resize(size, name):
        calls.append((size, name))

    return resize


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["--width=3"], (Size(3), "x")),
        (["--width=3", "--height=4", "--name=y"], (Size(3, 4), "y")),
    ],
)
def test_flags_reach_the_command_as_one_object(arguments, call):
    calls = []
    result = CliRunner().invoke(resize_command(calls), arguments)
    assert result.exit_code == 0, result.output
    assert calls == [call]


def test_help_lists_options_in_order_and_shows_defaults():
    text = CliRunner().invoke(resize_command([]), ["--help"]).output
    assert text.index("--width") < text.index("--height") < text.index("--name")
    assert "[default: x]" in text


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ([], "fine"),
        (["--other=1"], "fine"),
        (["--step-count=3"], "--step-count has no effect without --walk; leave it out"),  # its default, but given
        (["-s", "4"], "--step-count has no effect without --walk; leave it out"),
    ],
)
def test_given_options_without_effect_are_refused(arguments, answer):
    @click.command()
    @click.option("-s", "--step-count", type=int, default=3)
    @click.option("--other", type=int)
    def command(step_count, other):
        try:
            require_effect(["step_count"], "without --walk")
        except UserError as error:
            click.echo(str(error))
        else:
            click.echo("fine")

    assert CliRunner().invoke(command, arguments).output == answer + "\n"
