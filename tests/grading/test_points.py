"""What the labs say an exercise or an answer is worth, their assignments say too."""

import re

import pytest

from labkit import course
from labkit.grading import assignment

GRADING = course.root() / "grading"
Q1 = assignment.load(GRADING / "q1.yaml")
PATTERN = r'tags=\["(?:check|written)"\] (?:exercise|question)="(\w+)" points=(\d+)'


def lab_says(lab):
    text = (course.root() / "solutions" / f"{lab}.py").read_text("utf-8")
    return {name: int(n) for name, n in re.findall(PATTERN, text)}


def asked(of, lab):
    return {i.name: i.points for kind in ("exercise", "written") for i in of.of_lab(kind, lab)}


@pytest.mark.parametrize("name", ["q8", "q9", "q11"])
def test_an_assignment_of_one_lab_asks_for_all_of_it(name):
    found = assignment.load(GRADING / f"{name}.yaml")
    (notebook,) = found.notebooks
    assert asked(found, notebook.lab) == lab_says(notebook.lab)


def test_the_four_parts_of_the_first_weigh_the_same():
    assert [sum(item.points for item in part.items) for part in Q1.parts] == [45] * 4


@pytest.mark.parametrize("lab", [notebook.lab for notebook in Q1.notebooks])
def test_the_first_asks_for_what_is_called(lab):
    said, points = lab_says(lab), asked(Q1, lab)
    assert points and points == {name: said[name] for name in points}
    # What is not called writes the file that is measured, or trains what is in it.
    assert all(name.startswith(("convert_", "make_", "fine_")) for name in set(said) - set(points))
