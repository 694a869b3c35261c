"""Numbers about the source, as one column: types, shape notes, lengths, messages, files in a folder.

python -m benchmarks.house [ROOT] [--drawing]

The source is every Python file outside tests/, the tests are those in tests/; files that git ignores belong to neither.
Lines are those that are not blank, docstrings and comments included; kLOC is a thousand of them. A number in
parentheses is the total of a percentage. What the rows count:

- typed parameters: those of every `def`, nested and private ones too, with `*args` and `**kwargs`, without `self` and
  `cls`.
- shape notes: brackets such as `[N, C, H, W]` in comments and docstrings: short entries, two or more, not all numbers.
- function lines: those of the body without its docstring; a function within another counts in both.
- raises with message: those with an argument; raising a caught error again is not counted.
- folders: those with a Python file of their own.
- file lines: blank ones too.
- public names: functions and classes of a module, and methods of such classes, without a leading underscore.
- packings: assignments to two or more attributes of `self` at once.
- attributes born outside `__init__`: pairs of class and attribute that a method sets, though neither the class's body
  nor `__init__` or `__post_init__` does, nor anything in a base class within the tree. Bases are found by name.
- functions with `*arguments`: those that take any number of arguments by position.
"""

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import click

from benchmarks.rooms import HERE, drawing, python_files

