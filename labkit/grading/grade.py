"""Grades a class: what `labkit grade` does, step by step.

prepare (`preparation`) → take in (`students`) → run (`tasks`, in the box) → score (`grades`) →
write (`class_reports`). A student's report is written when their last task has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from labkit.grading import GradingError, class_reports, intake, scoring, students
from labkit.grading.assignment import Assignment
from labkit.grading.grades import grade_of
from labkit.grading.preparation import Prepared, Settings, prepare
from labkit.grading.students import Student
from labkit.grading.tasks import Tasks, executor

__all__ = ["Settings", "grade_class"]

Progress = Callable[[str], None]


def grade_class(
    submissions: Path,
    assignment: Assignment,
    out: Path,
    settings: Settings | None = None,
    progress: Progress = lambda line: None,
) -> list[dict]:
    """Grade all submissions in a folder and write every report.

    Args:
        submissions: a folder with a folder or zip for each student, or Canvas's bulk download.
        out: folder of the reports; what an earlier call has finished there is kept.
        progress: called with a line for each student.

    Returns:
        the grades, as in each `grade.json`, in the order of the submissions' names.

    Raises:
        GradingError: assignment, submissions or settings that cannot be graded with.
    """
    started = time.perf_counter()
    handed = intake.find(submissions)
    prepared = prepare(assignment, submissions, out, settings or Settings())
    taken_in = _take_in(handed, prepared)
    written = {slug: class_reports.compared(student) for slug, student in taken_in.items()}
    grades = _grades(taken_in, prepared, progress)
    class_reports.write_class(grades, written, prepared, time.perf_counter() - started)
    return grades


def _take_in(handed: list[intake.Handed], prepared: Prepared) -> dict[str, Student]:
    """The submissions by the names of their folders."""
    found: dict[str, Student] = {}
    for each in handed:
        student = students.take_in(each, prepared)
        if found.setdefault(student.submission.slug, student) is not student:
            raise GradingError(f"two submissions are called {each.id!r}.")
    return found


def _grades(waiting: dict[str, Student], prepared: Prepared, progress: Progress) -> list[dict]:
    """All grades, in the order of the folders; each is written as soon as it is there.

    Args:
        waiting: a student leaves it, and the memory, with their grade.
    """
    grades: dict[str, dict] = {}
    for slug, student in list(waiting.items()):
        kept = class_reports.kept(student, prepared)
        if kept:
            grades[slug] = kept
            progress(_line(kept, "kept"))
            del waiting[slug]
    with executor(prepared.settings.jobs, prepared.settings.scheduler) as pool:
        tasks = Tasks(pool, prepared.private / "results", prepared.isolation)
        for student in waiting.values():
            _begin(student, prepared, tasks)
        while waiting:
            for slug, student in list(waiting.items()):
                if _advance(student, prepared, tasks):
                    grades[slug] = grade_of(student, prepared)
                    class_reports.write_student(grades[slug], student, prepared)
                    progress(_line(grades[slug]))
                    del waiting[slug]
            if waiting:
                tasks.wait()
    return [grades[slug] for slug in sorted(grades)]


def _begin(student: Student, prepared: Prepared, tasks: Tasks) -> None:
    tasks.measured(student.models, prepared.split, prepared.assignment.metric)
    for execution in student.executions.values():
        tasks.execute(execution)


def _advance(student: Student, prepared: Prepared, tasks: Tasks) -> bool:
    """Take over what has come; whether all of it is there."""
    for lab, execution in student.executions.items():
        if lab not in student.executed:
            found = tasks.executed(execution)
            if found is None:
                return False
            student.executed[lab] = found
    for name in prepared.made_by_execution:
        students.take_executed(student, name)
    found = tasks.measured(student.models, prepared.split, prepared.assignment.metric)
    if found is None:
        return False
    student.figures = found
    return True


def _line(grade: dict, how: str = "") -> str:
    score = grade["score"]
    waiting = f", {score['waiting']:g} to be marked" if score["waiting"] else ""
    faults = f", {score['faults']} items: {scoring.FAULT}" if score["faults"] else ""
    kept = f" ({how})" if how else ""
    folder = grade["submission"]["folder"]
    return f"{folder}: {score['earned']:g} of {score['possible']:g}{waiting}{faults}{kept}"
