"""What the code of a cell defines and imports; nothing is executed."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from nbformat import NotebookNode


def defined(source: str) -> list[str]:
    """Names of the functions and classes that some code defines."""
    return re.findall(r"^(?:async +def|def|class)[ \t]+(\w+)", source, re.MULTILINE)


@lru_cache(maxsize=4096)
def definitions(code: str) -> str:
    """The imports, functions, classes and literal constants of some code; "" if it is no Python."""
    tree = syntax_tree(code)
    try:
        return ast.unparse([node for node in tree.body if _defines_something(node)]) if tree else ""
    except (ValueError, RecursionError):
        return ""


def imports(notebook: NotebookNode) -> list[str]:
    """The import statements of a notebook's code, a line each."""
    trees = [syntax_tree(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    nodes = [node for tree in trees if tree for node in tree.body]
    return [ast.unparse(n) for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]


def syntax_tree(code: str) -> ast.Module | None:
    """The syntax tree of a cell, magics and all; None if it is no Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    for transform in (str, lambda text: TransformerManager().transform_cell(text)):
        try:
            return ast.parse(transform(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def _defines_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except (ValueError, TypeError):
            return False
        return all(isinstance(target, (ast.Name, ast.Tuple)) for target in node.targets)
    return isinstance(
        node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    )
