"""From sources to student notebooks, and to the executed notebooks beside the sources."""

from __future__ import annotations

import copy
import platform
import re
import tempfile
from importlib import metadata
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labkit import course, files
from labkit.authoring.execution import execute_notebook
from labkit.authoring.source import Source, solution_lines, sources, tagged
from labkit.course import CourseError


def stub(exercise: str) -> str:
    """What stands in place of a solution."""
    return f'# YOUR CODE HERE\nraise NotImplementedError("exercise {exercise} is not filled in")'


def student_notebook(source: Source) -> NotebookNode:
    """The notebook that students get: no solutions, hidden tests or outputs."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook = copy.deepcopy(source.notebook)
    resources = {"language": "python"}
    for index, cell in enumerate(notebook.cells):
        if tagged(cell, "exercise") or tagged(cell, "written"):
            clear = ClearSolutions(
                code_stub={"python": stub(cell.metadata.get("exercise", ""))},
                text_stub="*Your answer here.*",
            )
            cell, _ = clear.preprocess_cell(cell, resources, index)
        cell, _ = ClearHiddenTests().preprocess_cell(cell, resources, index)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.validate(notebook)
    return notebook


def build(
    labs: list[str] | None = None, check: bool = False, root: Path | None = None
) -> list[str]:
    """Write the student notebooks, or check that those on disk are current and leak nothing.

    The executed notebooks beside the sources get the current prose; new code they get by `execute`.

    Args:
        labs: some labs; by default all, then notebooks without a source are found, too.
        check: write nothing.
        root: of the course.

    Returns:
        with `check` a line for each problem, else the names of the files that changed.
    """
    root = root or (course.root() if check else course.writable_root())
    found = sources(labs, root)
    lines = []
    for source in found:
        path = root / "notebooks" / f"{source.name}.ipynb"
        text = _text(student_notebook(source))
        stored = path.read_text(encoding="utf-8") if path.exists() else None
        if check:
            if stored != text:
                lines.append(f"notebooks/{path.name} is stale: run `labkit build`.")
            if stored is not None:
                lines += _leaks_of(source, stored)
            lines += _stored_problems(source)
            continue
        if stored != text:
            files.write_text(path, text)
            lines.append(f"notebooks/{path.name}")
        if _refresh_prose(source):
            lines.append(f"solutions/{path.name}")
    if check and labs is None:
        names = {source.name for source in found}
        for folder in ("notebooks", "solutions"):
            for path in sorted((root / folder).glob("*.ipynb")):
                if path.stem not in names:
                    lines.append(f"{folder}/{path.name} has no source in solutions/.")
    return lines


def _leaks_of(source: Source, text: str) -> list[str]:
    try:
        return leaks(source, nbformat.reads(text, as_version=4))
    except nbformat.reader.NotJSONError:
        return [f"notebooks/{source.name}.ipynb is damaged: run `labkit build`."]


def leaks(source: Source, notebook: NotebookNode) -> list[str]:
    """Lines for whatever a student notebook must not hold."""
    found = []
    secret = solution_lines(source)
    for cell in notebook.cells:
        where = f"notebooks/{source.name}.ipynb, cell {cell.get('id')}"
        shown = {re.sub(r"\s+", " ", line.strip()) for line in cell.source.splitlines()}
        found += [f"{where}: a line of the solution: {line}" for line in sorted(secret & shown)]
        if "BEGIN SOLUTION" in cell.source or "HIDDEN TESTS" in cell.source:
            found.append(f"{where}: a marker of a solution or hidden test.")
        if cell.get("outputs") or cell.get("execution_count"):
            found.append(f"{where}: it holds outputs.")
    return found


def execute(
    labs: list[str] | None = None,
    profile: str = "full",
    data: str = "auto",
    out: str = "out",
    root: Path | None = None,
) -> list[Path]:
    """Execute solutions and store them, with their outputs, beside the sources.

    Nothing is stored of a lab that fails.

    Args:
        labs: by default all.
        profile, data: as the labs' parameters.
        out: the labs' output folder, relative to the course, so that no path of this machine
            appears in the outputs.

    Raises:
        CourseError: a cell failed; the message names it.
    """
    root = root or course.writable_root()
    written = []
    for source in sources(labs, root):
        settings = {"LABKIT_PROFILE": profile, "LABKIT_DATA_MODE": data, "LABKIT_OUT": out}
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "executed.ipynb"
            error = execute_notebook(source.notebook, result, {}, cwd=root, environment=settings)
            if error:
                raise CourseError(f"{source.name}: {error}")
            notebook = nbformat.read(result, as_version=4)
        path = source.path.with_suffix(".ipynb")
        files.write_text(path, _text(_cleaned(notebook, source, profile)))
        written.append(path)
    return written


def _refresh_prose(source: Source) -> bool:
    """Bring the prose of the executed notebook up to date, if its code is; whether it changed."""
    path = source.path.with_suffix(".ipynb")
    if not path.exists():
        return False
    stored = nbformat.read(path, as_version=4)
    if stored.metadata.get("labkit", {}).get("source") != source.digest:
        return False
    executed = iter([cell for cell in stored.cells if cell.cell_type == "code"])
    current = copy.deepcopy(source.notebook)
    current.metadata = stored.metadata
    for cell in current.cells:
        if cell.cell_type == "code":
            before = next(executed)
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
    text = _text(current)
    if text == path.read_text(encoding="utf-8"):
        return False
    files.write_text(path, text)
    return True


def _cleaned(notebook: NotebookNode, source: Source, profile: str) -> NotebookNode:
    """Without what differs from machine to machine: timings, papermill's notes, progress bars."""
    for cell, original in zip(notebook.cells, source.notebook.cells, strict=True):
        cell.metadata = copy.deepcopy(original.metadata)
        cell.id = original.id
        for output in cell.get("outputs", []):
            output.get("metadata", {}).pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata = copy.deepcopy(source.notebook.metadata)
    notebook.metadata["labkit"] = {
        "source": source.digest,
        "profile": profile,
        "python": platform.python_version(),
        "tensorflow": metadata.version("tensorflow"),
        "labkit": metadata.version("labkit"),
    }
    return notebook


def _stored_problems(source: Source) -> list[str]:
    """What is wrong with the executed notebook beside a source."""
    path = source.path.with_suffix(".ipynb")
    again = f"run `labkit build --execute {source.number}`."
    if not path.exists():
        return [f"solutions/{path.name} is missing: {again}"]
    notebook = nbformat.read(path, as_version=4)
    problems = []
    if notebook.metadata.get("labkit", {}).get("source") != source.digest:
        problems.append(f"solutions/{path.name} was executed with other code: {again}")
    elif [c.source for c in notebook.cells] != [c.source for c in source.notebook.cells]:
        problems.append(f"solutions/{path.name} has other texts: run `labkit build`.")
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        where = f"solutions/{path.name}, cell {cell.id}"
        if cell.execution_count is None:
            problems.append(f"{where}: it was not executed: {again}")
        if any(output.output_type == "error" for output in cell.outputs):
            problems.append(f"{where}: it ended in an error.")
    return problems


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