APART = ("tests",)  # folders that are not source
FULLEST = 3  # number of folders that are named
MAKERS = ("__init__", "__post_init__")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ENTRY = r"(?:\.\.\.|[\w*/+-][\w*/+ -]{0,11})"
SHAPE = re.compile(rf"(?<![\w\]])\[(?=[^\]]*[A-Za-z]){ENTRY}(?:, ?{ENTRY})+\]")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True)
class Module:
    """A file: `path` is relative to the root."""

    path: Path
    text: str
    tree: ast.Module
    nodes: list[ast.AST]  # at any depth, with the module itself

    def lines(self, first: int = 1, last: int | None = None) -> int:
        """Return the number of these lines that are not blank."""
        return sum(bool(line.strip()) for line in self.text.splitlines()[first - 1 : last])

    def comments(self) -> list[str]:
        """Return the comments, each with its `#`."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [token.string for token in tokens if token.type == tokenize.COMMENT]


Modules = list[Module]


@click.command()
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=HERE)
@click.option("--drawing", "with_drawing", is_flag=True, help="Print the drawing of the rooms below the table.")
def main(root: Path, with_drawing: bool) -> None:
    """Measure the tree at ROOT, by default this one."""
    click.echo(table(root))
    if with_drawing:
        click.echo(f"\n{drawing(root)}", nl=False)


def table(root: Path) -> str:
    """Return the numbers of a tree as a table in Markdown."""
    files = python_files(root)
    source = _read(root, [path for path in files if path.parts[0] not in APART])
    tests = _read(root, [path for path in files if path.parts[0] == "tests"])
    if not source:
        raise click.ClickException(f"{root} holds no Python source")
    rows = {name: measure(source) for name, measure in ROWS.items()}
    rows["test lines per source line"] = f"{_lines(tests) / _lines(source):.2f}"
    head = f"| | {root.resolve().name} |\n|---|---|\n"
    return head + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _read(root: Path, paths: list[Path]) -> Modules:
    modules = []
    for path in paths:
        text = (root / path).read_text(encoding="utf-8")
        tree = ast.parse(text, str(path))
        modules.append(Module(path, text, tree, list(ast.walk(tree))))
    return modules


def _lines(modules: Modules) -> int:
    return sum(module.lines() for module in modules)


def _nodes(modules: Modules, kind: type[Node]) -> list[Node]:
    return [node for module in modules for node in module.nodes if isinstance(node, kind)]


def _functions(modules: Modules) -> list[Function]:
    return [node for module in modules for node in module.nodes if isinstance(node, DEFINITIONS)]


def _share(truths: list[bool]) -> str:
    return f"{100 * sum(truths) / len(truths):.1f} ({len(truths):,})" if truths else "-"


def _typed_parameters(modules: Modules) -> str:
    parameters = [node for function in _functions(modules) for node in _parameters(function.args)]
    return _share([node.annotation is not None for node in parameters])


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    nodes = arguments.posonlyargs + arguments.args + arguments.kwonlyargs + [arguments.vararg, arguments.kwarg]
    return [node for node in nodes if node is not None and node.arg not in ("self", "cls")]


def _shape_notes(modules: Modules) -> str:
    texts = [ast.get_docstring(module.tree) or "" for module in modules]
    texts += [ast.get_docstring(node) or "" for node in _nodes(modules, ast.ClassDef) + _functions(modules)]
    texts += [comment for module in modules for comment in module.comments()]
    return f"{1000 * sum(len(SHAPE.findall(text)) for text in texts) / _lines(modules):.1f}"


def _comments(modules: Modules) -> str:
    return f"{1000 * sum(len(module.comments()) for module in modules) / _lines(modules):.1f}"


def _function_lines(modules: Modules) -> str:
    lengths = sorted(_body_lines(module, function) for module in modules for function in _functions([module]))
    return f"{median(lengths):g} / {lengths[int(len(lengths) * 0.9)]} / {lengths[-1]}" if lengths else "-"


def _body_lines(module: Module, function: Function) -> int:
    body = function.body[ast.get_docstring(function) is not None :]
    return module.lines(body[0].lineno, function.end_lineno) if body else 0


def _raises(modules: Modules) -> str:
    raised = [node.exc for node in _nodes(modules, ast.Raise)]
    made = [node for node in raised if isinstance(node, ast.Call) or _last_name(node)[:1].isupper()]
    return _share([isinstance(node, ast.Call) and bool(node.args or node.keywords) for node in made])


def _asserts(modules: Modules) -> str:
    messages = [node.msg is not None for node in _nodes(modules, ast.Assert)]
    return f"{sum(messages)} / {len(messages)}"


def _folders(modules: Modules) -> str:
    count = len({module.path.parent for module in modules})
    return f"{len(modules)} / {count} = {len(modules) / count:.1f}"


def _fullest(modules: Modules) -> str:
    files = Counter(module.path.parent.as_posix() for module in modules)
    return ", ".join(f"{name} {files[name]}" for name in sorted(files, key=lambda name: (-files[name], name))[:FULLEST])


def _file_lines(modules: Modules) -> str:
    lengths = [len(module.text.splitlines()) for module in modules]
    return f"{median(lengths):g} / {max(lengths)}"


def _undocumented(modules: Modules) -> str:
    public = [node for module in modules for node in _public(module.tree)]
    methods = [node for owner in public if isinstance(owner, ast.ClassDef) for node in _public(owner)]
    public += [node for node in methods if not isinstance(node, ast.ClassDef)]
    return f"{sum(ast.get_docstring(node) is None for node in public):,} of {len(public):,}"


def _public(owner: ast.Module | ast.ClassDef) -> list[Function | ast.ClassDef]:
    named = [node for node in owner.body if isinstance(node, (ast.ClassDef, *DEFINITIONS))]
    return [node for node in named if not node.name.startswith("_")]


def _packings(modules: Modules) -> int:
    targets = [target for node in _nodes(modules, ast.Assign) for target in node.targets]
    tuples = [target for target in targets if isinstance(target, ast.Tuple)]
    return sum(sum(map(_is_of_self, target.elts)) > 1 for target in tuples)


def _born_late(modules: Modules) -> int:
    classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
    for node in _nodes(modules, ast.ClassDef):
        classes[node.name].append(node)
    return sum(len(_set_by(_methods(node)) - _known(node, classes)) for same in classes.values() for node in same)


def _known(owner: ast.ClassDef, classes: dict[str, list[ast.ClassDef]]) -> set[str]:
    """Return the attributes that a class declares or makes, and all that its bases have."""
    bases, waiting = [], [owner]
    while waiting:
        names = {_last_name(base) for base in waiting.pop().bases}
        new = [node for name in names for node in classes.get(name, []) if node is not owner and node not in bases]
        bases += new
        waiting += new
    own = _declared(owner) | _set_by(method for method in _methods(owner) if method.name in MAKERS)
    return own.union(*(_declared(base) | _set_by(_methods(base)) for base in bases))


def _declared(owner: ast.ClassDef) -> set[str]:
    targets = [target for node in owner.body for target in getattr(node, "targets", [getattr(node, "target", None)])]
    return {_last_name(target) for target in targets} | {getattr(node, "name", "") for node in owner.body}


def _methods(owner: ast.ClassDef) -> list[Function]:
    return [node for node in owner.body if isinstance(node, DEFINITIONS)]


def _set_by(methods: Iterable[Function]) -> set[str]:
    """Return the attributes of `self` that are set, also those that `register_buffer` and its kin name."""
    nodes = [node for method in methods for node in ast.walk(method)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and _is_of_self(node.func) and node.args]
    registered = [node.args[0] for node in calls if _last_name(node.func).startswith("register_")]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and _is_of_self(node)]
    stored = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    return stored | {str(node.value) for node in registered if isinstance(node, ast.Constant)}


def _is_of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and _last_name(node.value) == "self"


def _last_name(node: ast.AST | None) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


ROWS: dict[str, Callable[[Modules], object]] = {
    "source lines": lambda modules: f"{_lines(modules):,}",
    "typed parameters %": _typed_parameters,
    "functions with return type %": lambda modules: _share([node.returns is not None for node in _functions(modules)]),
    "shape notes / kLOC": _shape_notes,
    "function lines median / p90 / max": _function_lines,
    "raises with message %": _raises,
    "asserts with message": _asserts,
    "py files / folders = per folder": _folders,
    "fullest folders": _fullest,
    "file lines median / longest": _file_lines,
    "public names without docstring": _undocumented,
    "`#` comments / kLOC": _comments,
    "`self.a, self.b = ...` packings": _packings,
    "attributes born outside `__init__`": _born_late,
    "functions with `*arguments`": lambda modules: sum(node.args.vararg is not None for node in _functions(modules)),
}


if __name__ == "__main__":
    main()
