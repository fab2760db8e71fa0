"""The notebook that is executed: a restored one, with calls that ask for the exercises' answers."""

from __future__ import annotations

import copy
import re

import nbformat
from nbformat import NotebookNode

from labkit.authoring.source import tagged
from labkit.grading.code_cells import definitions
from labkit.grading.notebooks import ADDED, STUB, Restored, label_of, names_of


def executable(
    restored: Restored, parameters: dict, exercises: list[str], whole: bool = True
) -> NotebookNode:
    """The notebook that is executed: parameters set, and each exercise asked for its answers.

    It is asked after its own cell and again at the end: the function may stand anywhere. A
    definition that stands above a stub is not lost to it. What to call a cell when it fails is
    in its metadata.

    Args:
        whole: else of the lab's own cells only imports and definitions are executed, which the
            exercises stand on; nothing is trained.
    """
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    mentioned: set[str] = set()
    asked = {}
    for cell in restored.cells:
        if cell.cell_type != "code":
            continue
        cell = copy.deepcopy(cell)
        cell.outputs, cell.execution_count = [], None
        cell.metadata["labkit"] = _called(cell, restored)
        is_added, is_exercise = cell.id.startswith(ADDED), tagged(cell, "exercise")
        if not whole and not is_exercise and not is_added:
            cell.source = definitions(cell.source)
        names = names_of(cell) if is_exercise else []
        is_stub = is_exercise and STUB in cell.source and not mentioned.isdisjoint(names)
        if is_stub:
            notebook.cells.append(_call("keep", f"{names!r}, globals()", f"kept-{cell.id}", "keep"))
        notebook.cells.append(cell)
        if is_stub:
            again = f"{names!r}, globals()"
            notebook.cells.append(_call("put_back", again, f"back-{cell.id}", "put back"))
        if is_added or is_exercise:
            mentioned.update(re.findall(r"\w+", cell.source))
        if tagged(cell, "parameters"):
            lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            notebook.cells.append(_injected("injected-parameters", lines, "the parameters"))
        name = cell.metadata.get("exercise")
        if is_exercise and name in exercises:
            notebook.cells.append(_asking(name))
            asked[name] = None
    notebook.cells += [_asking(name, again=True) for name in asked]
    return notebook


def _called(cell: NotebookNode, restored: Restored) -> str:
    """What a cell is called when something happens in it, as the student counts cells."""
    label = label_of(cell)
    if cell.id not in restored.numbers:
        return f"a cell of the lab's own ({label})" if label else "a cell of the lab's own"
    return f"code cell {restored.numbers[cell.id]}" + (f" ({label})" if label else "")


def _asking(exercise: str, again: bool = False) -> NotebookNode:
    """The cell that asks for the answers of an exercise."""
    return _call(
        "answer",
        f"{exercise!r}, globals()" + (", again=True" if again else ""),
        f"{'again' if again else 'answers'}-{exercise}",
        f"the grader's call of {exercise}",
    )


def _call(function: str, arguments: str, identifier: str, called: str) -> NotebookNode:
    module = "__import__('labkit.grading.inside.answers', fromlist=['_'])"
    return _injected(identifier, f"{module}.{function}({arguments})", called)


def _injected(identifier: str, source: str, called: str) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source)
    cell.id = identifier
    cell.metadata["tags"] = ["injected-parameters"] if "param" in identifier else ["answers"]
    cell.metadata["labkit"] = called
    return cell
