"""From measured figures and answers to points: pure arithmetic, no files, no processes."""

from __future__ import annotations

import builtins
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from labkit.grading.assignment import Curve, Item, Requirement
from labkit.grading.inside.answers import NOT_FILLED_IN, NOT_PLAIN
from labkit.measure.metrics import KNOWN

#: The share of weights, or of multiplications, from which on a file includes a type.
MOSTLY = 0.5

SCORED, WAITING, FAULT = "scored", "to be marked", "fault of the grader's machine"
UNREAD = "could not be read"
#: Words of the runtime's own, which tell nobody what to do.
_RAW = re.compile(r"XNNPACK|delegate|Node number|\.cc\b|tensorflow/|subgraph|prepare|invoke", re.I)

#: What the grader's own code says inside a submission's process, and the labs' checks.
_OWN_WORDS = (NOT_FILLED_IN, NOT_PLAIN, "CheckFailed")

_NAMES = {
    "bytes": "size of the file in bytes",
    "gzip_bytes": "size after gzip in bytes",
    "coded_bits": "size under the best lossless code in bits",
    "weight_bits": "bits of all weights",
    "parameters": "number of parameters",
    "storage_bits": "bits of a stored weight",
    "code_bits": "bits of a weight in the shortest code, codebooks and scales included",
    "bias_code_bits": "bits that the distinct biases need",
    "unique_per_channel": "distinct weights that a channel shares",
    "sparsity": "share of zero weights",
    "macs": "multiplications for a sample",
    "weight_types": "types of the weights",
    "bias_types": "types of the biases",
    "activation_types": "types of the activations",
    "input_types": "type of the input",
    "output_types": "type of the output",
}


@dataclass
class Score:
    """What an item earned.

    Attributes:
        earned: points; None while a person has to give them, or the machine failed.
        reasons: a line for every lost point; hints: what to do about it.
    """

    item: Item
    earned: float | None
    status: str = SCORED
    reasons: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def to_dict(self, part: str) -> dict:
        """As in grade.json; `part` is the title of the item's part."""
        return {
            "id": self.item.id,
            "part": part,
            "kind": self.item.kind,
            "title": self.item.title,
            "points": self.item.points,
            "earned": self.earned,
            "status": self.status,
            "reasons": self.reasons,
            "hints": [hint for hint in dict.fromkeys(self.hints) if hint],
        }


def model(item: Item, figures: dict | None, missing: str, samples: str = "images") -> Score:
    """Points of a model file.

    Args:
        figures: measured; with "problem" if the file could not be, None if there is no file.
        missing: why there is none.
        samples: what the hidden split consists of.
    """
    if figures is None:
        return Score(item, 0.0, reasons=[missing])
    if "problem" in figures:
        return Score(item, 0.0, reasons=[f"{item.target}: {problem_told(figures['problem'])}"])
    broken = [r for r in item.requires if not holds(r, figures)]
    if broken:
        return Score(
            item,
            0.0,
            reasons=[told(r, figures, samples) for r in broken],
            hints=[r.hint or item.hint for r in broken],
        )
    share = share_of(item.curve, figures) if item.curve else 1.0
    score = Score(item, round(share * item.points, 4))
    if share < 1:
        score.reasons.append(
            f"{_name(item.curve.figure, samples)} is {shown(item.curve.figure, figures)}: "
            f"{100 * share:.0f} % of the points; all of them at {_best(item.curve)}."
        )
        score.hints.append(item.curve.hint or item.hint)
    return score


def problem_told(problem: str) -> str:
    """Why a file could not be measured, in words that a student can act on."""
    if _RAW.search(problem):
        return (
            "the runtime (LiteRT) does not run it. Convert the model again, and run the file once "
            "(labkit.measure.TFLiteModel) before you hand it in."
        )
    return problem.removesuffix(".") + "."


def exercise(item: Item, answers: list[dict] | None, wrong: dict[int, str], why: str) -> Score:
    """Points of an exercise: the share of the cases that agree with the solution.

    Args:
        answers: what came for each case, {"answer": …} or {"error": …}; None if nothing came.
        wrong: how the answers differ that do not agree, by the number of the case from 0 on.
        why: reason if nothing came.
    """
    if answers is None:
        return Score(item, 0.0, reasons=[why])
    score = Score(item, round(item.points * (1 - len(wrong) / len(answers)), 4))
    told: dict[str, list[int]] = {}
    for number, how in wrong.items():
        error = answers[number].get("error")
        told.setdefault(kind_of_error(error) if error else how, []).append(number + 1)
    if set(told) == {NOT_FILLED_IN}:
        score.reasons.append(f"{NOT_FILLED_IN}: what stands there is still the stub.")
        return score
    for how, numbers in told.items():
        cases = f"case{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        score.reasons.append(f"{cases} of {len(answers)}: {how}")
    if wrong:
        score.hints.append(item.hint)
    return score


