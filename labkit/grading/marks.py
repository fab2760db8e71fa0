"""Written answers beside the measured figures, as one table to mark, and the marks read back."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

from labkit.grading import GradingError
from labkit.grading.assignment import Assignment
from labkit.grading.exports import cell
from labkit.grading.scoring import shown

COLUMNS = (
    "folder",
    "student",
    "item",
    "question",
    "points",
    "answer",
    "figures",
    "mark",
    "comment",
)
#: Marks by folder of the student and item: {"points", "comment"}.
Marks = dict[str, dict[str, dict]]


def table(grades: list[dict], assignment: Assignment, known: Marks) -> str:
    """The CSV to mark: a row an answer; `mark` and `comment` are filled in and read back."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    metric = assignment.metric.name
    for item in assignment.items:
        for grade in grades if item.by_hand else ():
            folder = grade["submission"]["folder"]
            mark = known.get(folder, {}).get(item.id, {"points": "", "comment": ""})
            row = (
                folder,
                grade["submission"]["name"],
                item.id,
                item.title,
                f"{item.points:g}",
                grade["answers"].get(item.target, ""),
                figures(grade, metric, item.figures),
                mark["points"],
                mark["comment"],
            )
            writer.writerow(map(cell, row))
    return buffer.getvalue()


def figures(grade: dict, metric: str, names: tuple[str, ...] = ()) -> str:
    """What was measured of a submission's files, by a metric and in size, a line each."""
    lines = []
    for name in names or sorted(grade["models"]):
        found = grade["models"].get(name)
        if found is None:
            lines.append(f"{name}: not handed in")
        elif metric not in found:
            lines.append(f"{name}: {found.get('problem', 'not measured')}")
        else:
            lines.append(
                f"{name}: {shown(metric, found)}, {found['bytes']:,} bytes, "
                f"{found['gzip_bytes']:,} after gzip, weights {shown('weight_types', found)}"
            )
    return "\n".join(lines)


def read(path: Path, assignment: Assignment) -> Marks:
    """Read a marked table; rows whose `mark` is empty are left to be marked.

    Raises:
        GradingError: naming the row and what is wrong with it.
    """
    items = {item.id: item for item in assignment.items if item.by_hand}
    found: Marks = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GradingError(f"{path}: cannot read the marks: {error}") from error
    for number, row in enumerate(rows, start=2):
        if not {"folder", "item", "mark"} <= row.keys():
            raise GradingError(f"{path}: expected the columns {', '.join(COLUMNS)}.")
        if not (row["mark"] or "").strip():
            continue
        item = items.get(row["item"])
        if item is None:
            raise GradingError(f"{path}, row {number}: {row['item']!r} is not marked by hand.")
        try:
            points = float(row["mark"])
        except ValueError:
            points = math.nan
        if not 0 <= points <= item.points:
            raise GradingError(
                f"{path}, row {number}: the mark is {row['mark']!r}, expected a number from 0 to "
                f"{item.points:g}."
            )
        comment = (row.get("comment") or "").strip()
        found.setdefault(row["folder"], {})[item.id] = {"points": points, "comment": comment}
    return found


def kept(path: Path) -> Marks:
    """The marks of an earlier run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
