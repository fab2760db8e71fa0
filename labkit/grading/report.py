"""Pages for people: feedback for a student, the class's summary, leaderboard, written answers.

Everything that comes from a submission is escaped by the templates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import jinja2

from labkit.grading import exports, marks, scoring, similarity
from labkit.grading.assignment import Assignment, Item
from labkit.measure import Metric

_GAINS, _PAIRS, _LOOKED_AT = 3, 50, 6


def feedback(grade: dict, assignment: Assignment) -> str:
    """A student's page: points, where the next ones are, and why each was lost."""
    parts: dict[str, list[dict]] = {}
    for item in grade["items"]:
        parts.setdefault(item["part"], []).append(item)
    lost = [i for i in grade["items"] if i["earned"] is not None and i["earned"] < i["points"]]
    gains = sorted(lost, key=lambda i: i["earned"] - i["points"])[:_GAINS]
    return _render(
        "feedback.html.j2",
        grade=grade,
        assignment=assignment,
        parts=parts,
        gains=[(item, _next_step(item)) for item in gains],
        full=[i["title"] for i in grade["items"] if i["earned"] == i["points"]],
        unread=sum(i["points"] for i in grade["items"] if i["status"] == scoring.UNREAD),
        is_open=grade["score"]["faults"] or grade["submission"]["trouble"],
    )


def _next_step(item: dict) -> str:
    """The first thing to do about lost points."""
    step = next(iter([*item["hints"], *item["reasons"]]), "")
    step = step.removeprefix(f"{item['title']}: ")
    return step[:1].upper() + step[1:] if " " in step.partition(".")[0] else step


def summary(
    grades: list[dict],
    assignment: Assignment,
    environment: dict,
    pairs: list[dict],
    seconds: float,
    notices: Sequence[str] = (),
) -> str:
    """The class's page."""
    complete = [g["score"]["earned"] for g in grades if exports.state(g) == "complete"]
    titled = [(item, part.title) for part in assignment.parts for item in part.items]
    first = (scoring.FAULT, scoring.UNREAD)
    alike = [pair for pair in pairs if max(pair["code"], pair["text"]) >= similarity.SHOWN]
    return _render(
        "class.html.j2",
        grades=sorted(grades, key=lambda g: (exports.state(g) not in first, _called(g).lower())),
        assignment=assignment,
        environment=environment,
        pairs=alike[:_PAIRS],
        more_pairs=len(alike) - _PAIRS,
        identical=_identical(pairs),
        items=[_of_class(grades, n, item, part) for n, (item, part) in enumerate(titled)],
        mean=_mean(complete),
        complete=len(complete),
        seconds=seconds,
        notices=notices,
        state=exports.state,
        called=_called,
        look_at=_look_at,
    )


def _called(grade: dict) -> str:
    """A submission's name for people; the folder's where there is none."""
    return " ".join(grade["submission"]["name"].split()) or grade["submission"]["folder"]


def _of_class(grades: list[dict], number: int, item: Item, part: str) -> dict:
    """What a class earned of an item; nothing is said before all that is marked by hand is."""
    of_item = [g["items"][number] for g in grades]
    waiting = sum(i["status"] == scoring.WAITING for i in of_item)
    shares = [i["earned"] / item.points for i in of_item if i["earned"] is not None]
    return {
        "title": item.title,
        "part": part,
        "points": item.points,
        "share": None if item.by_hand and waiting else _mean(shares),
        "waiting": waiting,
    }


def _look_at(grade: dict) -> list[str]:
    """What an instructor wants to know of a submission, the worst first."""
    if grade["submission"]["trouble"]:
        return [grade["submission"]["trouble"], *grade["remarks"]]
    found = [*grade["remarks"]]
    for note in grade["notebooks"]:
        if note["status"] != "executed":
            found.append(f"{note['lab']}: {note['status']}")
    for item in grade["items"]:
        if item["kind"] == "model" and item["earned"] == 0:
            why = next(iter(item["reasons"]), "").removeprefix(f"{item['title']}: ")
            found.append(f"{item['title']}: 0 of {item['points']:g}: {why}")
        elif item["status"] == scoring.UNREAD:
            found.append(f"{item['title']}: {item['status']}")
    for note in grade["notebooks"]:
        found += [f"{note['lab']}: {repair}" for repair in note["repairs"] if "several" in repair]
    found = [*dict.fromkeys([*found, *grade["submission"]["problems"]])]
    more = [f"{len(found) - _LOOKED_AT} more in the feedback"] if len(found) > _LOOKED_AT else []
    return found[:_LOOKED_AT] + more


def _identical(pairs: list[dict]) -> list[tuple[str, list[str]]]:
    """Groups of submissions with an identical file: its name, and who has it."""
    groups: dict[str, list[set[str]]] = {}
    for pair in pairs:
        for name in pair["files"]:
            of_file = groups.setdefault(name, [])
            joined = {pair["a"], pair["b"]}
            for group in [g for g in of_file if g & joined]:
                of_file.remove(group)
                joined |= group
            of_file.append(joined)
    return [(name, sorted(g)) for name, of_file in sorted(groups.items()) for g in of_file]


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
    """A cell's error, "where: kind: text", without its text; see `scoring.kind_of_error`."""
    where, _, error = text.partition(": ")
    return f"{where}: {scoring.kind_of_error(error)}"


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
    environment.filters["problem"] = scoring.problem_told
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    return environment
