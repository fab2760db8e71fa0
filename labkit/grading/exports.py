"""Tables and files for other programs: CSV, Canvas, Gradescope, the leaderboard."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

from labkit.grading import GradingError, tables
from labkit.grading.assignment import Assignment
from labkit.grading.scoring import FAULT, SCORED, UNREAD, WAITING


def cell(value: object) -> str:
    """A value for a CSV: no control characters, and nothing that a spreadsheet would execute."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = re.sub(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f]", " ", value)
    return f"'{text}" if text[:1] in "=+-@\n" and text else text


def line(value: str) -> str:
    """A text from outside on one line."""
    return cell(" ".join(value.split()))


def grades_csv(grades: list[dict]) -> str:
    """A row per student: total, state, and the points of every item."""
    items = [item["id"] for item in grades[0]["items"]] if grades else []
    header = ["folder", "student", "earned", "possible", "to be marked", "state", "late", *items]
    rows = [
        [
            g["submission"]["folder"],
            line(g["submission"]["name"]),
            f"{g['score']['earned']:g}",
            f"{g['score']['possible']:g}",
            f"{g['score']['waiting']:g}",
            state(g),
            "late" if g["submission"]["late"] else "",
            *("" if i["earned"] is None else f"{i['earned']:g}" for i in g["items"]),
        ]
        for g in grades
    ]
    return _csv([header, *rows])


def state(grade: dict) -> str:
    """ "complete", or what is missing."""
    if grade["score"]["faults"]:
        return FAULT
    if grade["score"]["unread"]:
        return UNREAD
    return WAITING if grade["score"]["waiting"] else "complete"


def canvas_csv(grades: list[dict], assignment: Assignment, roster: Path | None) -> str:
    """What Canvas's grade book imports.

    A student without a complete grade gets an empty cell, which Canvas leaves as it is.

    Args:
        roster: the grade book as Canvas exports it: it supplies names, numbers and the column;
            who is not in it is left out.

    Raises:
        GradingError: the roster is no such file.
    """
    names = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    points = {
        g["submission"]["id"]: f"{g['score']['earned']:g}" if state(g) == "complete" else ""
        for g in grades
    }
    title = assignment.title
    if roster is None:
        of = [(g["submission"]["name"], g["submission"]["id"]) for g in grades]
        rows = [[line(name), line(key), "", "", "", points[key]] for name, key in of]
    else:
        students = _roster(roster)
        # Canvas finds an assignment by its number: "Title (55501)".
        title = next((c for c in students[0] if _is_column(c, title)), title)
        rows = [
            [
                *(cell(s.get(name) or "") for name in names),
                next((points[key] for key in _keys(s) if key in points), ""),
            ]
            for s in students
        ]
    possible = ["    Points Possible", "", "", "", "", f"{assignment.points:g}"]
    return _csv([[*names, title], possible, *rows])


def gaps(roster: Path, ids: Iterable[str]) -> list[str]:
    """A line that names the submissions which a roster does not list.

    Raises:
        GradingError: the roster is no such file.
    """
    listed = {key for student in _roster(roster) for key in _keys(student)}
    unknown = sorted(line(key) for key in ids if key not in listed)
    more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
    told = (
        f"{roster} does not list {', '.join(unknown[:10])}{more}: graded, but not in canvas.csv. "
        "Its columns ID, SIS User ID or SIS Login ID must hold what the submissions are called by."
    )
    return [told] if unknown else []


def _is_column(column: str, title: str) -> bool:
    return bool(re.fullmatch(re.escape(title) + r" \(\d+\)", column.strip()))


def _keys(student: dict) -> list[str]:
    """What a student's submission may be called by."""
    found = [(student.get(name) or "").strip() for name in ("ID", "SIS User ID", "SIS Login ID")]
    return [key for key in found if key]


def _roster(path: Path) -> list[dict]:
    rows = tables.read(path, "the roster")
    if not rows or not {"Student", "ID"} <= rows[0].keys():
        raise GradingError(f"{path}: expected Canvas's exported grade book (Student, ID, …).")
    return [row for row in rows if _keys(row)]


def gradescope(grade: dict) -> str:
    """Gradescope's `results.json` of one submission (its autograder documentation, "Output")."""
    tests = []
    for item in grade["items"]:
        test = {
            "name": item["title"],
            "number": item["id"],
            "max_score": item["points"],
            "visibility": "visible",
            "output_format": "text",
            "output": "\n".join([*item["reasons"], *item["hints"]]),
        }
        if item["earned"] is None:
            # Neither passed nor failed, and no score: it is not known yet.
            test["output"] = "\n".join([item["status"], *item["reasons"]])
        else:
            test["score"] = item["earned"]
            test["status"] = "passed" if item["earned"] == item["points"] else "failed"
        tests.append(test)
    content: dict = {"output_format": "text", "visibility": "visible", "tests": tests}
    if grade["score"]["faults"] or grade["score"]["unread"]:
        content |= {"output": f"{state(grade)}: not graded yet."}
        content["tests"] = [] if grade["score"]["faults"] else tests
    else:
        content["score"] = grade["score"]["earned"]
    return json.dumps(content, indent=2) + "\n"


def leaderboard(grades: list[dict], assignment: Assignment, secret: bytes) -> list[dict]:
    """Recomputed size and metric of the files that compete, best first, under pseudonyms.

    On the front are those that no other beats in both.
    """
    size, metric = assignment.leaderboard.size, assignment.metric
    rows = []
    for grade in grades:
        scored = {
            i["id"].split(":")[1]
            for i in grade["items"]
            if i["kind"] == "model" and i["status"] == SCORED and (i["earned"] or 0) > 0
        }
        for name in assignment.leaderboard.files:
            figures = grade["models"].get(name, {})
            if name in scored and metric.name in figures and size in figures:
                rows.append(
                    {
                        "who": pseudonym(grade["submission"]["id"], secret),
                        "file": name,
                        "size": figures[size],
                        "value": figures[metric.name],
                    }
                )
    for row in rows:
        row["front"] = not any(
            other["size"] <= row["size"]
            and metric.lost(row["value"], other["value"]) <= 0
            and (other["size"], other["value"]) != (row["size"], row["value"])
            for other in rows
            if other["file"] == row["file"]
        )
    return sorted(rows, key=lambda r: (r["file"], r["size"], metric.lost(0, r["value"]), r["who"]))


_COLOURS = (
    *("amber", "azure", "beige", "coral", "cyan", "ebony", "gold", "green"),
    *("indigo", "ivory", "jade", "lilac", "maroon", "olive", "pearl", "ruby"),
)
_BIRDS = (
    *("auk", "bittern", "crane", "curlew", "dunlin", "eider", "finch", "gannet"),
    *("heron", "ibis", "jay", "kestrel", "lapwing", "merlin", "osprey", "plover"),
)


def pseudonym(identity: str, secret: bytes) -> str:
    """A name that says nothing of the student and is the same in every assignment of a secret."""
    digest = hmac.new(secret, identity.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return f"{_COLOURS[digest[0] % 16]} {_BIRDS[digest[1] % 16]} {digest[2]:03d}"


def similarity_csv(pairs: Iterable[dict]) -> str:
    """A row per pair of submissions, most alike first."""
    rows = [
        [p["a"], p["b"], f"{p['code']:.2f}", f"{p['text']:.2f}", " ".join(p["files"])]
        for p in pairs
    ]
    return _csv([["submission", "other", "code in common", "text in common", "same files"], *rows])


def _csv(rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return tables.MARK + buffer.getvalue()
