"""The course's cases: each solution answers them all, and an untouched notebook none."""

import pytest

from labkit import course
from labkit.authoring.build import student_notebook
from labkit.authoring.source import sources
from labkit.grading import reference
from labkit.grading.assignment import load
from labkit.grading.inside import answers, plain

GRADING = course.root() / "grading"
LABS = [
    (path.stem, notebook.lab)
    for path in sorted(GRADING.glob("q*.yaml"))
    for notebook in load(path).notebooks
]
SECRET = b"of the tests"


def asked(source, assignment):
    cells = [c.source for c in source.notebook.cells if c.cell_type == "code"]
    return reference.Asked(assignment.of_lab("exercise", source.name), cells)


@pytest.fixture(scope="module")
def course_cases():
    """The cases of all labs, by lab."""
    labs = {lab: load(GRADING / f"{name}.yaml") for name, lab in LABS}
    found = {source.name: asked(source, labs[source.name]) for source in sources(list(labs))}
    return reference.make(found, SECRET)


@pytest.mark.parametrize(("name", "lab"), LABS, ids=[lab for _, lab in LABS])
def test_solutions_answer_every_case_and_depend_on_the_secret(name, lab, course_cases):
    (source,) = sources([lab])
    assignment = load(GRADING / f"{name}.yaml")
    given = student_notebook(source)
    for kind, key in (("exercise", "exercise"), ("written", "question")):
        known = {c.metadata.get(key) for c in given.cells if kind in c.metadata.get("tags", [])}
        assert {item.name for item in assignment.of_lab(kind, lab)} <= known
    items, cases = assignment.of_lab("exercise", lab), course_cases[lab]
    assert cases.keys() == {item.name for item in items}
    for item in items:
        found = cases[item.name]
        assert len(found.expected) == len(item.cases)
        assert plain.agrees(*(plain.decode(found.expected[0]) for _ in "ab"), item.tolerance)
        # Two cases of one exercise that have the same answer could be answered by a constant.
        values = [plain.decode(e) for e in found.expected]
        assert len(values) == 1 or not plain.agrees(values[0], values[1], 1e-9)


def test_stubs_are_not_filled_in(rehearsal_lab, assignment):
    labs = {"90_rehearsal": asked(rehearsal_lab, assignment)}
    secrets = (SECRET, SECRET, b"another")
    cases, again, other = (reference.make(labs, s)["90_rehearsal"] for s in secrets)
    assert cases == again and cases["step"].inputs != other["step"].inputs
    blank = next(c for c in student_notebook(rehearsal_lab).cells if c.id == "lab90-step")
    namespace = {}
    exec(blank.source, namespace)
    found = answers.one(cases["step"].code, plain.decode(cases["step"].inputs[0]), namespace)
    assert found == {"error": answers.NOT_FILLED_IN}


def test_a_definition_that_stands_on_a_computed_value_is_told_by_lab_and_cell(
    rehearsal_lab, assignment
):
    found = asked(rehearsal_lab, assignment)
    found.cells.append("BASE = {1: 2}\nBOTH = BASE | {3: 4}\n\ndef helper(modes=BOTH): ...")
    where = rf"lab 90_rehearsal: code cell {len(found.cells)}: .*'BOTH' is not defined"
    with pytest.raises(reference.GradingError, match=where):
        reference.make({"90_rehearsal": found}, SECRET)
