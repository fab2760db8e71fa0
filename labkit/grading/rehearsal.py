"""The rehearsal: a made-up class whose grades are known, graded on this machine.

It shows an instructor in minutes that the whole chain works here: intake, isolation, limits,
measuring, scoring, reports.
"""

from __future__ import annotations

import copy
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from labkit import course, files
from labkit.authoring.build import student_notebook
from labkit.authoring.source import Source, sources, tagged
from labkit.grading import GradingError, intake
from labkit.grading.assignment import load
from labkit.grading.grade import Settings, grade_class

MODELS = ("float", "int8", "float16", "four_bits", "pruned")


@dataclass(frozen=True)
class Outcome:
    """A submission of the rehearsal: points that it got and should have got."""

    name: str
    earned: float
    expected: float
    waiting: float
    expected_waiting: float
    faults: int
    is_unread: bool = False
    expected_unread: bool = False

    @property
    def ok(self) -> bool:
        """Exactly as expected."""
        return (self.earned, self.waiting, self.faults, self.is_unread) == (
            self.expected,
            self.expected_waiting,
            0,
            self.expected_unread,
        )


def rehearse(
    out: Path,
    settings: Settings | None = None,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Make the class, grade it and compare.

    Args:
        out: gets the submissions in `class/` and the reports in `graded/`.
        folder: of the rehearsal's definition; by default grading/rehearsal of the course.
        progress: called with a line for each step.
    """
    folder = folder or course.root() / "grading" / "rehearsal"
    definition = yaml.safe_load((folder / "class.yaml").read_text(encoding="utf-8"))
    assignment = load(folder / definition["assignment"])
    made = models(folder, out / "models", progress)
    expected = make_class(definition, folder, made, out / "class")
    grades = grade_class(out / "class", assignment, out / "graded", settings, progress)
    return [
        Outcome(
            grade["submission"]["name"],
            grade["score"]["earned"],
            expected[grade["submission"]["id"]]["earned"],
            grade["score"]["waiting"],
            expected[grade["submission"]["id"]].get("waiting", 0),
            grade["score"]["faults"],
            bool(grade["score"]["unread"]),
            bool(expected[grade["submission"]["id"]].get("unread")),
        )
        for grade in grades
    ]


def models(folder: Path, to: Path, progress: Callable[[str], None]) -> dict[str, bytes]:
    """The rehearsal's model files, made by its `models.py` unless they are there."""
    paths = {name: to / f"{name}.tflite" for name in MODELS}
    if not all(path.exists() for path in paths.values()):
        progress("training the rehearsal's models")
        ran = subprocess.run(
            [sys.executable, str(folder / "models.py"), str(to)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise GradingError(f"{folder / 'models.py'} failed: {ran.stderr[-500:]}")
    content = {name: path.read_bytes() for name, path in paths.items()}
    return content | {"noise": bytes(range(256)) * 4000}


def make_class(definition: dict, folder: Path, made: dict[str, bytes], to: Path) -> dict[str, dict]:
    """Write the submissions; returns their definitions by the id that intake will give them."""
    (source,) = sources(None, folder)
    shutil.rmtree(to, ignore_errors=True)
    entries = {}
    for entry in definition["submissions"]:
        content = submission_files(entry, source, made)
        name = entry["name"]
        if entry.get("zip") or name.endswith(".zip"):
            name = name if name.endswith(".zip") else f"{name}.zip"
            packed = zipped(content)
            files.write_bytes(to / name, packed[: len(packed) // 2] if "cut" in entry else packed)
        else:
            for path, data in content.items():
                files.write_bytes(to / name / path, data)
        entries[name] = entry
    return {each.id: entries[each.paths[0].name] for each in intake.find(to)[0]}


def submission_files(entry: dict, source: Source, made: dict[str, bytes]) -> dict[str, bytes]:
    """What one submission of the definition hands in."""
    notebook = filled(source, entry["answers"])
    for number, cell in enumerate(entry.get("add", [])):
        add_cell(notebook, cell["after"], cell["source"], number)
    text = nbformat.writes(notebook)
    if "damage" in entry:
        text = _DAMAGES[entry["damage"]](notebook, text)
    content = {f"venv/lib/part{n}.py": b"" for n in range(entry.get("litter", 0))}
    content[entry.get("notebook", f"{source.name}.ipynb")] = text.encode()
    for name, answers in entry.get("also", {}).items():
        content[name] = nbformat.writes(filled(source, answers)).encode()
    return content | {name: made[which] for name, which in entry["models"].items()}


def filled(source: Source, answers: dict[str, str]) -> NotebookNode:
    """The lab's student notebook with some answers; "solution" takes the solution's."""
    notebook = student_notebook(source)
    for cell, solved in zip(notebook.cells, source.notebook.cells, strict=True):
        name = cell.metadata.get("exercise") or cell.metadata.get("question")
        if name not in answers or tagged(cell, "check"):
            continue
        if tagged(cell, "written"):
            cell.source = cell.source.replace("*Your answer here.*", answers[name])
        else:
            cell.source = solved.source if answers[name] == "solution" else answers[name]
    return notebook


def add_cell(notebook: NotebookNode, exercise: str, code: str, number: int = 0) -> None:
    """Put a cell of the student's own after an exercise's."""
    index = next(
        i
        for i, cell in enumerate(notebook.cells)
        if tagged(cell, "exercise") and cell.metadata["exercise"] == exercise
    )
    own = nbformat.v4.new_code_cell(code, id=f"of-my-own{number or ''}")
    notebook.cells.insert(index + 1, own)


def zipped(content: dict[str, bytes]) -> bytes:
    """A zip of some files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def _truncated(notebook: NotebookNode, text: str) -> str:
    return text[: len(text) // 2]


def _without_metadata(notebook: NotebookNode, text: str) -> str:
    bare = copy.deepcopy(json.loads(text))
    bare["metadata"], bare["nbformat_minor"] = {}, 4
    for cell in bare["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    return json.dumps(bare)


def _duplicated_ids(notebook: NotebookNode, text: str) -> str:
    twice = json.loads(text)
    for cell in twice["cells"]:
        if "step" in cell["id"] or "rounded" in cell["id"]:
            cell["id"] = "lab90-step"
            cell["metadata"].pop("nbgrader", None)
    return json.dumps(twice)


def _answer_below(notebook: NotebookNode, text: str) -> str:
    own = json.loads(text)
    index = next(i for i, c in enumerate(own["cells"]) if c["metadata"].get("question"))
    answer = {"cell_type": "markdown", "id": "of-my-own", "metadata": {}}
    own["cells"].insert(index + 1, answer | {"source": "A step lies between two codes."})
    return json.dumps(own)


_DAMAGES = {
    "answer_below": _answer_below,
    "truncated": _truncated,
    "without_metadata": _without_metadata,
    "duplicated_ids": _duplicated_ids,
}
