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

from labkit.grading import GradingError
from labkit.grading.assignment import Assignment
from labkit.grading.scoring import FAULT, SCORED, WAITING


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
    """A row a student: total, state, and the points of every item."""
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
    return WAITING if grade["score"]["waiting"] else "complete"


def canvas_csv(grades: list[dict], assignment: Assignment, roster: Path | None) -> str:
    """What Canvas's grade book imports.

    A student without a complete grade gets an empty cell, which Canvas leaves as it is.

    Args:
        roster: the grade book as Canvas exports it: it supplies names and numbers.

    Raises:
        GradingError: the roster is no such file.
    """
    title = f"{assignment.title}"
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title]
    possible = ["    Points Possible", "", "", "", "", f"{assignment.points:g}"]
    points = {
        g["submission"]["id"]: f"{g['score']['earned']:g}" if state(g) == "complete" else ""
        for g in grades
    }
    if roster is None:
        rows = [
            [
                line(g["submission"]["name"]),
                line(g["submission"]["id"]),
                "",
                "",
                "",
                points[g["submission"]["id"]],
            ]
            for g in grades
        ]
        return _csv([header, possible, *rows])
    students = _roster(roster)
    unknown = sorted(set(points) - {s["ID"] for s in students})
    rows = [
        [*(cell(s.get(name) or "") for name in header[:5]), points.get(s["ID"], "")]
        for s in students
    ]
    if unknown:
        raise GradingError(
            f"{roster} does not list {', '.join(line(u) for u in unknown[:5])}: its column ID must "
            "hold Canvas's numbers, which are in the names of the bulk download."
        )
    return _csv([header, possible, *rows])


def _roster(path: Path) -> list[dict]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GradingError(f"{path}: cannot read the roster: {error}") from error
    if not rows or not {"Student", "ID"} <= rows[0].keys():
        raise GradingError(f"{path}: expected Canvas's exported grade book (Student, ID, …).")
    return [row for row in rows if (row["ID"] or "").strip()]


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
            test["output"] = item["status"]
            test["score"] = 0.0
            test["status"] = "failed"
        else:
            test["score"] = item["earned"]
            test["status"] = "passed" if item["earned"] == item["points"] else "failed"
        tests.append(test)
    content: dict = {"output_format": "text", "visibility": "visible", "tests": tests}
    if grade["score"]["faults"]:
        content |= {"tests": [], "output": FAULT + ": not graded yet."}
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
    """A row a pair of submissions, most alike first."""
    rows = [
        [p["a"], p["b"], f"{p['code']:.2f}", f"{p['text']:.2f}", " ".join(p["files"])]
        for p in pairs
    ]
    return _csv([["submission", "other", "code in common", "text in common", "same files"], *rows])


def _csv(rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
