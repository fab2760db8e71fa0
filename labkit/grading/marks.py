"""Written answers beside the measured figures, as one table to mark, and the marks read back."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labkit.grading import GradingError, tables
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
    """The CSV to mark: a row per answer; `mark` and `comment` are filled in and read back."""
    buffer = io.StringIO(tables.MARK)
    buffer.seek(1)
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


@dataclass(frozen=True)
class Row:
    """A mark in a table: where it stands, whose it is, and what; None withdraws it."""

    number: int
    folder: str
    item: str
    mark: dict | None


@dataclass(frozen=True)
class Given:
    """The marks of a table that belong to submissions, and those that it withdraws."""

    marks: Marks
    withdrawn: set[tuple[str, str]]


def read(path: Path, assignment: Assignment) -> list[Row]:
    """Read a marked table; rows whose `mark` is empty say nothing, `-` withdraws a mark.

    Raises:
        GradingError: naming the row and what is wrong with it.
    """
    items = {item.id: item for item in assignment.items if item.by_hand}
    found: dict[tuple[str, str], Row] = {}
    for number, row in enumerate(tables.read(path, "the marks"), start=2):
        if not {"folder", "item", "mark"} <= row.keys():
            raise GradingError(f"{path}: expected the columns {', '.join(COLUMNS)}.")
        given = (row["mark"] or "").strip()
        if not given:
            continue
        item = items.get((row["item"] or "").strip())
        if item is None:
            raise GradingError(f"{path}, row {number}: {row['item']!r} is not marked by hand.")
        comment = (row.get("comment") or "").strip()
        mark = None if given == "-" else {"points": _points(given), "comment": comment}
        if mark and not 0 <= mark["points"] <= item.points:
            raise GradingError(
                f"{path}, row {number}: the mark is {row['mark']!r}, expected a number from 0 to "
                f"{item.points:g} (or - to withdraw a mark)."
            )
        new = Row(number, (row["folder"] or "").strip(), item.id, mark)
        old = found.setdefault((new.folder, new.item), new)
        if old.mark != new.mark:
            raise GradingError(
                f"{path}, rows {old.number} and {number}: two marks for {new.item} of {new.folder}."
            )
    return list(found.values())


def _points(text: str) -> float:
    """A number, with a point or a comma; NaN if it is none."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def resolved(rows: list[Row], path: Path, folders: Iterable[str]) -> tuple[Given, list[str]]:
    """The marks by the folders that there are, and a line for those that belong to none.

    A spreadsheet takes the zeros away that a number begins with; they are put back.
    """
    folders = list(folders)
    bare = Counter(folder.lstrip("0") for folder in folders)
    by_bare = {f.lstrip("0"): f for f in folders if bare[f.lstrip("0")] == 1}
    given, unknown, found = Given({}, set()), {}, {}
    for row in rows:
        folder = row.folder if row.folder in folders else by_bare.get(row.folder.lstrip("0"))
        if folder is None:
            unknown.setdefault(row.folder, []).append(row.number)
            continue
        if folder != row.folder:
            found[row.folder] = folder
        if row.mark is None:
            given.withdrawn.add((folder, row.item))
        else:
            given.marks.setdefault(folder, {})[row.item] = row.mark
    notices = []
    if unknown:
        listed = [f"{folder!r} (row {rows[0]})" for folder, rows in unknown.items()]
        told = "marks for folders that no submission has, not counted"
        notices.append(f"{path}: {told}: {', '.join(listed[:10])}{_more(listed)}.")
    if found:
        listed = [f"{name!r} for {folder!r}" for name, folder in found.items()]
        notices.append(f"{path}: marks of {', '.join(listed[:10])}{_more(listed)} are counted.")
    return given, notices


def _more(listed: list[str]) -> str:
    return f" and {len(listed) - 10} more" if len(listed) > 10 else ""


def merged(known: Marks, given: Given) -> Marks:
    """Earlier marks with new ones over them: two people may mark."""
    found = {folder: dict(of) for folder, of in known.items()}
    for folder, item in given.withdrawn:
        found.get(folder, {}).pop(item, None)
    for folder, of in given.marks.items():
        found.setdefault(folder, {}).update(of)
    return {folder: of for folder, of in found.items() if of}


def kept(path: Path) -> Marks:
    """The marks of an earlier run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
