"""Proves a lab's checks: the solution passes them, and nothing else does.

The code cells run in this process, in order. Before each exercise its blank version is tried in a
copy of the namespace, together with the cells up to its check, which must not pass. Nor may a check
pass that finds all exercises blank, although everything else is there. Cells that neither an
exercise nor a check depends on, which are most of the training, are left out.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
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
    """

    exercises: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def prove(source: Source, parameters: dict) -> Proof:
    """Run a lab's solution, each exercise blanked alone, and the untouched student notebook.

    Args:
        source: the lab.
        parameters: PROFILE, DATA, SEED, OUT.
    """
    matplotlib.use("Agg")
    cells = [c for c in source.notebook.cells if c.cell_type == "code"]
    blanks = [c for c in student_notebook(source).cells if c.cell_type == "code"]
    needed = dependencies.needed(cells, _ROOTS)
    proof, error = _prove(cells, blanks, needed, parameters)
    if error and len(needed) < len(cells):  # for want of a cell whose effect no name shows
        proof, error = _prove(cells, blanks, set(range(len(cells))), parameters)
    if error:
        proof.problems.append(f"{source.name}, {error}")
    return proof


def _prove(cells, blanks, needed: set[int], parameters: dict) -> tuple[Proof, str]:
    """The proof from some of the cells, and where the solution failed."""
    checks.reset()
    proof = Proof()
    namespace: dict = {"__name__": "__main__"}
    for index, cell in enumerate(cells):
        if tagged(cell, "exercise"):
            _try_blank(index, cells, blanks, needed, namespace, proof)
        elif tagged(cell, "check") and cell.metadata.get("exercise"):
            _try_untouched(index, cells, blanks, namespace, proof)
        if index not in needed:
            continue
        try:
            _run(cell.source, namespace, cell.id)
        except Exception as error:
            return proof, f"{cell.id}: {type(error).__name__}: {error}"
        if tagged(cell, "parameters"):
            namespace.update(parameters)
    return proof, ""


def verdicts(
    source: Source, parameters: dict, answers: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], str]:
    """What the checks of a lab say of answers that are wrong in known ways.

    Args:
        source: the lab.
        parameters: PROFILE, DATA, SEED, OUT.
        answers: by exercise, what is written in place of its solution, without indentation.

    Returns:
        by exercise and number of the answer, the message of the check that failed, or of the error
        that came before it; "" where the check passed.
    """
    matplotlib.use("Agg")
    cells = [c for c in source.notebook.cells if c.cell_type == "code"]
    needed = dependencies.needed(cells, _ROOTS)
    namespace: dict = {"__name__": "__main__"}
    found = {}
    for index, cell in enumerate(cells):
        if tagged(cell, "exercise"):
            name = cell.metadata["exercise"]
            for number, answer in enumerate(answers.get(name, ())):
                found[name, number] = _verdict(index, cells, needed, namespace, answer)
        if index in needed:
            _run(cell.source, namespace, cell.id)
        if tagged(cell, "parameters"):
            namespace.update(parameters)
    return found


def _verdict(index, cells, needed, namespace, answer) -> str:
    """What comes of the cells from an exercise to its check, the solution replaced by an answer."""
    name = cells[index].metadata["exercise"]
    trial, remembered = dict(namespace), list(checks.results())
    try:
        for i in sorted(needed & set(range(index, len(cells)))):
            code = cells[i].source
            _run(_answered(code, answer) if i == index else code, trial, cells[i].id)
            if tagged(cells[i], "check") and cells[i].metadata["exercise"] == name:
                return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        checks.restore(remembered)
    return ""


def _answered(code: str, answer: str) -> str:
    """A cell with an answer between its marks, indented as the marks are."""
    before, mark, rest = code.partition(f"### {BEGIN}\n")
    _, _, after = rest.partition(f"### {END}")
    space = before[len(before.rstrip(" ")) :]
    return before + mark + textwrap.indent(textwrap.dedent(answer).strip(), space) + "\n" + after


def _try_blank(index, cells, blanks, needed, namespace, proof) -> None:
    name = cells[index].metadata["exercise"]
    proof.exercises.append(name)
    trial = dict(namespace)
    remembered = list(checks.results())
    end = next(
        i
        for i in range(index, len(cells))
        if tagged(cells[i], "check") and cells[i].metadata["exercise"] == name
    )
    failed = False
    for i in sorted(needed & set(range(index, end + 1))):
        try:
            _run((blanks if i == index else cells)[i].source, trial, cells[i].id)
        except checks.CheckFailed:
            failed = i == end
        except Exception:
            continue
    if not failed:
        proof.problems.append(f"exercise {name}: its check passes although nothing is filled in.")
    checks.restore(remembered)


def _try_untouched(index, cells, blanks, namespace, proof) -> None:
    trial = dict(namespace)
    remembered = list(checks.results())
    for cell, blank in zip(cells[:index], blanks, strict=False):
        if tagged(cell, "exercise"):
            with contextlib.suppress(Exception):  # that is what a blank exercise does
                _run(blank.source, trial, cell.id)
    passes = False
    with contextlib.suppress(Exception):
        _run(cells[index].source, trial, cells[index].id)
        passes = True
    if passes:
        name = cells[index].metadata["exercise"]
        proof.problems.append(f"exercise {name}: its check passes on the untouched notebook.")
    checks.restore(remembered)


def _run(code: str, namespace: dict, name: str) -> None:
    exec(compile(code, f"<{name}>", "exec"), namespace)
