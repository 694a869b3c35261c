"""Check and rewrite the sources in TorchScript files, without executing them."""

import ast
import re
from collections.abc import Callable, Mapping

from dnnlib.errors import UserError
from torch_utils.untrusted.torchscript_operators import PRIM, is_operator, is_plain

_NODES = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass, ast.Expr),
    *(ast.Assign, ast.AnnAssign, ast.If, ast.While, ast.For, ast.Call, ast.keyword, ast.Attribute, ast.Name),
    *(ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Subscript, ast.UnaryOp, ast.USub, ast.Load, ast.Store),
)
# Allowed names of types and functions. `fork` and `rpc_async` are not among them.
_NAMES = """
Module NamedTuple Enum Tensor Optional List Dict Tuple Union Final NoneType Device number Any Scalar
int float bool str complex list dict tuple range len min max abs print isinstance annotate unchecked_cast
uninitialized CONSTANTS inf nan __annotations__
"""
_ROOTS = ("torch", "ops", "__torch__")  # allowed only with an attribute, so that they get no other names
_PLAIN_TEXT = re.compile(r"[\n -~]*")


def rewrite_sources(sources: dict[str, bytes]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the sources of a TorchScript file, rewritten, and the qualified names that they define.

    Sources may contain classes, functions, and statements on variables; the operators in
    `torch_utils.untrusted.torchscript_operators`; and the functions and classes of the file itself. Nothing is executed
    when the file is opened. Since the text is rewritten from the checked syntax tree, a parser that treats comments,
    quotes or line ends differently finds only checked code.

    Args:
        sources: text by the qualified name of its module, such as `__torch__.torch.nn.modules.conv`.

    Raises UserError, a sentence without its subject ("asks for ..."), for anything but a plain network.
    """
    try:
        trees = {module: _parse(text) for module, text in sources.items()}
        defined = _defined_names(trees)
        for tree in trees.values():
            _Checker(tree, defined).visit(tree)
        return {module: ast.unparse(tree) + "\n" for module, tree in trees.items()}, defined
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError("is damaged, or its code is not what torch.jit.save writes") from error


def _parse(content: bytes) -> ast.Module:
    text = content.decode("ascii")
    if not _PLAIN_TEXT.fullmatch(text):
        raise ValueError("control characters")
    return ast.parse(text)


def _defined_names(trees: Mapping[str, ast.Module]) -> frozenset[str]:
    """Return the qualified names of all classes and functions."""
    return frozenset(
        f"{module}.{node.name}"
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    )


class _Checker(ast.NodeVisitor):
    """Visitor that raises UserError at the first node that a plain network does not need."""

    def __init__(self, tree: ast.Module, defined: frozenset[str]):
        self.defined = defined
        bound = _bound_names(tree)
        for name in bound & {*_ROOTS, "getattr"}:
            raise _refusal(name)
        self.names = bound.union(_NAMES.split())

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _NODES):
            raise _refusal(f"the statement {type(node).__name__}")
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.decorator_list or node.name == "__setstate__":  # executed when the file is opened
            raise _refusal(node.name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self._visit_getattr(node)
        else:
            self.generic_visit(node)

    def _visit_getattr(self, node: ast.Call) -> None:
        name = _text(node.args[1]) if len(node.args) == 2 and not node.keywords else None
        if name is None:
            raise _refusal("getattr")
        self._require_member(name)
        self.visit(node.args[0])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        if chain[0] not in _ROOTS:
            self._require_member(node.attr)
            self.visit(node.value)
        elif not self._is_known(chain):
            raise _refusal(_qualified_name(chain))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id not in self.names:
            raise _refusal(node.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, (str, int, float, complex, type(None))):
            raise _refusal(f"the constant {node.value!r}")
        if isinstance(node.value, str):
            node.value = re.sub(r"[^\t\n -~]", "?", node.value)  # TorchScript has no hexadecimal escapes

    def _is_known(self, chain: list[str]) -> bool:
        """Return whether a dotted name is an allowed operator, or belongs to the file."""
        if chain[0] == "torch":
            return len(chain) == 2 and is_plain(chain[1])
        if chain[0] == "ops":
            known: dict[str, Callable[[str], bool]] = {"aten": is_plain, "prim": PRIM.__contains__}
            return len(chain) == 3 and chain[1] in known and known[chain[1]](chain[2])
        return ".".join(chain) in self.defined or ".".join(chain[:-1]) in self.defined

    def _require_member(self, name: str) -> None:
        if is_operator(name) and not is_plain(name):  # x.name(...) may call aten::name(x, ...)
            raise _refusal(f"aten::{name}")


def _bound_names(tree: ast.Module) -> set[str]:
    """Return all names that a module binds: variables, arguments, functions and classes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def _chain(node: ast.expr) -> list[str]:
    """Return `[a, b, c]` of `a.b.c`; its first element is empty when the base is not a name."""
    if isinstance(node, ast.Attribute):
        return [*_chain(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]


def _qualified_name(chain: list[str]) -> str:
    """Return a dotted name in TorchScript's spelling, such as `aten::add`."""
    if chain[0] == "torch" and len(chain) > 1:
        return f"aten::{chain[1]}"
    return "::".join(chain[1:]) if chain[0] == "ops" else ".".join(chain)


def _text(node: ast.expr) -> str | None:
    """Return the text of a string constant; None for any other node."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _refusal(what: str) -> UserError:
    return UserError(f"asks for `{what}`, which could touch files or run other things; only plain networks are opened")
