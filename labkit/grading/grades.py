"""The fourth step of grading: from what came of a submission to its grade."""

from __future__ import annotations

import labkit
from labkit.grading import scoring
from labkit.grading.assignment import Assignment, Item
from labkit.grading.box.execution import Executed
from labkit.grading.environment import digest_of
from labkit.grading.inside import plain
from labkit.grading.preparation import Prepared
from labkit.grading.students import SCHEMA, Student
from labkit.measure import ACCURACY


def grade_of(student: Student, prepared: Prepared) -> dict:
    """The grade, as in grade.json, of a submission whose tasks have all ended."""
    for lab, executed in student.executed.items():
        note = student.notebooks[lab]
        where = student.called(lab, executed.stopped_at)
        note["status"] = _told_status(executed, where, prepared.assignment)
        note["errors"] = [_told_error(student, lab, error) for error in executed.errors]
    scores = [
        _score(item, student, prepared).to_dict(part.title)
        for part in prepared.assignment.parts
        for item in part.items
    ]
    return _grade(student, prepared, scores)


def _score(item: Item, student: Student, prepared: Prepared) -> scoring.Score:
    if item.by_hand:
        mark = prepared.marks.get(student.folder, {}).get(item.id)
        empty = item.kind == "written" and not _text(student, item)
        read = student.content.labs.get(item.lab)
        if mark is None and (student.content.trouble or (empty and read and read.unread)):
            return scoring.unread(item, student.content.trouble or f"{read.status}.")
        return scoring.by_hand(item, mark and (mark["points"], mark["comment"]), empty)
    if item.kind == "model":
        figures = student.figures.get(item.target)
        if figures and "fault" in figures:
            return scoring.fault(item)
        if figures is None and item.target in student.content.unread:
            return scoring.unread(item, student.absent[item.target])
        if figures is None and item.target in prepared.made_by_execution:
            for executed in student.executed.values():
                if executed.status == "infrastructure":
                    return scoring.fault(item)
            for lab in student.content.labs.values():
                if lab.unread:
                    return scoring.unread(item, f"{lab.status}.")
        return scoring.model(
            item, figures, student.absent.get(item.target, "no file."), prepared.assignment.samples
        )
    return _score_exercise(item, student, prepared)


def _score_exercise(item: Item, student: Student, prepared: Prepared) -> scoring.Score:
    note, executed = student.notebooks[item.lab], student.executed.get(item.lab)
    if executed is None:
        if student.content.labs[item.lab].unread:
            return scoring.unread(item, f"{note['status']}.")
        return scoring.exercise(item, None, {}, f"{note['status']}.")
    if executed.status == "infrastructure":
        return scoring.fault(item)
    expected = prepared.labs[item.lab].cases[item.name].expected
    readings = [
        (answers, _wrong(expected, answers, item.tolerance))
        for answers in executed.answers.get(item.name, [])
    ]
    why = f"the notebook gave no answer ({note['status']})."
    answers, wrong = min(readings, key=lambda reading: len(reading[1]), default=(None, {}))
    if readings and answers is not readings[0][0]:
        note["repairs"].append(f"exercise {item.name}: its definition at the notebook's end counts")
    return scoring.exercise(item, answers, wrong, why)


def _wrong(expected: tuple, answers: list[dict], tolerance: float) -> dict[int, str]:
    """How the answers differ that are not the solution's, by number."""
    pairs = enumerate(zip(expected, answers, strict=True))
    told = {number: _difference(*pair, tolerance) for number, pair in pairs}
    return {number: how for number, how in told.items() if how}


def _difference(expected: dict, answer: dict, tolerance: float) -> str:
    """How an answer differs from the solution's, compared here as plain data; "" if it does not."""
    if "answer" not in answer:
        return "no answer"
    try:
        right, got = plain.decode(expected), plain.decode(answer["answer"])
        return "" if plain.agrees(right, got, tolerance) else plain.difference(right, got)
    except Exception:  # whatever a forged answer provokes
        return "another result than the solution's"


def _grade(student: Student, prepared: Prepared, items: list[dict]) -> dict:
    content, assignment = student.content, prepared.assignment
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
            "id": student.id,
            "name": student.name,
            "folder": student.folder,
            "sha256": digest_of(content.files),
            "late": student.late,
            "trouble": content.trouble,
            "problems": list(content.problems),
            "files": [{"path": path, **facts} for path, facts in content.files.items()],
        },
        "environment": prepared.environment(),
        "score": {
            "earned": round(sum(i["earned"] or 0 for i in items), 4),
            "possible": assignment.points,
            "waiting": sum(i["points"] for i in items if i["status"] == scoring.WAITING),
            "faults": sum(i["status"] == scoring.FAULT for i in items),
            "unread": sum(i["status"] == scoring.UNREAD for i in items),
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


def _text(student: Student, item: Item) -> str:
    read = student.content.labs.get(item.lab)
    return read.answers.get(item.name, "")[:20_000] if read else ""


def _remarks(student: Student, assignment: Assignment) -> list[str]:
    """What a person should look at; none of it changes the points."""
    metric, samples = assignment.metric, assignment.samples
    found = [
        f"{lab}: {scoring.FAULT}: {' '.join(executed.output.split())[-300:]}"
        for lab, executed in student.executed.items()
        if executed.status == "infrastructure"
    ]
    found += [
        f"{name}: {scoring.FAULT}: {figures['fault'][-300:]}"
        for name, figures in student.figures.items()
        if "fault" in figures
    ]
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


def _told_error(student: Student, lab: str, error: dict) -> str:
    """A failing cell's error, "where: kind: text"."""
    return f"{student.called(lab, error['cell']) or 'a cell'}: {error['error']}"


def _told_status(executed: Executed, where: str, assignment: Assignment) -> str:
    """How an execution ended, for people."""
    limits = assignment.limits
    failed = f"{len(executed.errors)} cell{'s' if len(executed.errors) > 1 else ''}"
    where = where and f", in {where}"
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
