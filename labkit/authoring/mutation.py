"""Proves a lab's checks: the solution passes them, and nothing else does.

The code cells run in this process, in order. Before each exercise its blank version, and answers
that are wrong in known ways, are tried in a copy of the namespace, with the cells up to the check,
which must not pass the blank. Nor may a check pass that finds all exercises blank, although
everything else is there. Cells that neither an exercise nor a check depends on, which are most of
the training, are left out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib

from labkit import checks
from labkit.authoring import dependencies
from labkit.authoring.build import student_notebook
from labkit.authoring.source import BEGIN, END, Source, tagged

#: Tags of the cells that a proof runs, with those that they depend on.
_ROOTS = ("exercise", "check", "parameters", "setup")


@dataclass
class Proof:
    """What was found; a proof holds if `problems` is empty.

    Attributes:
        exercises: names, in order.
        problems: a line for each violation.
        verdicts: by exercise and number of the wrong answer, the message of the check that failed,
            or of the error that came before it; "" where the check passed.
    """

    exercises: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    verdicts: dict[tuple[str, int], str] = field(default_factory=dict)


def prove(
    source: Source, parameters: dict, wrong: Mapping[str, Sequence[str]] | None = None
) -> Proof:
    """Run a lab's solution, each exercise blanked or answered wrong, and the untouched notebook.

    Args:
        source: the lab.
        parameters: PROFILE, DATA, SEED, OUT.
        wrong: by exercise, the answers that are written in place of its solution, without
            indentation.
    """
    matplotlib.use("Agg")
    cells = [c for c in source.notebook.cells if c.cell_type == "code"]
    blanks = [c.source for c in student_notebook(source).cells if c.cell_type == "code"]
    needed = dependencies.needed(cells, _ROOTS)
    proof, error = _walk(cells, blanks, needed, parameters, wrong or {})
    if error and len(needed) < len(cells):  # for want of a cell whose effect no name shows
        proof, error = _walk(cells, blanks, set(range(len(cells))), parameters, wrong or {})
    if error:
        proof.problems.append(f"{source.name}, {error}")
    return proof


def _walk(cells, blanks, needed: set[int], parameters: dict, wrong: Mapping) -> tuple[Proof, str]:
    """The proof from some of the cells, and where the solution failed."""
    checks.reset()
    proof = Proof()
    namespace: dict = {"__name__": "__main__"}
    ends = {c.metadata["exercise"]: i for i, c in enumerate(cells) if tagged(c, "check")}
    earlier: list[str] = []  # exercises, blank
    for index in sorted(needed):
        cell, name = cells[index], cells[index].metadata.get("exercise")
        if tagged(cell, "exercise"):
            proof.exercises.append(name)
            rest = [cells[i].source for i in sorted(needed) if index < i <= ends[name]]
            *_, of_check = _errors([blanks[index], *rest], namespace)
            if not isinstance(of_check, checks.CheckFailed):
                proof.problems.append(
                    f"exercise {name}: its check passes although nothing is filled in."
                )
            for number, answer in enumerate(wrong.get(name, ())):
                errors = _errors([answered(cell.source, answer), *rest], namespace)
                proof.verdicts[name, number] = next(map(_said, filter(None, errors)), "")
            earlier.append(blanks[index])
        elif tagged(cell, "check"):
            *_, of_check = _errors([*earlier, cell.source], namespace)
            if of_check is None:
                proof.problems.append(
                    f"exercise {name}: its check passes on the untouched notebook."
                )
        try:
            _run(cell.source, namespace, cell.id)
        except Exception as error:
            return proof, f"{cell.id}: {_said(error)}"
        if tagged(cell, "parameters"):
            namespace.update(parameters)
    return proof, ""


def _errors(codes: Iterable[str], namespace: dict) -> list[Exception | None]:
    """What each raises, run one after the other in a copy of the namespace."""
    trial, remembered, errors = dict(namespace), checks.results(), []
    for code in codes:
        try:
            _run(code, trial, "trial")
            errors.append(None)
        except Exception as error:
            errors.append(error)
    checks.restore(remembered)
    return errors


def answered(code: str, answer: str | None = None) -> str:
    """An exercise's cell without its marks: with an answer in place of its solution, or with that.

    The answer is indented as the solution's mark is.
    """
    if answer is not None:
        before, _, rest = code.partition(f"### {BEGIN}\n")
        _, _, after = rest.partition(f"### {END}")
        start = before.rstrip(" ")
        answer = textwrap.indent(textwrap.dedent(answer).strip(), before[len(start) :])
        code = start + answer + after
    return re.sub(rf" *### (?:{BEGIN}|{END})\n?", "", code).rstrip()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _run(code: str, namespace: dict, name: str) -> None:
    exec(compile(code, f"<{name}>", "exec"), namespace)
