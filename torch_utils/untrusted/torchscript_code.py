"""Check the source text within TorchScript files, without running any of it."""

import ast
import re

from dnnlib.errors import UserError
from torch_utils.untrusted.torchscript_operators import PRIM, is_operator, is_plain

_NODES = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass, ast.Expr),
    *(ast.Assign, ast.AnnAssign, ast.If, ast.While, ast.For, ast.Call, ast.keyword, ast.Attribute, ast.Name),
    *(ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Subscript, ast.UnaryOp, ast.USub, ast.Load, ast.Store),
)
# What stands for something else than a variable. There is no `fork` and no `rpc_async` among them.
_NAMES = """
Module NamedTuple Enum Tensor Optional List Dict Tuple Union Final NoneType Device number Any Scalar
int float bool str complex list dict tuple range len min max abs print isinstance annotate unchecked_cast
uninitialized CONSTANTS inf nan __annotations__
"""
_ROOTS = ("torch", "ops", "__torch__")  # only ever with what is taken from them, so that no other name stands for them
_PLAIN_TEXT = re.compile(r"[\n -~]*")


def checked_sources(sources: dict[str, bytes]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the sources of a TorchScript file, written anew, and the qualified names that they define.

    Only classes, functions, and statements on variables may stand there; operators are those of
    `torch_utils.untrusted.torchscript_operators`; other functions and classes are those of the file itself; nothing
    runs when the file is opened. As the text is written anew from the tree that was checked, a reader that takes
    comments, quotes or line ends in another way finds nothing that was not looked at.

    Args:
        sources: text by qualified name: `__torch__.torch.nn.modules.conv`.

    Raises UserError, a sentence without its subject ("asks for ..."), for anything but a plain network.
    """
    try:
        trees = {module: _parsed(text) for module, text in sources.items()}
        defined = _defined_names(trees)
        for tree in trees.values():
            _Checker(tree, defined).visit(tree)
        return {module: ast.unparse(tree) + "\n" for module, tree in trees.items()}, defined
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError("is damaged, or its code is not what torch.jit.save writes") from error


def _parsed(text):
    text = text.decode("ascii")
    if not _PLAIN_TEXT.fullmatch(text):
        raise ValueError("control characters")
    return ast.parse(text)


def _defined_names(trees):
    """Return the qualified names of all classes and functions."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return frozenset(
        f"{module}.{node.name}" for module, tree in trees.items() for node in tree.body if isinstance(node, kinds)
    )


class _Checker(ast.NodeVisitor):
    """Raise UserError at the first thing that a plain network does not need."""

    def __init__(self, tree: ast.Module, defined: frozenset[str]):
        self.defined = defined
        bound = _bound_names(tree)
        for name in bound & {*_ROOTS, "getattr"}:
            raise _refusal(name)
        self.names = bound.union(_NAMES.split())

    def visit(self, node):
        if not isinstance(node, _NODES):
            raise _refusal(f"the statement {type(node).__name__}")
        super().visit(node)

    def visit_FunctionDef(self, node):
        if node.decorator_list or node.name == "__setstate__":  # which runs when the file is opened
            raise _refusal(node.name)
        self.generic_visit(node)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self._visit_getattr(node)
        else:
            self.generic_visit(node)

    def _visit_getattr(self, node):
        if len(node.args) != 2 or node.keywords or not _is_text(node.args[1]):
            raise _refusal("getattr")
        self._require_member(node.args[1].value)
        self.visit(node.args[0])

    def visit_Attribute(self, node):
        chain = _chain(node)
        if chain[0] not in _ROOTS:
            self._require_member(node.attr)
            self.visit(node.value)
        elif not self._is_known(chain):
            raise _refusal(_shown(chain))

    def visit_Name(self, node):
        if node.id not in self.names:
            raise _refusal(node.id)

    def visit_Constant(self, node):
        if not isinstance(node.value, (str, int, float, complex, type(None))):
            raise _refusal(f"the constant {node.value!r}")
        if isinstance(node.value, str):
            node.value = re.sub(r"[^\t\n -~]", "?", node.value)  # TorchScript has no hexadecimal escapes

    def _is_known(self, chain):
        if chain[0] == "torch":
            return len(chain) == 2 and is_plain(chain[1])
        if chain[0] == "ops":
            known = {"aten": is_plain, "prim": PRIM.__contains__}
            return len(chain) == 3 and chain[1] in known and known[chain[1]](chain[2])
        return ".".join(chain) in self.defined or ".".join(chain[:-1]) in self.defined

    def _require_member(self, name):
        if is_operator(name) and not is_plain(name):  # x.name(...) may mean aten::name(x, ...)
            raise _refusal(f"aten::{name}")


def _bound_names(tree):
    """Return all names that a module gives to something."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def _chain(node):
    """Return `[a, b, c]` of `a.b.c`; its first element is empty where the base is no name."""
    if isinstance(node, ast.Attribute):
        return [*_chain(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]


def _shown(chain):
    if chain[0] == "torch" and len(chain) > 1:
        return f"aten::{chain[1]}"
    return "::".join(chain[1:]) if chain[0] == "ops" else ".".join(chain)


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _refusal(what):
    return UserError(f"asks for `{what}`, which could touch files or run other things; only plain networks are opened")