def kind_of_error(text: str) -> str:
    """What a student is told of an error: its kind, where that is one of Python's.

    Its text is the submission's, which knows the hidden inputs and might repeat them.
    """
    name = text.partition(":")[0].strip()
    if name in _OWN_WORDS:
        return name
    kind = getattr(builtins, name, None)
    is_known = isinstance(kind, type) and issubclass(kind, BaseException)
    return name if is_known else "an error"


def by_hand(item: Item, mark: tuple[float, str] | None, empty: bool = False) -> Score:
    """Points that a person gives.

    Args:
        mark: points and comment, once given.
        empty: there is no answer to mark.
    """
    if mark is None and empty:
        return Score(item, 0.0, reasons=["there is no answer."])
    if mark is None:
        return Score(item, None, WAITING)
    points, comment = mark
    score = Score(item, points)
    if points < item.points or comment:
        score.reasons.append(comment or "points taken off by hand.")
    return score


def fault(item: Item) -> Score:
    """The grader's machine failed: no points, and none lost."""
    told = "the machine that grades failed here, not you; it will be graded again."
    return Score(item, None, FAULT, [told])


def unread(item: Item, why: str) -> Score:
    """What is there could not be read: no points, and none lost."""
    return Score(item, None, UNREAD, [why])


def holds(requirement: Requirement, figures: dict) -> bool:
    """Whether a measured figure fulfils a requirement; one that was not measured does not."""
    value = figures.get(requirement.figure)
    if value is None:
        return False
    if isinstance(value, list):
        return (requirement.only is None or set(value) <= set(requirement.only)) and (
            requirement.includes is None
            or (requirement.includes in value and _share(requirement, figures) >= MOSTLY)
        )
    return (requirement.at_least is None or value >= requirement.at_least) and (
        requirement.at_most is None or value <= requirement.at_most
    )


def _share(requirement: Requirement, figures: dict) -> float:
    """Of the type that is to be included, where it was measured."""
    shares = figures.get("shares", {}).get(requirement.figure)
    return 1.0 if shares is None else shares.get(requirement.includes, 0.0)


def share_of(curve: Curve, figures: dict) -> float:
    """The share of the points at a figure: straight lines between the curve's corners."""
    value = figures.get(curve.figure)
    if value is None:
        return 0.0
    corners = curve.shares
    if value <= corners[0][0]:
        return corners[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        if value <= x1:
            return y0 + (y1 - y0) * (value - x0) / (x1 - x0)
    return corners[-1][1]


def told(requirement: Requirement, figures: dict, samples: str = "images") -> str:
    """A requirement that does not hold, in a sentence."""
    mostly = f"at least half {requirement.includes}" if requirement.includes else None
    bounds = {
        "at least": _number(requirement.figure, requirement.at_least),
        "at most": _number(requirement.figure, requirement.at_most),
        "nothing but": ", ".join(requirement.only or ()),
    }
    asked = [f"{word} {bound}" for word, bound in bounds.items() if bound]
    asked = " and ".join([*asked, *([mostly] if mostly else [])])
    name = _name(requirement.figure, samples)
    return f"{name}: {shown(requirement.figure, figures)}, asked for: {asked}."


def shown(figure: str, figures: dict) -> str:
    """A figure for people."""
    value = figures.get(figure)
    if value is None:
        return "not measured"
    return ", ".join(value) if isinstance(value, list) else _number(figure, value)


def _name(figure: str, samples: str) -> str:
    return _NAMES.get(figure) or f"{figure} on the hidden {samples}"


def _number(figure: str, value: Any) -> str:
    if value is None:
        return ""
    if figure in KNOWN:
        return KNOWN[figure].shown(value)
    if figure == "sparsity":
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}"


def _best(curve: Curve) -> str:
    """Where the curve first reaches its highest share, coming from the side of low shares."""
    highest = max(share for _, share in curve.shares)
    corners = [x for x, share in curve.shares if share == highest]
    rising = curve.shares[-1][1] >= curve.shares[0][1]
    return _number(curve.figure, min(corners) if rising else max(corners))
