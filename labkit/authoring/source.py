"""The labs' sources: `solutions/NN_name.py`, in jupytext's percent format.

Conventions, as cell metadata:

- `tags=["parameters"]`: the cell that papermill overrides;
- `tags=["exercise"] exercise="name"`: code with `### BEGIN SOLUTION` … `### END SOLUTION`;
- `tags=["check"] exercise="name" points=3`: the check of that exercise, after it;
- `tags=["written"] question="name" points=5`: a question whose answer is written in prose, the
  model answer between `<!-- BEGIN SOLUTION -->` and `<!-- END SOLUTION -->`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from labkit import course
from labkit.course import CourseError

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"  # nbgrader's


@dataclass(frozen=True)
class Source:
    """One lab's source.

    Attributes:
        name: for example "02_dynamic_range".
        path: of the `.py` file.
        notebook: its cells, solutions included, with stable ids and nbgrader's metadata.
    """

    name: str
    path: Path
    notebook: NotebookNode

    @property
    def number(self) -> str:
        """The lab's number, for example "02"."""
        return self.name.split("_")[0]

    @property
    def title(self) -> str:
        """What the lab is called, without "Lab 02 · "; its file's name where it has no heading."""
        heading = re.search(r"^# (.*)", self._first, re.MULTILINE)
        return heading[1].rpartition(" · ")[2] if heading else self.name

    @property
    def time(self) -> str:
        """How long it takes, as its first cell says: "60 minutes of work; the computer ..."."""
        said = re.search(r"\*\*Time:\*\*\s*(.*?)(?:\n\s*\n|\Z)", self._first, re.DOTALL)
        return " ".join(said[1].split()) if said else ""

    @property
    def _first(self) -> str:
        return self.notebook.cells[0].source

    @property
    def digest(self) -> str:
        """SHA-256 of the code, which the outputs depend on; prose may change without them."""
        text = "\0".join(c.source for c in self.notebook.cells if c.cell_type == "code")
        return hashlib.sha256(text.encode()).hexdigest()


def sources(labs: list[str] | None = None, root: Path | None = None) -> list[Source]:
    """The labs' sources in order, all or some.

    Args:
        labs: numbers ("2", "02") or names ("02_dynamic_range"); by default all.
        root: of the course.

    Raises:
        CourseError: an unknown lab, or a source that breaks the conventions.
    """
    folder = (root or course.root()) / "solutions"
    paths = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.py"))}
    if labs is None:
        return [read(path) for path in paths.values()]
    return [read(paths[_resolve(lab, list(paths))]) for lab in labs]


def _resolve(lab: str, names: list[str]) -> str:
    wanted = lab.removesuffix(".py").removesuffix(".ipynb")
    for name in names:
        if wanted == name or (wanted.isdigit() and int(wanted) == int(name.split("_")[0])):
            return name
    raise CourseError(f"there is no lab {lab!r}; the labs are {', '.join(names)}.")


def read(path: Path) -> Source:
    """Read and validate one source.

    Raises:
        CourseError: naming the file, the cell and what is wrong.
    """
    notebook = jupytext.read(path)
    _validate(notebook, path)
    number = path.stem.split("_")[0]
    for ordinal, cell in enumerate(notebook.cells):
        name = _grade_id(cell)
        cell.id = f"lab{number}-{name}" if name else f"lab{number}-{ordinal:03d}"
        cell.metadata.nbgrader = _nbgrader(cell, cell.id)
        if tagged(cell, "check"):  # folded: what is expected is not to be read above the exercise
            cell.metadata.jupyter = {"source_hidden": True}
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return Source(path.stem, path, notebook)


def tagged(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def solution_lines(source: Source) -> set[str]:
    """The telling lines of the solutions: those that stand nowhere else in the source."""
    inside, outside = set(), set()
    for cell in source.notebook.cells:
        solving = False
        for line in cell.source.splitlines():
            text = re.sub(r"\s+", " ", line.strip())
            if BEGIN in line or END in line:
                solving = BEGIN in line
            elif len(text) > 12:
                (inside if solving else outside).add(text)
    return inside - outside


def _grade_id(cell: NotebookNode) -> str | None:
    exercise = cell.metadata.get("exercise")
    if tagged(cell, "written"):
        return cell.metadata["question"]
    if exercise is None:
        return None
    return f"{exercise}-check" if tagged(cell, "check") else exercise


def _nbgrader(cell: NotebookNode, identifier: str) -> dict:
    """nbgrader's cell metadata, schema version 3."""
    graded = tagged(cell, "check") or tagged(cell, "written")
    solution = tagged(cell, "exercise") or tagged(cell, "written")
    metadata = {
        "schema_version": 3,
        "grade_id": identifier,
        "cell_type": cell.cell_type,
        "grade": graded,
        "solution": solution,
        "locked": not solution,
        "task": False,
    }
    if tagged(cell, "parameters"):
        metadata["locked"] = False
    if graded:
        metadata["points"] = cell.metadata["points"]
    return metadata


def _validate(notebook: NotebookNode, path: Path) -> None:
    exercises: list[str] = []
    checked: list[str] = []
    questions: list[str] = []
    for ordinal, cell in enumerate(notebook.cells):
        lines = cell.source.splitlines() or [""]
        where = f"{path.name}, cell {ordinal} ({lines[0]})"
        markers = [mark for line in lines for mark in (BEGIN, END) if mark in line]
        if markers != [BEGIN, END] * (len(markers) // 2):
            raise CourseError(f"{where}: {BEGIN} and {END} must come in pairs, not nested.")
        solves = tagged(cell, "exercise") or tagged(cell, "written")
        if bool(markers) != solves:
            raise CourseError(
                f"{where}: a solution region belongs into a cell tagged exercise or written, and "
                "each of those has one."
            )
        name = cell.metadata.get("exercise")
        if (tagged(cell, "exercise") or tagged(cell, "check")) and not name:
            raise CourseError(f'{where}: the cell needs exercise="name".')
        graded = tagged(cell, "check") or tagged(cell, "written")
        if graded and not isinstance(cell.metadata.get("points"), int):
            raise CourseError(f"{where}: the cell needs points=N.")
        if tagged(cell, "exercise"):
            exercises.append(name)
        elif tagged(cell, "check"):
            if name not in exercises:
                raise CourseError(f"{where}: there is no exercise {name!r} before its check.")
            checked.append(name)
        elif tagged(cell, "written"):
            if not cell.metadata.get("question"):
                raise CourseError(f'{where}: the cell needs question="name".')
            questions.append(cell.metadata["question"])
    for names, kind in ((exercises, "exercise"), (checked, "check"), (questions, "question")):
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise CourseError(f"{path.name}: {kind} {sorted(twice)} appears twice.")
    unchecked = set(exercises) - set(checked)
    if unchecked:
        raise CourseError(f"{path.name}: exercise {sorted(unchecked)} has no check.")
