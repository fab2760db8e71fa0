"""The fourth step of grading: from what came of a submission to its grade."""

from __future__ import annotations

import hashlib

import labkit
from labkit.grading import scoring
from labkit.grading.assignment import Assignment, Item
from labkit.grading.box.execution import Executed
from labkit.grading.inside import plain
from labkit.grading.preparation import Prepared
from labkit.grading.students import SCHEMA, Student
from labkit.measure import ACCURACY


def grade_of(student: Student, prepared: Prepared) -> dict:
    """The grade, as in grade.json, of a submission whose tasks have all ended."""
    for lab, executed in student.executed.items():
        note = student.notebooks[lab]
        note["status"] = _told_status(executed, prepared.assignment)
        note["errors"] = [f"{e['id']}: {e['error']}" for e in executed.errors]
    scores = [
        _score(item, student, prepared).to_dict(part.title)
        for part in prepared.assignment.parts
        for item in part.items
    ]
    return _grade(student, prepared, scores)


def _score(item: Item, student: Student, prepared: Prepared) -> scoring.Score:
    if item.by_hand:
        mark = prepared.marks.get(student.submission.slug, {}).get(item.id)
        return scoring.by_hand(
            item,
            mark and (mark["points"], mark["comment"]),
            empty=item.kind == "written" and not _text(student, item),
        )
    if item.kind == "model":
        figures = student.figures.get(item.target)
        if figures and "fault" in figures:
            return scoring.fault(item, figures["fault"])
        if figures is None and item.target in prepared.made_by_execution:
            for lab, executed in student.executed.items():
                if executed.status == "infrastructure":
                    return scoring.fault(item, f"{lab} could not be executed.")
        return scoring.model(
            item, figures, student.absent.get(item.target, "no file."), prepared.assignment.samples
        )
    return _score_exercise(item, student, prepared)


def _score_exercise(item: Item, student: Student, prepared: Prepared) -> scoring.Score:
    note, executed = student.notebooks[item.lab], student.executed.get(item.lab)
    if executed is None:
        why = f"{item.lab}.ipynb: {note['status']}."
        return scoring.exercise(item, None, [], why)
    if executed.status == "infrastructure":
        return scoring.fault(item, f"{item.lab} could not be executed: {executed.output}")
    answers = executed.answers.get(item.name)
    cases = prepared.labs[item.lab].cases[item.name]
    right = [
        _agrees(expected, answer, item.tolerance)
        for expected, answer in zip(cases.expected, answers or (), strict=False)
    ]
    why = f"the notebook gave no answer ({note['status']})."
    return scoring.exercise(item, answers, right, why)


def _grade(student: Student, prepared: Prepared, items: list[dict]) -> dict:
    submission, assignment = student.submission, prepared.assignment
    return {
        "schema": SCHEMA,
        "key": student.key,
        "assignment": {
            "name": assignment.name,
            "title": assignment.title,
            "points": assignment.points,
            "extra_credit": assignment.extra_credit,
            "sha256": assignment.digest,
        },
        "submission": {
            "id": submission.id,
            "name": submission.name,
            "folder": submission.slug,
            "sha256": submission.digest,
            "late": submission.late,
            "problems": list(submission.problems),
            "files": [
                {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for path, content in sorted(submission.files.items())
            ],
        },
        "environment": prepared.environment(),
        "score": {
            "earned": round(sum(i["earned"] or 0 for i in items), 4),
            "possible": assignment.points,
            "waiting": sum(i["points"] for i in items if i["status"] == scoring.WAITING),
            "faults": sum(i["status"] == scoring.FAULT for i in items),
        },
        "items": items,
        "notebooks": list(student.notebooks.values()),
        "models": student.figures,
        "answers": {
            item.target: _text(student, item) for item in assignment.items if item.kind == "written"
        },
        "remarks": _remarks(student, assignment),
        "run": {
            "labkit": labkit.__version__,
            "seconds": round(sum(e.seconds for e in student.executed.values()), 1),
        },
    }


def _agrees(expected: dict, answer: dict, tolerance: float) -> bool:
    """Whether what a submission answered is the solution's answer; compared here, as plain data."""
    if "answer" not in answer:
        return False
    try:
        return plain.agrees(plain.decode(expected), plain.decode(answer["answer"]), tolerance)
    except ValueError:
        return False


def _text(student: Student, item: Item) -> str:
    restored = student.restored.get(item.lab)
    return restored.answers.get(item.name, "")[:20_000] if restored else ""


def _remarks(student: Student, assignment: Assignment) -> list[str]:
    """What a person should look at; none of it changes the points."""
    metric, samples = assignment.metric, assignment.samples
    found = []
    for name, figures in student.figures.items():
        hidden, public = (figures.get(f"{of}{metric.name}") for of in ("", "public_"))
        if hidden is None or public is None:
            continue
        # A fifth of all samples; an error twice as large.
        if metric.lost(public, hidden) > (0.2 if metric.unit == "fraction" else abs(public)):
            told = (
                f"reads {public:.0%} of the public test {samples} and {hidden:.0%} of"
                if metric is ACCURACY
                else f"has the {metric.name} {metric.shown(public)} on the public test {samples} "
                f"and {metric.shown(hidden)} on"
            )
            found.append(f"{name} {told} the hidden ones: memorised?")
    return found


def _told_status(executed: Executed, assignment: Assignment) -> str:
    """How an execution ended, for people."""
    limits = assignment.limits
    failed = f"{len(executed.errors)} cell{'s' if len(executed.errors) > 1 else ''}"
    where = "" if executed.stopped_at is None else f", in code cell {executed.stopped_at + 1}"
    return {
        "ended": "executed" + (f", {failed} failed" if executed.errors else ""),
        "timeout": f"stopped: it took longer than {limits.seconds:g} s{where}",
        "cpu": f"stopped: more than {limits.cpu_seconds:g} s of processor time{where}",
        "memory": f"stopped: more than {limits.memory_mb:,} MB of memory{where}",
        "disk": f"stopped: more than {limits.disk_mb:,} MB written{where}",
        "processes": f"stopped: more than {limits.processes} processes{where}",
        "died": f"its kernel ended by itself{where}",
        "infrastructure": scoring.FAULT,
    }.get(executed.status, executed.status)
