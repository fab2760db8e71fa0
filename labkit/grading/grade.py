"""Grades a class: what `labkit grade` does, step by step.

prepare (`preparation`) → take in (`students`, `reading`) → run (`tasks`, in the box) → score
(`grades`) → write (`class_reports`). A student's report is written when their last task has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

from labkit.grading import class_reports, intake, reading, scoring, students
from labkit.grading.assignment import Assignment
from labkit.grading.grades import grade_of
from labkit.grading.names import shown
from labkit.grading.preparation import Prepared, Settings, prepare
from labkit.grading.reading import Reader
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
        submissions: a folder with a folder, archive or notebook for each student, or a bulk
            download of Canvas, Moodle or Brightspace.
        out: folder of the reports; what an earlier call has finished there is kept.
        progress: called with a line for whatever is to be known before, and for each student.

    Returns:
        the grades, as in each `grade.json`, in the order of the submissions' names.

    Raises:
        GradingError: assignment, submissions or settings that cannot be graded with.
    """
    started = time.perf_counter()
    handed, left_out = intake.find(submissions)
    folders = _folders(handed)
    prepared = prepare(assignment, submissions, out, settings or Settings(), folders)
    notices = [*_of_left_out(left_out), *prepared.notices]
    for notice in notices:
        progress(f"NOTE   {notice}")
    grades, written = _grades(folders, prepared, progress)
    seconds = time.perf_counter() - started
    class_reports.write_class(grades, written, notices, prepared, seconds)
    return grades


def _folders(handed: list[intake.Handed]) -> dict[str, intake.Handed]:
    """The submissions by the names of their folders, none of which is another's."""
    folders: dict[str, intake.Handed] = {}
    taken: set[str] = set()
    for each in handed:
        name, number = each.slug, 1
        while name.lower() in taken:
            name, number = f"{each.slug}-{number + 1}", number + 1
        taken.add(name.lower())
        folders[name] = each
    return folders


def _of_left_out(names: list[str]) -> list[str]:
    if not names:
        return []
    listed = ", ".join(shown(name) for name in names[:20])
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return [f"no submission, left out: {listed}{more}."]


def _grades(
    folders: dict[str, intake.Handed], prepared: Prepared, progress: Progress
) -> tuple[list[dict], dict[str, tuple]]:
    """All grades, in the order of the folders, and what submissions are compared by.

    A grade is written as soon as it is there. Few submissions at a time are in memory: the next
    is read when another has left with its grade.
    """
    grades: dict[str, dict] = {}
    written: dict[str, tuple] = {}
    coming = iter(sorted(folders.items()))
    at_once = 2 * prepared.settings.jobs + 2 if not prepared.settings.scheduler else 100
    reader = Reader(students.wanted(prepared))
    with (
        closing(reader),
        executor(prepared.settings.jobs, prepared.settings.scheduler) as pool,
    ):
        tasks = Tasks(pool, prepared.private / "results", prepared.isolation)
        waiting: dict[str, Student] = {}
        while True:
            for folder, each in islice(coming, at_once - len(waiting)):
                student = students.take_in(each, folder, reader, prepared)
                written[folder] = class_reports.compared(student)
                grades[folder] = class_reports.kept(student, prepared)
                if grades[folder]:
                    progress(_line(grades[folder], "kept"))
                else:
                    waiting[folder] = student
                    _begin(student, prepared, tasks)
            if not waiting:
                if len(grades) == len(folders):
                    break
                continue
            for folder, student in list(waiting.items()):
                if _advance(student, prepared, tasks):
                    grades[folder] = _graded(student, folders[folder], prepared)
                    progress(_line(grades[folder]))
                    del waiting[folder]
            if waiting and tasks.under_way:
                tasks.wait()
    return [grades[folder] for folder in sorted(grades)], written


def _graded(student: Student, handed: intake.Handed, prepared: Prepared) -> dict:
    """The grade of a submission, written; one that breaks the grader fails alone, and is told."""
    try:
        grade = grade_of(student, prepared)
        class_reports.write_student(grade, student, prepared)
    except OSError:  # the machine's: no room on the disk
        raise
    except Exception as error:
        why = f"what it holds could not be graded ({type(error).__name__})"
        student.content = reading.nothing(handed, students.wanted(prepared), why)
        student.clear()
        grade = grade_of(student, prepared)
        class_reports.write_student(grade, student, prepared)
    return grade


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
    faults += f", {score['unread']} items: {scoring.UNREAD}" if score["unread"] else ""
    kept = f" ({how})" if how else ""
    folder = grade["submission"]["folder"]
    return f"{folder}: {score['earned']:g} of {score['possible']:g}{waiting}{faults}{kept}"
