"""Checks inside a notebook: what is tested, why it matters, what was expected, what came.

    with check("scale", exercise="scale", what="two ranges.", why="it is the step.") as c:
        c.close("[-1, 1]", scale(-1, 1), 2 / 255,
                misconceptions=[(2 / 256, "256 codes have 255 steps between them.")])

A *misconception* is the wrong answer that a known mistake leads to; when it comes, the check names
the mistake.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from IPython.display import display

PASSED, FAILED, UNFILLED = "passed", "failed", "unfilled"


class CheckFailed(AssertionError):
    """A check that did not pass; its message says what was expected and what came."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows for it: the message alone, without this module's frames."""
        return [f"CheckFailed: {self}"]


_results: dict[str, dict[str, str | None]] = {}


def results() -> list[dict[str, str | None]]:
    """Title, exercise and status of this session's checks, the last run of each, in order."""
    return list(_results.values())


def reset() -> None:
    """Forget the results."""
    _results.clear()


def restore(earlier: list[dict[str, str | None]]) -> None:
    """Go back to the results of an earlier call of `results`."""
    reset()
    _results.update({str(result["check"]): result for result in earlier})


@dataclass(frozen=True)
class _Item:
    label: str
    passed: bool
    expected: str
    got: str
    hint: str = ""


@dataclass
class check:  # noqa: N801 - reads as a verb in `with check(...)`
    """A context in which the items of one check are collected; see the module.

    Args:
        title: names the check.
        exercise: name of the exercise that it checks, if it checks one.
        what: what is tested.
        why: why it matters.

    Raises:
        CheckFailed: on leaving, if an item failed, the exercise is not filled in, or the
            student's code raised an error.
    """

    title: str
    exercise: str | None = None
    what: str = ""
    why: str = ""
    _items: list[_Item] = field(default_factory=list, repr=False)

    def __enter__(self) -> check:
        """Start collecting."""
        return self

    def __exit__(self, kind, error, trace) -> bool:
        """Show the outcome, remember it, and raise CheckFailed unless it passed."""
        if error is not None and not isinstance(error, Exception):
            return False  # an interrupt is not an answer
        status, problem = PASSED, ""
        if isinstance(error, NotImplementedError) or _is_undefined(error, trace):
            status = UNFILLED
            problem = f"not filled in yet: exercise {self.exercise or self.title}"
        elif error is not None:
            status = FAILED
            problem = f"your code raised {type(error).__name__}: {error}"
        elif not self._items:
            status, problem = FAILED, "the check tested nothing"
        elif not all(item.passed for item in self._items):
            status = FAILED
        _results[self.title] = {
            "check": self.title,
            "exercise": self.exercise,
            "status": status,
        }
        display(_Box(self, status, problem))
        if status != PASSED:
            raise CheckFailed(_plain(self, status, problem)) from None
        return False

    def equal(self, label: str, got: Any, expected: Any, misconceptions: Sequence = ()) -> None:
        """Exactly equal: integers, strings, tuples or lists of them, arrays of the same shape."""
        self._compare(label, got, expected, 0.0, misconceptions)

    def close(
        self,
        label: str,
        got: Any,
        expected: Any,
        tolerance: float = 1e-6,
        misconceptions: Sequence = (),
    ) -> None:
        """Equal up to `tolerance`, relative to the largest expected magnitude."""
        self._compare(label, got, expected, tolerance, misconceptions)

    def that(self, label: str, condition: Any, otherwise: str) -> None:
        """A condition that must be true; `otherwise` says what is wrong and what to do."""
        passed = bool(condition)
        self._items.append(
            _Item(label, passed, "yes", "yes" if passed else "no", "" if passed else otherwise)
        )

    def between(
        self, label: str, got: Any, low: float, high: float, unit: str = "", otherwise: str = ""
    ) -> None:
        """A number from `low` to `high`."""
        passed = _is_number(got) and low <= float(got) <= high
        unit = f" {unit}" if unit else ""
        self._items.append(
            _Item(
                label,
                passed,
                f"{low:,g} to {high:,g}{unit}",
                _text(got) + unit,
                "" if passed else otherwise,
            )
        )

    def shape(self, label: str, array: Any, expected: tuple[int, ...]) -> None:
        """The shape of an array."""
        got = tuple(getattr(array, "shape", ())) if array is not None else None
        self._items.append(
            _Item(
                label,
                got == expected,
                f"shape {expected}",
                "None" if got is None else f"shape {got}",
            )
        )

    def dtype(self, label: str, array: Any, expected: Any) -> None:
        """The type of an array's numbers."""
        got = getattr(array, "dtype", None)
        passed = got is not None and np.dtype(getattr(got, "as_numpy_dtype", got)) == expected
        name = type(array).__name__ if got is None else str(getattr(got, "name", got))
        self._items.append(_Item(label, passed, np.dtype(expected).name, name))

    def _compare(self, label, got, expected, tolerance, misconceptions) -> None:
        passed = _same(got, expected, tolerance)
        hint = ""
        if not passed:
            hint = "" if got is not None else "It returned None: is there a `return`?"
            tolerance = max(tolerance, 1e-6)  # a misconception is recognised generously
            known = (text for wrong, text in misconceptions if _same(got, wrong, tolerance))
            hint = next(known, hint)
        self._items.append(_Item(label, passed, _text(expected), _text(got), hint))


