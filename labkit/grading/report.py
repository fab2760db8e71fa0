"""Pages for people: feedback for a student, the class's summary, leaderboard, written answers.

Everything that comes from a submission is escaped by the templates.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import jinja2

from labkit.grading import exports, marks, scoring
from labkit.grading.assignment import Assignment
from labkit.measure import Metric


def feedback(grade: dict, assignment: Assignment) -> str:
    """A student's page: points, and for every lost one a reason and a hint."""
    parts: dict[str, list[dict]] = {}
    for item in grade["items"]:
        parts.setdefault(item["part"], []).append(item)
    return _render("feedback.html.j2", grade=grade, assignment=assignment, parts=parts)


def summary(
    grades: list[dict], assignment: Assignment, environment: dict, pairs: list[dict], seconds: float
) -> str:
    """The class's page."""
    complete = [g["score"]["earned"] for g in grades if exports.state(g) != scoring.FAULT]
    titled = [(item, part.title) for part in assignment.parts for item in part.items]
    items = [
        {
            "title": item.title,
            "part": part,
            "points": item.points,
            "share": _mean(
                [
                    g["items"][n]["earned"] / item.points
                    for g in grades
                    if g["items"][n]["earned"] is not None
                ]
            ),
        }
        for n, (item, part) in enumerate(titled)
    ]
    return _render(
        "class.html.j2",
        grades=grades,
        assignment=assignment,
        environment=environment,
        pairs=pairs,
        items=items,
        mean=_mean(complete),
        seconds=seconds,
        state=exports.state,
    )


def written(grades: list[dict], assignment: Assignment) -> str:
    """The written answers, question by question, each beside the measured figures."""
    metric = assignment.metric.name
    questions = [
        (
            item,
            [
                (g, g["answers"].get(item.target, ""), marks.figures(g, metric, item.figures))
                for g in grades
            ],
        )
        for item in assignment.items
        if item.kind == "written"
    ]
    return _render("written.html.j2", questions=questions, assignment=assignment)


def leaderboard(rows: list[dict], assignment: Assignment) -> str:
    """Size against the metric of the class's files, under pseudonyms."""
    of = {name: [r for r in rows if r["file"] == name] for name in assignment.leaderboard.files}
    boards = [(name, found, _picture(found, assignment.metric)) for name, found in of.items()]
    unit = {"bytes": "bytes", "gzip_bytes": "bytes after gzip", "coded_bits": "bits, coded"}
    return _render(
        "leaderboard.html.j2",
        boards=boards,
        assignment=assignment,
        unit=unit[assignment.leaderboard.size],
    )


def _picture(rows: list[dict], metric: Metric, width: int = 640, height: int = 280) -> dict:
    """Places of the points in a drawing, and of the ticks at its edges."""
    if not rows:
        return {}
    sizes, values = [r["size"] for r in rows], [r["value"] for r in rows]
    left, right = 0.9 * min(sizes), 1.05 * max(sizes)
    is_share = metric.unit == "fraction"
    margin = 0.03 if is_share else 0.1 * max(map(abs, values)) or 1
    low, high = max(0, min(values) - margin), max(values) + margin
    high = min(1, high) if is_share else high

    def x(size: float) -> float:
        return round(70 + (width - 90) * (size - left) / (right - left), 1)

    def y(value: float) -> float:
        return round(height - 45 - (height - 65) * (value - low) / (high - low), 1)

    points = [(x(r["size"]), y(r["value"]), r["front"]) for r in rows]
    best = [(px, py) for px, py, front in points if front]
    steps = [f"{best[0][0]},{best[0][1]}"] if best else []
    for (_, before), (px, py) in pairwise(best):
        steps += [f"{px},{before}", f"{px},{py}"]
    return {
        "width": width,
        "height": height,
        "points": points,
        "line": " ".join(steps),
        "x": [(x(v), f"{v:,.0f}") for v in (min(sizes), max(sizes))],
        "y": [
            (y(v), metric.shown(v, ".1f" if is_share else "")) for v in (min(values), max(values))
        ],
    }


def _error(text: str) -> str:
    """A cell's error, "cell: kind: text", without its text; see `scoring.kind_of_error`."""
    cell, _, error = text.partition(": ")
    return f"cell {cell}: {scoring.kind_of_error(error)}"


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _render(name: str, **values) -> str:
    return _templates().get_template(name).render(**values)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labkit.grading"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = lambda found, name: scoring.shown(name, found)
    environment.filters["points"] = lambda value: "–" if value is None else f"{value:g}"
    environment.filters["plural"] = lambda noun: re.sub("y$", "ie", noun) + "s"
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["error"] = _error
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    return environment
