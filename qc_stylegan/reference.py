"""The page `docs/reference.md`: every command with its options, and every field of the configurations, from the source.

python -m qc_stylegan.reference --write
"""

import ast
import dataclasses
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dnnlib import commands
from dnnlib.files import write_text
from inversion.encoders.config import EncoderConfig
from qc_stylegan.program import program
from training.config import TrainConfig

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """# Reference

Every command with its options, and every field that `--set FIELD=VALUE` takes. This page is made from the source:
`python -m qc_stylegan.reference --write`.
"""


@commands.command()
@click.option("--write", "writes", is_flag=True, help="Write docs/reference.md instead of printing it.")
def main(writes: bool) -> None:
    """Print the reference of all commands and fields."""
    if writes:
        write_text(PAGE, page())
        click.echo(f"{PAGE}")
    else:
        click.echo(page())


def page() -> str:
    """Return the page as markdown."""
    parts = [HEAD, "## Commands\n"]
    for name, command in _commands(program, ""):
        summary = (command.help or "").partition("\n\n")[0].replace("\n", " ").strip()
        parts.append(f"### qc-stylegan {name}\n\n{summary}\n\n{_options(command)}")
    parts.append("## Fields of a training (`train --set`)\n\n" + _fields(TrainConfig))
    parts.append("## Fields of an encoder's training (`train-encoder --set`)\n\n" + _fields(EncoderConfig))
    return "\n".join(parts)


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands that do something, by their names with those of their groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"the command {name} is listed"
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")


def _options(command: click.Command) -> str:
    rows = ["| option | meaning |", "|---|---|"]
    for parameter in command.params:
        record = parameter.get_help_record(click.Context(command))
        if isinstance(parameter, click.Argument):
            rows.append(f"| `{parameter.make_metavar(click.Context(command))}` | |")
        elif record is not None and parameter.name != "version":
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _fields(kind: type) -> str:
    rows = ["| field | default | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | `{default}` | {_cell(comment)} |" for name, default, comment in _leaves(kind, "")]
    return "\n".join(rows) + "\n"


def _leaves(kind: type, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and comment of all fields of a configuration and of those within it."""
    comments, types = _comments(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{prefix}{field.name}"
        default = _default(field)
        parts = [part for part in (types[field.name], *typing.get_args(types[field.name])) if isinstance(part, type)]
        inner = [part for part in parts if dataclasses.is_dataclass(part)]
        if not inner or default is None:
            yield name, "" if default is dataclasses.MISSING else _cell(str(default)), comments.get(field.name, "")
        for part in inner:
            yield from _leaves(part, f"{name}.")


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _comments(kind: type) -> dict[str, str]:
    """Return the comment of each field: behind it, or in the lines above."""
    lines = inspect.getsource(kind).splitlines()
    [definition] = ast.parse("\n".join(lines)).body
    assert isinstance(definition, ast.ClassDef), f"{kind} is a class"
    found = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = lines[(node.end_lineno or node.lineno) - 1]
            behind = last[node.end_col_offset or 0 :].partition("# ")[2]
            above = _above(lines, node.lineno - 2)
            found[node.target.id] = behind or " ".join(above)
    return found


def _above(lines: list[str], index: int) -> list[str]:
    """Return the comment lines that end at `index`."""
    comment: list[str] = []
    while index >= 0 and lines[index].strip().startswith("# "):
        comment.insert(0, lines[index].strip().removeprefix("# "))
        index -= 1
    return comment


if __name__ == "__main__":
    main()