def predict(
    name: str, question: str, choices: Sequence[str], answer: str | None = None
) -> str | None:
    """Ask for a prediction before the result is visible; any answer is fine, none too.

    Args:
        name: of the question, the same in `reveal`.
        question, choices: shown.
        answer: the student's choice.

    Raises:
        ValueError: an answer that is not one of the choices.
    """
    if answer is not None and answer not in choices:
        raise ValueError(f"{name}: {answer!r} is not one of {', '.join(map(repr, choices))}.")
    chosen = "no prediction yet: set `answer`" if answer is None else f"you predict: {answer}"
    display(_Note(question, [" · ".join(choices), chosen]))
    return answer


def reveal(name: str, answer: str | None, truth: str, explanation: str) -> None:
    """Show a prediction beside what came out."""
    if answer is None:
        verdict = "You made no prediction."
    elif answer == truth:
        verdict = f"You predicted {answer}: right."
    else:
        verdict = f"You predicted {answer}: a surprise. What did you not think of?"
    display(_Note(f"Measured: {truth}", [explanation, verdict]))


def _is_undefined(error: BaseException | None, trace: TracebackType | None) -> bool:
    """A NameError of the cell itself: the exercise's cell stopped before it defined the name.

    One from inside the student's function is a mistake of theirs.
    """
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return isinstance(error, NameError) and trace.tb_frame.f_code.co_name == "<module>"


def _is_number(value: Any) -> bool:
    try:
        return np.ndim(value) == 0 and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _same(got: Any, expected: Any, tolerance: float) -> bool:
    """Structural comparison that never asks the answer's own `__eq__`."""
    if isinstance(expected, str) or expected is None:
        return type(got) is type(expected) and str(got) == str(expected)
    if isinstance(expected, tuple) or (
        isinstance(expected, list) and any(isinstance(e, str) for e in expected)
    ):
        return (
            isinstance(got, (tuple, list))
            and len(got) == len(expected)
            and all(_same(g, e, tolerance) for g, e in zip(got, expected, strict=True))
        )
    try:
        a, b = np.array(got, dtype=float), np.array(expected, dtype=float)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape or np.isnan(a).any():
        return False
    if tolerance == 0:
        return bool(np.array_equal(a, b))
    scale = max(float(np.abs(b).max(initial=0)), 1e-300)
    return bool(np.abs(a - b).max(initial=0) <= tolerance * max(scale, tolerance))


def _text(value: Any) -> str:
    """A short text of a value."""
    if isinstance(value, (bool, str)) or value is None:
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.6g}"
    if isinstance(value, (tuple, list)):
        text = ("({})" if isinstance(value, tuple) else "[{}]").format(
            ", ".join(_text(v) for v in value)
        )
        return text if len(text) <= 250 else f"{text[:60]} … ({len(value)} values)"
    if hasattr(value, "shape"):
        array = np.asarray(value)
        if array.size > 12:
            return f"array of shape {array.shape}"
        return np.array2string(array, precision=6, separator=", ").replace("\n", "")
    return f"{type(value).__name__} object"


_WORDS = {PASSED: "✓ passed", FAILED: "✗ not yet", UNFILLED: "… not filled in yet"}
_EDGES = {PASSED: "#009E73", FAILED: "#D55E00", UNFILLED: "#6b6b6b"}


@dataclass(frozen=True)
class _Box:
    """How a check looks: HTML in a notebook, text elsewhere."""

    check: check
    status: str
    problem: str

    def __repr__(self) -> str:
        return _plain(self.check, self.status, self.problem)

    def _repr_html_(self) -> str:
        c = self.check
        rows = "".join(
            f"<tr><td>{'✓' if i.passed else '✗'}</td><td style='text-align:left'>"
            f"{_marked(i.label)}</td><td>{html.escape(i.expected)}</td>"
            f"<td>{html.escape(i.got)}</td></tr>"
            + (
                f"<tr><td></td><td colspan='3' style='text-align:left'><b>Hint:</b> "
                f"{_marked(i.hint)}</td></tr>"
                if i.hint
                else ""
            )
            for i in c._items
        )
        table = (
            "<table><tr><th></th><th style='text-align:left'>item</th><th>expected</th>"
            f"<th>yours</th></tr>{rows}</table>"
            if rows
            else ""
        )
        lines = [
            f"<b>{name}:</b> {_marked(text)}<br>"
            for name, text in (("What is tested", c.what), ("Why it matters", c.why))
            if text
        ]
        problem = f"<b>{_marked(self.problem)}</b>" if self.problem else ""
        return (
            f"<div style='border-left:5px solid {_EDGES[self.status]};padding:0.3em 0.9em'>"
            f"<b>{_WORDS[self.status]}: {_marked(c.title)}</b><br>{''.join(lines)}{table}"
            f"{problem}</div>"
        )


@dataclass(frozen=True)
class _Note:
    title: str
    lines: list[str]

    def __repr__(self) -> str:
        return "\n".join([self.title, *self.lines])

    def _repr_html_(self) -> str:
        body = "<br>".join(map(_marked, self.lines))
        return (
            "<div style='border-left:5px solid #0072B2;padding:0.3em 0.9em'>"
            f"<b>{_marked(self.title)}</b><br>{body}</div>"
        )


def _marked(text: str) -> str:
    """A text as HTML, what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _plain(c: check, status: str, problem: str) -> str:
    lines = [f"{_WORDS[status]}: {c.title}"]
    for item in c._items:
        if item.passed:
            continue
        lines.append(f"  {item.label}: expected {item.expected}, yours {item.got}")
        if item.hint:
            lines.append(f"  Hint: {item.hint}")
    if problem:
        lines.append(f"  {problem}")
    return "\n".join(lines)
