"""Every exercise of every lab: its check passes the solution and refuses everything else."""

import ast

import pytest
from wrong_answers import WRONG

from labkit.authoring import mutation
from labkit.authoring.source import sources, tagged
from labkit.grading.code_cells import definitions

LABS = sources()
each_lab = pytest.mark.parametrize("lab", LABS, ids=[lab.name for lab in LABS])


@each_lab
def test_only_right_answers_pass(lab, out):
    """Neither a blank nor a wrong answer does; mistakes are named, and no hint is idle.

    One test of a lab, because each walk through its cells costs as much as the lab.
    """
    wrong = WRONG.get(lab.name, {})
    answers = {exercise: [answer for answer, _ in pairs] for exercise, pairs in wrong.items()}
    parameters = {"PROFILE": "quick", "DATA": "synthetic", "SEED": 0, "OUT": out}
    proof = mutation.prove(lab, parameters, answers)
    found = proof.problems + _misnamed(wrong, proof.verdicts) + _idle(lab, proof.verdicts)
    assert found == []
    assert len(proof.exercises) >= 2


def _misnamed(wrong, verdicts):
    """The wrong answers that pass, or whose message lacks what it must say."""
    problems = []
    for (exercise, number), said in verdicts.items():
        answer, hint = wrong[exercise][number]
        if not said or hint not in said:
            problems.append(f"{exercise}: {answer!r} got {said or 'a pass'!r}, expected {hint!r}")
    return problems


def _idle(lab, verdicts):
    """The misconceptions in a lab's checks that none of the wrong answers is told."""
    heard = "\n".join(verdicts.values())
    return [
        f"{cell.metadata['exercise']}: nobody hears {hint!r}"
        for cell in lab.notebook.cells
        if tagged(cell, "check")
        for hint in _misconceptions(cell.source)
        if hint not in heard
    ]


def _misconceptions(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg == "misconceptions":
            ends = [e.elts[-1] for e in ast.walk(node.value) if isinstance(e, ast.Tuple)]
            for end in ends:
                if isinstance(end, ast.Constant) and isinstance(end.value, str):
                    yield end.value


@each_lab
def test_definitions_stand_alone(lab):
    """To ask for an exercise's answers, the grader executes nothing else of the lab's own cells."""
    namespace = {"__name__": "__main__"}
    for cell in lab.notebook.cells:
        if cell.cell_type == "code":
            exec(compile(definitions(cell.source), f"<{cell.id}>", "exec"), namespace)


@each_lab
def test_every_exercise_has_three_wrong_answers(lab):
    exercises = {c.metadata["exercise"] for c in lab.notebook.cells if tagged(c, "exercise")}
    wrong = WRONG.get(lab.name, {})
    few = {exercise for exercise, answers in wrong.items() if len(answers) < 3}
    assert sorted((exercises ^ set(wrong)) | few) == []
