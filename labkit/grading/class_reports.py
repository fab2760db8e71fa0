"""The last step of grading: the files of a student and of the class."""

from __future__ import annotations

import hashlib
import json

from labkit import files
from labkit.grading import exports, marks, report, similarity
from labkit.grading.assignment import schema_fault
from labkit.grading.names import readable
from labkit.grading.preparation import Prepared
from labkit.grading.students import Student


def kept(student: Student, prepared: Prepared) -> dict | None:
    """The grade of an earlier run, if it is complete and nothing has changed since."""
    path = prepared.folder(student.folder) / "grade.json"
    try:
        grade = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = grade.get("key") == student.key and not grade["score"]["faults"]
    return grade if same and not schema_fault(grade, "grade") else None


def write_student(grade: dict, student: Student, prepared: Prepared) -> None:
    """The executed notebooks, the feedback and grade.json of one submission."""
    fault = schema_fault(grade, "grade")
    if fault:
        raise AssertionError(f"grade.json breaks its own schema: {fault}")
    folder = prepared.folder(student.folder)
    for lab, executed in student.executed.items():
        if executed.notebook:
            files.write_bytes(folder / "executed" / f"{lab}.ipynb", executed.notebook)
    page = report.feedback(grade, prepared.assignment)
    files.write_text(folder / "feedback.html", readable(page))
    files.write_text(folder / "results.json", exports.gradescope(grade))
    # Last: what says that the others are there.
    files.write_text(folder / "grade.json", _json(grade))


def write_class(
    grades: list[dict],
    written: dict[str, tuple],
    notices: list[str],
    prepared: Prepared,
    seconds: float,
) -> None:
    """What is written once for all: tables, the class's page, the front, the answers.

    Args:
        written: what submissions are compared by, as `compared`, by folder.
        notices: what was to be known before anything ran.
        seconds: that the grading took.
    """
    out, assignment, labs = prepared.out, prepared.assignment, prepared.labs.values()
    given = [c.source for lab in labs for c in lab.given.cells]
    solved = [c.source for lab in labs for c in lab.source.notebook.cells if c.cell_type == "code"]
    pairs = similarity.pairs(written, [*given, *solved], given)
    board = exports.leaderboard(grades, assignment, prepared.secret)
    roster = prepared.settings.roster
    page = report.summary(grades, assignment, prepared.environment(), pairs, seconds, notices)
    for name, content in {
        "grades.csv": exports.grades_csv(grades),
        "canvas.csv": exports.canvas_csv(grades, assignment, roster),
        "written.csv": marks.table(grades, assignment, prepared.marks),
        "written.html": report.written(grades, assignment),
        "leaderboard.html": report.leaderboard(board, assignment),
        "similarity.csv": exports.similarity_csv(pairs),
        "index.html": page,
    }.items():
        files.write_text(out / name, readable(content))


def compared(student: Student) -> tuple[list[str], list[str], dict[str, str]]:
    """What a student wrote or handed in: code, texts, and digests of model files."""
    texts = [text for lab in student.content.labs.values() for text in lab.answers.values()]
    code = student.content.code
    digests = {n: hashlib.sha256(content).hexdigest() for n, content in student.models.items()}
    return code, texts, digests


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n"
