"""A lab's page: its executed notebook, without the solutions' code unless that is asked for."""

from __future__ import annotations

import copy
import dataclasses
import re

import nbformat
from nbformat import NotebookNode

from labkit.authoring.build import student_notebook
from labkit.authoring.site import tables
from labkit.authoring.site.stored import Stored
from labkit.authoring.source import tagged

_MARKERS = re.compile(
    r"^ *(### (BEGIN|END) (SOLUTION|HIDDEN TESTS)|<!-- (BEGIN|END) SOLUTION -->"
    r"|# NBVAL_CHECK_OUTPUT)\n?",
    re.MULTILINE,
)
_LAB = re.compile(r"\b([lL]ab) (\d\d)\b")
_CODE_AND_LINKS = re.compile(r"(`[^`]*`|\$[^$]*\$|\[[^\]]*\]\([^)]*\))")


def page(stored: Stored, facts: str, names: dict[str, str], solutions: bool) -> NotebookNode:
    """The notebook that becomes a lab's page.

    Args:
        facts: Markdown that goes below the lab's first cell.
        names: of the labs' pages by number: other labs are linked where the text speaks of them.
        solutions: keep the code of the solutions, and the model answers.
    """
    notebook = copy.deepcopy(stored.notebook)
    if not solutions:
        stubs = student_notebook(dataclasses.replace(stored.source, notebook=notebook))
        for cell, stub in zip(notebook.cells, stubs.cells, strict=True):
            cell.source = stub.source
    for cell in notebook.cells:
        cell.source = _MARKERS.sub("", cell.source).rstrip("\n")
        if cell.cell_type == "markdown":
            cell.source = _linked(cell.source, names, stored.number)
        if tagged(cell, "check"):
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = tables.tidy(output.data["text/html"])
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(facts, id=f"lab{stored.number}-facts"))
    return notebook


def _linked(text: str, names: dict[str, str], own: str) -> str:
    """Markdown whose mentions of other labs are links to their pages; code and headings stay."""

    def link(found: re.Match) -> str:
        number = found[2]
        if number == own or number not in names:
            return found[0]
        return f"[{found[1]} {number}]({names[number]}.ipynb)"

    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith("#"):
            parts = _CODE_AND_LINKS.split(line)
            parts[::2] = [_LAB.sub(link, part) for part in parts[::2]]
            lines[i] = "".join(parts)
    return "\n".join(lines)
