"""Which cells of a notebook others depend on."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from nbformat import NotebookNode

from labkit.authoring.source import tagged


def needed(cells: list[NotebookNode], tags: Collection[str]) -> set[int]:
    """Numbers of the cells with one of the tags, and of those that they depend on.

    They depend on a cell that gives a name they take, or that names a file they name. What a cell
    changes without saying so, as `rows.append(row)` or a file whose name is put together, is not
    seen.

    Args:
        cells: code cells, in order.
        tags: of the cells to begin with.
    """
    found, wanted = set(), set()
    for index in reversed(range(len(cells))):
        names = _Names()
        names.visit(ast.parse(cells[index].source))
        if any(tagged(cells[index], tag) for tag in tags) or (
            (names.given | names.changed) & wanted
        ):
            found.add(index)
            wanted = (wanted - names.given) | names.taken
    return found


_SCOPES = (
    *(ast.FunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


class _Names(ast.NodeVisitor):
    """The names that a cell gives, changes a part of, and takes from the cells before it.

    A loop is taken to run and a condition to hold; names inside functions and comprehensions that
    are given there are theirs. A file is written or read where it is named.
    """

    def __init__(self):
        self.given, self.changed, self.taken = set(), set(), set()

    def visit(self, node: ast.AST) -> None:
        """Scopes, and parts that are stored into, as a whole; all else by its parts."""
        if isinstance(node, _SCOPES):
            self._scope(node)
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            self._change(node)
        else:
            super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Given where it is stored, else taken, unless the cell has given it before."""
        if not isinstance(node.ctx, ast.Load):
            self.given.add(node.id)
        elif node.id not in self.given:
            self.taken.add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        """An import gives a name."""
        self.given.add((node.asname or node.name).split(".")[0])

    def visit_Constant(self, node: ast.Constant) -> None:
        """The name of a file."""
        if isinstance(node.value, str) and re.fullmatch(r"[\w/-]+\.\w+", node.value):
            self.changed.add(node.value)
            self.taken.add(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        """The value comes before the name."""
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """`x += 1` changes x."""
        self.visit(node.value)
        self._change(node.target)

    def visit_For(self, node: ast.For) -> None:
        """The values come before the name."""
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def _change(self, node: ast.AST) -> None:
        """`x[0] = 1` and `x.y = 1` change x, which stays what it was in all else."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                self.changed.add(part.id)
                self.taken |= {part.id} - self.given

    def _scope(self, node: ast.AST) -> None:
        """A scope of its own."""
        inside = list(ast.walk(node))
        own = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {n.arg for n in inside if isinstance(n, ast.arg)}
        names = {n.id for n in inside if isinstance(n, ast.Name)}
        self.taken |= names - own - self.given
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self.given.add(node.name)
