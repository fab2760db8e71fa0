"""A lab's exercises filled in otherwise, and what its checks say."""

import ast
import os

import pytest

from labkit.authoring import mutation
from labkit.authoring.source import tagged


@pytest.fixture(scope="session")
def parameters(tmp_path_factory):
    """Of a quick run whose trained networks all proofs share, and the notebooks after them."""
    shared = os.environ.get("LABKIT_OUT") or tmp_path_factory.getbasetemp() / "proofs"
    return {"PROFILE": "quick", "DATA": "synthetic", "SEED": 0, "OUT": str(shared)}


@pytest.fixture(scope="session")
def tried(parameters):
    """A function that gives a lab's checks wrong answers: what is amiss, and all that was said."""

    def problems(source, wrong):
        """wrong: by exercise, pairs of an answer and what the message must hold."""
        answers = {exercise: [code for code, _ in pairs] for exercise, pairs in wrong.items()}
        said = mutation.verdicts(source, parameters, answers)
        found = [
            f"{exercise}: {answer!r} got {said[exercise, number] or 'a pass'!r}, expected {hint!r}"
            for exercise, pairs in wrong.items()
            for number, (answer, hint) in enumerate(pairs)
            if not said[exercise, number] or hint not in said[exercise, number]
        ]
        return found, "\n".join(said.values())

    return problems


@pytest.fixture(scope="session")
def spared():
    """A function that finds the exercises of a lab with fewer than three wrong answers."""

    def problems(source, wrong):
        """wrong: as `tried` takes it; what names no exercise of the lab is a problem, too."""
        names = {c.metadata["exercise"] for c in source.notebook.cells if tagged(c, "exercise")}
        few = {exercise for exercise, answers in wrong.items() if len(answers) < 3}
        return sorted((names ^ set(wrong)) | few)

    return problems


@pytest.fixture(scope="session")
def idle():
    """A function that finds the hints of a lab's checks that none of the wrong answers got."""

    def problems(source, heard, but=()):
        """heard: from `tried`. but: names of exercises whose hints need not be heard."""
        return [
            f"{exercise}: nobody hears {hint!r}"
            for exercise, hint in _hints(source)
            if exercise not in but and hint not in heard
        ]

    return problems


def _hints(source):
    """The misconceptions' texts in the checks of exercises, and the sentences of `that`."""
    for cell in source.notebook.cells:
        if not tagged(cell, "check") or "exercise" not in cell.metadata:
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.keyword) and node.arg == "misconceptions":
                ends = [e.elts[-1] for e in ast.walk(node.value) if isinstance(e, ast.Tuple)]
                for end in ends:
                    if isinstance(end, ast.Constant) and isinstance(end.value, str):
                        yield cell.metadata["exercise"], end.value
