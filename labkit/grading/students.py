"""The second step of grading: what a submission holds of what the assignment asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import nbformat

from labkit.grading import intake, notebooks
from labkit.grading.assignment import ModelFile, Notebook
from labkit.grading.box.execution import Executed, Execution
from labkit.grading.environment import digest_of, environment_digest
from labkit.grading.preparation import Lab, Prepared

SCHEMA = 2  # of grade.json


@dataclass
class Student:
    """A submission on its way to its grade.

    Attributes:
        key: equal for submissions that must get the same grade.
        notebooks: what grade.json says of each, by lab.
        restored: the notebooks in the labs' form, by lab.
        executions, executed: what is asked of the box and what came, by lab.
        models: content of the model files that are there, by name.
        absent: why a model file is not there, by name.
        figures: measured, by name of the model file.
    """

    submission: intake.Submission
    key: str
    notebooks: dict[str, dict] = field(default_factory=dict)
    restored: dict[str, notebooks.Restored] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    executed: dict[str, Executed] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict] = field(default_factory=dict)


def take_in(handed: intake.Handed, prepared: Prepared) -> Student:
    """Read a submission and find in it what the assignment asks for."""
    submission = intake.read(handed)
    student = Student(submission, _key(submission, prepared))
    for notebook in prepared.assignment.notebooks:
        _take_notebook(student, notebook, prepared)
    for file in prepared.assignment.files:
        if file.source == "submission":
            _take_model(student, file, {f.name for f in prepared.assignment.files})
    return student


def take_executed(student: Student, name: str) -> None:
    """A model file that the executed notebooks had to write, or why there is none."""
    contents = [e.files[name] for e in student.executed.values() if name in e.files]
    if contents:
        student.models[name] = contents[-1]
    else:
        student.absent[name] = f"no executed notebook has written {name} (or it was too large)."


def _key(submission: intake.Submission, prepared: Prepared) -> str:
    return digest_of(
        [
            *(SCHEMA, submission.digest, submission.problems, submission.name, submission.late),
            *(prepared.assignment.digest, environment_digest(), prepared.isolation.backend),
            *(prepared.split.digest, [lab.source.digest for lab in prepared.labs.values()]),
            prepared.marks.get(submission.slug, {}),
        ]
    )


def _take_model(student: Student, file: ModelFile, known: set[str]) -> None:
    """A model file of the submission, or why there is none."""
    submission = student.submission
    path = submission.find(file.name)
    content = submission.files.get(path, b"")
    if path is None:
        others = sorted(p for p in submission.files if p.lower().endswith(".tflite"))
        others = [p for p in others if p.rpartition("/")[2] not in known]
        student.absent[file.name] = f"{file.name} is not in the submission" + (
            f" (there are, under other names: {', '.join(others[:5])})." if others else "."
        )
    elif len(content) > file.max_bytes:
        student.absent[file.name] = (
            f"{file.name} has {len(content):,} bytes, at most {file.max_bytes:,} are read."
        )
    else:
        student.models[file.name] = content


def _take_notebook(student: Student, notebook: Notebook, prepared: Prepared) -> None:
    """A lab's notebook of the submission, brought into the lab's form, and its execution."""
    lab = prepared.labs[notebook.lab]
    note = {"lab": notebook.lab, "file": None, "status": "missing", "repairs": [], "errors": []}
    student.notebooks[notebook.lab] = note
    path, restored, trouble = _find_notebook(student.submission, notebook, lab)
    note["file"] = path
    if restored is None:
        note["status"] = trouble
        return
    student.restored[notebook.lab] = restored
    note["repairs"] = restored.repairs
    if path.rpartition("/")[2] not in notebook.accepted:
        note["repairs"].append(f"recognised by its cells: it is named {path[:80]}")
    if restored.recognised:
        student.executions[notebook.lab] = _execution(restored, notebook.lab, prepared)
    else:
        note["status"] = "none of the lab's cells is in it; it was not executed"


def _execution(restored: notebooks.Restored, lab: str, prepared: Prepared) -> Execution:
    assignment, cases = prepared.assignment, prepared.labs[lab].cases
    parameters = {
        "PROFILE": assignment.profile,
        "DATA": "real" if prepared.real else "synthetic",
        "SEED": 0,
        "OUT": "out",
    }
    text = notebooks.executable(restored, parameters, list(cases), assignment.execute == "all")
    return Execution(
        lab=lab,
        notebook=nbformat.writes(text),
        cases={
            name: {"cases": found.inputs, "answer": found.code} for name, found in cases.items()
        },
        files={f.name: f.max_bytes for f in assignment.files if f.source == "execution"},
        limits=assignment.limits,
        data=prepared.data,
        cache=str(prepared.drawn),
        threads=max(1, (os.cpu_count() or 1) // max(1, prepared.settings.jobs)),
        environment=environment_digest(),
    )


def _find_notebook(
    submission: intake.Submission, notebook: Notebook, lab: Lab
) -> tuple[str | None, notebooks.Restored | None, str]:
    """The file of a lab's notebook: by its names, else by the lab's cells in any notebook.

    Returns:
        path, restored notebook (None if there is none that can be read), and why.
    """
    named = [submission.find(name) for name in notebook.accepted]
    others = sorted(p for p in submission.files if p.lower().endswith(".ipynb"))
    trouble, first = f"{notebook.accepted[0]} is not in the submission", None
    for path in dict.fromkeys([*(p for p in named if p), *others]):
        try:
            restored = notebooks.restore(submission.files[path], lab.given)
        except notebooks.NotebookError as error:
            if path in named:
                trouble = f"{path[:80]} cannot be read: {error}"
            continue
        if _holds_lab(restored):
            return path, restored, ""
        if path in named and first is None:
            first = path, restored, ""
    return first or (None, None, trouble)


def _holds_lab(restored: notebooks.Restored) -> bool:
    return bool(restored.exercises or restored.answers)
