"""What runs inside a submission's own kernel: calls the student's function, writes what it returns.

Nothing here is trusted, and nothing here is worth attacking: the kernel knows the inputs of the
cases, not the answers. A submission that writes the right answers has computed them.
"""

from __future__ import annotations

import json
from pathlib import Path

from labkit.grading.inside import plain

CASES, ANSWERS, AGAIN = "cases", "answers", ".again"
NOT_FILLED_IN = "not filled in yet"
NOT_PLAIN = "the result is neither a number nor an array, nor a list of those"


_kept: dict = {}


def answer(exercise: str, namespace: dict, again: bool = False) -> None:
    """Answer the cases of an exercise with the definitions of a notebook so far.

    Args:
        exercise: names `cases/EXERCISE.json`; `answers/EXERCISE.json` is written.
        namespace: of the notebook, `globals()`.
        again: at the notebook's end; `answers/EXERCISE.again.json` is written.
    """
    spec = json.loads(Path(CASES, f"{exercise}.json").read_text(encoding="utf-8"))
    given = [plain.decode(case) for case in spec["cases"]]
    found = [one(spec["answer"], inputs, namespace) for inputs in given]
    folder = Path(ANSWERS)
    folder.mkdir(exist_ok=True)
    name = f"{exercise}{AGAIN if again else ''}.json"
    (folder / name).write_text(json.dumps(found), encoding="utf-8")


def keep(names: list[str], namespace: dict) -> None:
    """Remember what stands under some names, before a stub is defined under them."""
    _kept.clear()
    _kept.update({name: namespace[name] for name in names if name in namespace})


def put_back(names: list[str], namespace: dict) -> None:
    """What was remembered takes the stub's place."""
    namespace.update({name: _kept[name] for name in names if name in _kept})


def one(code: str, inputs: dict, namespace: dict) -> dict:
    """{"answer": plain value} or {"error": name and text} of one case."""
    trial = {**namespace, **inputs, "inputs": inputs}
    try:
        exec(compile(code, "<answer>", "exec"), trial)
        return {"answer": plain.encode(trial["answer"])}
    except NotImplementedError:
        return {"error": NOT_FILLED_IN}
    except plain.NotPlainError as error:
        return {"error": f"{NOT_PLAIN}: {error}"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
