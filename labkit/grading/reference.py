"""The cases of exercises and the solution's answers to them; trusted, run as a program.

Only imports, functions, classes and literal constants of the solution are executed: seconds, not
the minutes of a whole lab.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass

from labkit.grading import GradingError
from labkit.grading.assignment import Item
from labkit.grading.code_cells import definitions
from labkit.grading.inside import answers, plain


@dataclass(frozen=True)
class Cases:
    """Of one exercise.

    Attributes:
        inputs: encoded, a dict a case.
        code: that computes `answer` from the inputs.
        expected: encoded answers of the solution; they never enter a submission's process.
    """

    inputs: tuple
    code: str
    expected: tuple


@dataclass(frozen=True)
class Asked:
    """Of a lab.

    Attributes:
        items: of kind "exercise".
        cells: the code cells of the solution.
    """

    items: list[Item]
    cells: list[str]


def make(labs: dict[str, Asked], secret: bytes) -> dict[str, dict[str, Cases]]:
    """The cases of the exercises of labs, by their names; one process makes them all.

    Args:
        secret: seeds the inputs; another secret, other inputs.

    Raises:
        GradingError: a case or the solution fails on it; the message names lab and exercise.
    """
    spec = {
        lab: {
            "cells": asked.cells,
            "exercises": [
                {
                    "name": item.name,
                    "cases": item.cases,
                    "code": item.answer or f"answer = {item.name}(**inputs)",
                    "seed": list(hashlib.sha256(secret + item.id.encode()).digest()),
                }
                for item in asked.items
            ],
        }
        for lab, asked in labs.items()
        if asked.items
    }
    found = _run(spec) if spec else {}
    return {
        lab: {
            name: Cases(tuple(case["inputs"]), case["code"], tuple(case["expected"]))
            for name, case in found.get(lab, {}).items()
        }
        for lab in labs
    }


def _run(spec: dict) -> dict:
    ran = subprocess.run(
        [sys.executable, "-m", "labkit.grading.reference"],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        raise GradingError(f"exercises cannot be prepared: {last}")
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    """Read a specification from standard input, print the cases as one line of JSON."""
    import labkit  # noqa: F401  (before TensorFlow, which a lab's cells may import)

    found = {}
    for lab, asked in json.load(sys.stdin).items():
        namespace = _namespace(lab, asked["cells"])
        found[lab] = {e["name"]: _cases(lab, e, namespace) for e in asked["exercises"]}
    print("\n" + json.dumps(found))


def _cases(lab: str, exercise: dict, namespace: dict) -> dict:
    import numpy as np

    name, inputs, expected = f"lab {lab}: {exercise['name']}", [], []
    for number, case in enumerate(exercise["cases"]):
        rng = np.random.default_rng([*exercise["seed"], number])
        try:
            given = eval(case, {"np": np, "rng": rng})
            encoded = plain.encode(dict(given))
        except Exception as error:
            sys.exit(f"{name}: case {case!r} fails: {type(error).__name__}: {error}")
        found = answers.one(exercise["code"], plain.decode(encoded), namespace)
        if "answer" not in found:
            sys.exit(f"{name}: the solution fails on {case!r}: {found['error']}")
        inputs.append(encoded)
        expected.append(found["answer"])
    return {"inputs": inputs, "code": exercise["code"], "expected": expected}


def _namespace(lab: str, cells: list[str]) -> dict:
    namespace: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells, 1):
        try:
            exec(compile(definitions(cell), "<solution>", "exec"), namespace)
        except Exception as error:
            sys.exit(
                f"lab {lab}: code cell {number}: {type(error).__name__}: {error}; only imports, "
                "functions, classes and literal constants are executed here: what a default, a "
                "decorator or a base class names has to be one of these"
            )
    return namespace


if __name__ == "__main__":
    main()
