"""The rooms of the source, which uses which, and the purpose of each: a Mermaid drawing and a table.

python -m benchmarks.rooms [ROOT] [--write]

A room is a folder with an `__init__.py` at the root; the programs at the root count as one more room, the scripts.
"""

import ast
import functools
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import click

HERE = Path(__file__).resolve().parents[1]
PAGE = "docs/architecture.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- /rooms -->"
SCRIPTS = "the scripts"
APART = {"tests", "benchmarks"}  # folders that are not drawn
CAPTION = """\
An arrow goes from a room to one that it uses, even if only within a function. One is left out where a longer way
along other arrows leads to the same room: A to C, where A goes to B and B to C. Files are Python files.
"""

Uses = dict[str, set[str]]  # room -> rooms


@click.command()
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=HERE)
@click.option("--write", is_flag=True, help=f"Write the drawing between the markers of {PAGE} instead of printing it.")
def main(root: Path, write: bool) -> None:
    """Draw the rooms of the tree at ROOT, by default of this one."""
    if not write:
        click.echo(drawing(root), nl=False)
        return
    page = root / PAGE
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"{page} has no lines {BEGIN.strip()} and {END}, between which the drawing belongs")
    page.write_text(before + begin + drawing(root) + end + after, encoding="utf-8", newline="\n")


def drawing(root: Path) -> str:
    """Return the drawing, its caption and the table, as they stand between the markers of the page."""
    files = python_files(root)
    names = {path.parts[0] for path in files if len(path.parts) == 2 and path.name == "__init__.py"} - APART
    rooms = {name: [path for path in files if path.parts[0] == name] for name in sorted(names)}
    rooms[SCRIPTS] = [path for path in files if len(path.parts) == 1]
    rooms = {name: paths for name, paths in rooms.items() if paths}
    trees = {path: tree_of(root / path) for paths in rooms.values() for path in paths}
    # A `__main__` is a command, like the scripts, and uses what it likes.
    inner = {name: [path for path in paths if path.name != "__main__.py"] for name, paths in rooms.items()}
    uses = {name: _used(name, [trees[path] for path in paths], rooms) for name, paths in inner.items()}
    return f"{_chart(rooms, uses)}\n{CAPTION}{_circles(uses)}\n{_table(rooms, uses, trees)}"


def python_files(root: Path) -> list[Path]:
    """Return the Python files below a folder, relative to it and sorted: all but those that git is told to ignore.

    Without git, or in a folder that git ignores, they are all but those in hidden folders.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.py"]
    try:
        listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    names = listed.split("\0")[:-1] or [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    files = (Path(name) for name in sorted(set(names)))
    return [path for path in files if (root / path).is_file() and not any(part.startswith(".") for part in path.parts)]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return a file as the oldest Python reads it that the source is for."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))


def imports(tree: ast.Module) -> set[str]:
    """Return the first parts of the dotted names that a module imports anywhere, also within functions.

    A relative import stays within its package and has none.
    """
    tops = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            tops.add(node.module.partition(".")[0])
    return tops


def reachable(uses: Uses, start: str) -> set[str]:
    """Return all that a room uses, directly or by way of others."""
    reached, waiting = set(), list(uses[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += uses[name]
    return reached


def reduce_arrows(uses: Uses) -> Uses:
    """Return the arrows that no longer way replaces; the rooms of a circle count as one place on such a way."""
    reach = {name: reachable(uses, name) for name in uses}

    def is_replaced(user: str, used: str) -> bool:
        between = (name for name in reach[user] if used in reach[name])
        return any(user not in reach[name] and name not in reach[used] for name in between)

    return {user: {used for used in uses[user] if not is_replaced(user, used)} for user in uses}


def _used(room: str, trees: Iterable[ast.Module], rooms: dict[str, list[Path]]) -> set[str]:
    owners = {name: name for name in rooms if name != SCRIPTS}
    owners |= {path.stem: SCRIPTS for path in rooms.get(SCRIPTS, [])}
    return {owners[top] for tree in trees for top in imports(tree) if top in owners} - {room}


def _chart(rooms: dict[str, list[Path]], uses: Uses) -> str:
    lines = [f'    {_key(name)}["{name}<br>{_count(len(paths))}"]' for name, paths in rooms.items()]
    arrows = reduce_arrows(uses)
    lines += [f"    {_key(user)} --> {_key(used)}" for user in rooms for used in sorted(arrows[user])]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```", ""])


def _circles(uses: Uses) -> str:
    circle = [f"`{name}`" for name in sorted(uses) if name in reachable(uses, name)]
    return f"These rooms use each other, directly or by way of others: {', '.join(circle)}.\n" if circle else ""


def _table(rooms: dict[str, list[Path]], uses: Uses, trees: dict[Path, ast.Module]) -> str:
    """Return the table from the ground up: a room stands below all that it uses."""
    lines = ["| room | what it is | its parts |", "|---|---|---|"]
    for room in sorted(rooms, key=lambda name: (len(reachable(uses, name)), name)):
        scripts = room == SCRIPTS
        purpose = "What is run." if scripts else _sentence(trees[Path(room, "__init__.py")])
        inner = [path for path in rooms[room] if scripts or (path.name == "__init__.py" and len(path.parts) > 2)]
        parts = [f"`{_part(path)}`: {_sentence(trees[path])}" for path in inner]
        lines.append(f"| {room if scripts else f'`{room}`'} | {purpose} | {'<br>'.join(parts)} |")
    return "\n".join(lines) + "\n"


def _sentence(tree: ast.Module) -> str:
    """Return the first sentence of a docstring, fit for a cell of a table."""
    paragraph = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0].replace("|", r"\|")


def _part(path: Path) -> str:
    """Return a package's folder within its room, or a script's name."""
    return path.name if len(path.parts) == 1 else Path(*path.parts[1:-1]).as_posix()


def _key(room: str) -> str:
    return room.replace(" ", "_")


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


if __name__ == "__main__":
    main()
