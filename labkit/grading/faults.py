"""What a schema cannot say of an assignment: points, names and conditions that make no sense."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit.grading.hidden import offered
from labkit.measure.graph import BITS
from labkit.measure.metrics import KNOWN, Metric

if TYPE_CHECKING:
    from labkit.grading.assignment import (
        Assignment,
        Curve,
        Item,
        Model,
        ModelFile,
        Place,
        Requirement,
    )

_SHARES = {"sparsity", *(metric.name for metric in KNOWN.values() if metric.unit == "fraction")}
#: The least and the most that a file can have; of other figures from one on.
_RANGES = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **{metric.name: (0.0, math.inf) for metric in KNOWN.values() if metric.unit != "fraction"},
    "storage_bits": (min(BITS.values()), max(BITS.values())),
    "code_bits": (1, max(BITS.values())),
    "bias_code_bits": (0, max(BITS.values())),
    "macs": (0, math.inf),
}


def faults_of(assignment: Assignment) -> Iterator[tuple[Place, str]]:
    """What a schema cannot say, and where."""
    items, files = assignment.items, {file.name: file for file in assignment.files}
    total = math.fsum(item.points for item in items)
    if not math.isclose(total, assignment.points, abs_tol=1e-9):
        text = f"the items add up to {total:g} points, `points` says {assignment.points:g}."
        yield ("points",), text
    labs = [notebook.lab for notebook in assignment.notebooks]
    yield from _twice([((*at, item.kind), item.id) for at, item in _placed(assignment)])
    yield from _twice([(("notebooks", i), lab) for i, lab in enumerate(labs)])
    yield from _twice([(("files", i), file.name) for i, file in enumerate(assignment.files)])
    for at, item in _placed(assignment):
        if item.lab and item.lab not in labs:
            yield at, f"{item.target}: lab {item.lab} is not under `notebooks`."
        unknown = ({item.target} if item.kind == "model" else set(item.figures)) - {*files}
        if unknown:
            yield at, f"{item.id}: {sorted(unknown)} is not under `files`."
        elif item.kind == "model":
            for place, fault in _faults_of_model(item, assignment.metric, files[item.target]):
                yield (*at, *place), f"{item.id}: {fault}"
    if assignment.execute != "all" and any(f.source == "execution" for f in assignment.files):
        yield ("execute",), "files from the execution need `execute: all`."
    if {*assignment.leaderboard.files} - {*files}:
        yield ("leaderboard",), "the leaderboard names files that are not under `files`."
    offered(assignment.dataset)


def _placed(assignment: Assignment) -> Iterator[tuple[Place, Item]]:
    """Every item and its place in the file."""
    for number, part in enumerate(assignment.parts):
        for index, item in enumerate(part.items):
            yield ("parts", number, "items", index), item


def _twice(placed: list[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    """Names that have stood before."""
    seen = set()
    for place, name in placed:
        if name in seen:
            yield place, f"{name} appears twice; give each item a title of its own."
        seen.add(name)


def _faults_of_model(item: Model, metric: Metric, file: ModelFile) -> Iterator[tuple[Place, str]]:
    asked = [(("requires", i), each) for i, each in enumerate(item.requires)]
    for place, each in [*asked, *([(("curve",), item.curve)] if item.curve else [])]:
        if each.figure in KNOWN and each.figure != metric.name:
            text = f"{each.figure} is not measured, the assignment's `metric` is {metric.name}."
            yield place, text
    for place, each in asked:
        for fault in _faults_of_bounds(each, metric, file):
            yield place, f"{each.figure} {fault}"
    yield from _contradictions(asked)
    if item.curve:
        for fault in _faults_of_curve(item.curve, metric):
            yield ("curve",), fault


def _faults_of_bounds(each: Requirement, metric: Metric, file: ModelFile) -> Iterator[str]:
    """Bounds that a figure cannot have, that every file keeps or that none does."""
    numbers, types = (each.at_least, each.at_most), (each.only, each.includes)
    own, others, names = (numbers, types, "`at_least`, `at_most`")
    if each.figure.endswith("_types"):
        own, others, names = (types, numbers, "`only`, `includes`")
    if own == (None, None) or others != (None, None):
        yield f"has no bound, or one of another kind than {names}."
    given = [number for number in numbers if number is not None]
    if given != sorted(given):
        yield f"cannot be at least {given[0]:g} and at most {given[1]:g}."
    if each.figure in _SHARES and not all(0 <= number <= 1 for number in given):
        yield f"is a share from 0 to 1, not {given[0]:g}."
    least, most = _RANGES.get(each.figure, (1, math.inf))
    if each.figure == "bytes":
        most = file.max_bytes  # no larger file is read
    at_least, at_most = numbers
    if at_least is not None and (at_least <= least or at_least > most):
        holds = "none has" if at_least > most else "every file has"
        yield f"at least {at_least:g}: {holds} that."
    if at_most is not None and (at_most < least or at_most >= most):
        holds = "none has" if at_most < least else "every file has"
        yield f"at most {at_most:g}: {holds} that."
    if each.figure == metric.name and numbers[metric.higher_is_better] is not None:
        yield f"`{('at_least', 'at_most')[metric.higher_is_better]}` asks for a bad {metric.name}."
    if each.only and {*each.only} == {*BITS}:
        yield "may be of all types: every file keeps that."


def _contradictions(asked: list[tuple[Place, Requirement]]) -> Iterator[tuple[Place, str]]:
    """Bounds of a figure in several places that no file keeps at once, or of which one is void."""
    seen: dict[tuple[str, str], object] = {}
    for place, each in asked:
        for name in ("at_least", "at_most", "only", "includes"):
            bound = getattr(each, name)
            if bound is None:
                continue
            if seen.setdefault((each.figure, name), bound) is not bound:
                yield place, f"{each.figure} has `{name}` twice."
        least, most, only, included = (
            seen.get((each.figure, name)) for name in ("at_least", "at_most", "only", "includes")
        )
        if least is not None and most is not None and least > most:
            yield place, f"{each.figure} cannot be at least {least:g} and at most {most:g}."
        if only and included and included not in only:
            yield place, f"{each.figure} cannot be {', '.join(only)} only and include {included}."


def _faults_of_curve(curve: Curve, metric: Metric) -> Iterator[str]:
    figures, shares = zip(*curve.shares, strict=True)
    if list(figures) != sorted(set(figures)):
        yield "the curve's figures must rise."
    if figures[0] < 0 or (curve.figure in _SHARES and figures[-1] > 1):
        yield f"the curve has {curve.figure} from {figures[0]:g} to {figures[-1]:g}: none has that."
    if len(set(shares)) == 1:
        yield "the curve gives every file the same."
    better = sorted(shares, reverse=not metric.higher_is_better)
    if curve.figure == metric.name and list(shares) != better:
        yield f"the curve gives less for a better {metric.name}."
