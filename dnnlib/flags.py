"""Flags of a command line: how help texts look, and how flags and `--set FIELD=VALUE` set fields of configurations."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from dnnlib.errors import UserError

COMMANDLINE = click.core.ParameterSource.COMMANDLINE

# Settings of every click command.
SETTINGS = {"show_default": True, "max_content_width": 120}


class LocalPath(click.ParamType):
    """Type of a command-line option or argument that is a path on this machine.

    A `~` at its beginning is the home folder: shells expand it where a word begins, and not in `--outdir=~/run`.

    Args:
        may_be_empty: whether an empty text has a meaning of its own, such as none.
    """

    name = "path"

    def __init__(self, may_be_empty: bool = False) -> None:
        self.may_be_empty = may_be_empty

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path as text; whether something is there is not looked at, but an empty one is refused."""
        if not value and not self.may_be_empty:  # a shell's variable that is not set; it would mean this folder
            self.fail("the path is empty; write one, or . for this folder", param, ctx)
        return os.path.expanduser(value)


PATH = LocalPath()

# Option of the commands whose work processes divide.
processes_option = click.option(
    "--gpus",
    "--processes",
    "gpus",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Processes that divide the work, one a GPU; on the CPU with --device=cpu (torchrun's under torchrun).",
)

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


def fields_of_flags(flags: Mapping[str, Any], fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the values of configuration fields that flags set, as `dnnlib.config.with_overrides` takes them.

    Args:
        flags: value of each flag; None where it was not given.
        fields: dotted names of the fields that each flag sets.
    """
    given = {flag: json.dumps(value) for flag, value in flags.items() if value is not None}
    return {field: text for flag, text in given.items() for field in fields[flag]}


def parse_assignment(text: str) -> tuple[str, str]:
    """Split `FIELD=VALUE`, the argument of --set, into field and value; raise UserError where there is no `=`."""
    name, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"--set {text} has no value; write --set field=value")
    return name, value


def given_flags() -> dict[str, str]:
    """Return the longest name of each option that the command line gives, such as `--noise-mode`, by its parameter."""
    context = click.get_current_context()
    given = (o for o in context.command.params if context.get_parameter_source(o.name or "") is COMMANDLINE)
    return {option.name: max(option.opts, key=len) for option in given if option.name is not None}


def require_effect(names: Sequence[str], reason: str) -> None:
    """Raise UserError where the command line gives an option that has no effect.

    Args:
        names: parameters of such options.
        reason: what makes them so, such as `with --images`; and after `;` what to do, unless to leave the option out.
    """
    given = given_flags()
    for name in names:
        if name in given:
            raise UserError(f"{given[name]} has no effect {reason}" + ("" if "; " in reason else "; leave it out"))


def add_options(command: Command, options: Sequence[Decorator]) -> Command:
    """Apply decorators such as `click.option(...)` to a command; its help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def gather_flags(argument: str, kind: type) -> Decorator:
    """Return a decorator that hands a command some of its flags as one object.

    Args:
        argument: name of the command's parameter that receives the object.
        kind: dataclass of the object; its fields are named like the flags' parameters.
    """
    names = {field.name for field in dataclasses.fields(kind)}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*args: Any, **flags: Any) -> None:
            own = {name: value for name, value in flags.items() if name in names}
            others = {name: value for name, value in flags.items() if name not in names}
            command(*args, **{argument: kind(**own)}, **others)

        return gathered

    return decorate
