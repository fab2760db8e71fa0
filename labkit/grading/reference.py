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
from labkit.grading.inside import answers, plain
from labkit.grading.notebooks import definitions


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


def make(items: list[Item], cells: list[str], secret: bytes, lab: str) -> dict[str, Cases]:
    """The cases of a lab's exercises.

    Args:
        items: of kind "exercise".
        cells: the code cells of the solution.
        secret: seeds the inputs; another secret, other inputs.

    Raises:
        GradingError: a case or the solution fails on it; the message names the exercise.
    """
    if not items:
        return {}
    spec = {
        "cells": cells,
        "exercises": [
            {
                "name": item.name,
                "cases": item.cases,
                "code": item.answer or f"answer = {item.name}(**inputs)",
                "seed": list(hashlib.sha256(secret + item.id.encode()).digest()),
            }
            for item in items
        ],
    }
    ran = subprocess.run(
        [sys.executable, "-m", "labkit.grading.reference"],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        raise GradingError(f"lab {lab}: its exercises cannot be prepared: {last}")
    return {
        name: Cases(tuple(found["inputs"]), found["code"], tuple(found["expected"]))
        for name, found in json.loads(ran.stdout.splitlines()[-1]).items()
    }


def main() -> None:
    """Read a specification from standard input, print the cases as one line of JSON."""
    import labkit  # noqa: F401  (before TensorFlow, which a lab's cells may import)

    spec = json.load(sys.stdin)
    namespace = _namespace(spec["cells"])
    print("\n" + json.dumps({e["name"]: _cases(e, namespace) for e in spec["exercises"]}))


def _cases(exercise: dict, namespace: dict) -> dict:
    import numpy as np

    inputs, expected = [], []
    for number, case in enumerate(exercise["cases"]):
        rng = np.random.default_rng([*exercise["seed"], number])
        try:
            given = eval(case, {"np": np, "rng": rng})
            encoded = plain.encode(dict(given))
        except Exception as error:
            sys.exit(f"{exercise['name']}: case {case!r} fails: {type(error).__name__}: {error}")
        found = answers.one(exercise["code"], plain.decode(encoded), namespace)
        if "answer" not in found:
            sys.exit(f"{exercise['name']}: the solution fails on {case!r}: {found['error']}")
        inputs.append(encoded)
        expected.append(found["answer"])
    return {"inputs": inputs, "code": exercise["code"], "expected": expected}


def _namespace(cells: list[str]) -> dict:
    namespace: dict = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(definitions(cell), "<solution>", "exec"), namespace)
    return namespace


if __name__ == "__main__":
    main()
