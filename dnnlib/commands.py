"""Commands of the command line: help in sections, former spellings of options, groups that import what they run."""

import functools
import importlib
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import click

from dnnlib.cli import exit_codes
from dnnlib.errors import unknown_name
from dnnlib.flags import SETTINGS
from dnnlib.running.wording import as_called
from dnnlib.version import __version__

OTHERS = "Options"  # heading of the options that no section names

Resolved = tuple[str | None, click.Command | None, list[str]]  # name, command, the other arguments


class Command(click.Command):
    """A command with its options in sections, which takes former spellings of them and says what they are now.

    Args:
        sections: parameters by the heading under which the help lists them; those of no section come last.
        former: former spelling -> spelling of an option, such as `--truncation` -> `--trunc`.
    """

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Sequence[str]] | None = None,
        former: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.sections = dict(sections or {})
        self.former = dict(former or {})

    def make_context(self, *args: Any, **attributes: Any) -> click.Context:
        """Return the context of a call; what stops a command while its arguments are read, such as a download, ends it.

        As what stops it later does, see `dnnlib.cli.exit_codes`.
        """
        with exit_codes():
            return super().make_context(*args, **attributes)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments in which former spellings are replaced, each with a note."""
        return super().parse_args(ctx, [self._respelled(arg, args[:index]) for index, arg in enumerate(args)])

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, whose examples are called as this command was."""
        return as_called(super().get_help(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, and the commands of a group."""
        headings = {name: heading for heading, names in self.sections.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.sections, OTHERS)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                rows[headings.get(option.name or "", OTHERS)].append(record)
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def _respelled(self, arg: str, before: Sequence[str]) -> str:
        name, separator, value = arg.partition("=")
        if name not in self.former or "--" in before:
            return arg
        click.echo(f"Note: {name} is now {self.former[name]}", err=True)
        return f"{self.former[name]}{separator}{value}"


class Group(Command, click.Group):
    """A group of commands that are imported when they are asked for, so that the others' imports cost nothing.

    Args:
        targets: `module:attribute` of each command, and what the group's help says about it.
    """

    def __init__(self, *args: Any, targets: Mapping[str, tuple[str, str]] | None = None, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.targets = dict(targets or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order in which they were given."""
        return [*self.targets, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; None for an unknown one."""
        if cmd_name not in self.targets:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.targets[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{module}:{attribute} is no command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that arguments begin with; an unknown one is answered with the nearest that there is."""
        is_word = not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and args[0] not in self.list_commands(ctx):
            ctx.fail(str(unknown_name("command", args[0], self.list_commands(ctx))))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing them."""
        rows = [(name, summary) for name, (_, summary) in self.targets.items()]
        rows += [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


# Decorators that make commands and groups.
command = functools.partial(click.command, cls=Command, context_settings=SETTINGS)
group = functools.partial(click.group, cls=Group, context_settings=SETTINGS)


def version_option(decorated: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--version`: that of the program, and those of Python and torch, which reports of faults need."""
    option = click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the version, and stop.",
    )
    return option(decorated)


def _print_version(context: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    if is_given and not context.resilient_parsing:
        click.echo(f"qc-stylegan {__version__}, Python {platform.python_version()}, torch {_version_of('torch')}")
        context.exit()


def _version_of(package: str) -> str:
    """Return the version of an installed package, which is not imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
