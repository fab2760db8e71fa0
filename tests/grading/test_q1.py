"""The sheet's first question: what the labs say an exercise is worth, the assignment says too."""

import re

import pytest

from labkit.authoring.source import course_root
from labkit.grading import assignment

Q1 = assignment.load(course_root() / "grading" / "q1.yaml")
PATTERN = r'tags=\["(?:check|written)"\] (?:exercise|question)="(\w+)" points=(\d+)'


def test_its_four_parts_weigh_the_same():
    assert [sum(item.points for item in part.items) for part in Q1.parts] == [45] * 4


@pytest.mark.parametrize("lab", [notebook.lab for notebook in Q1.notebooks])
def test_the_points_of_exercises_and_answers_are_the_labs(lab):
    path = course_root() / "solutions" / f"{lab}.py"
    lab_says = {name: int(n) for name, n in re.findall(PATTERN, path.read_text("utf-8"))}
    asked = {i.name: i.points for kind in ("exercise", "written") for i in Q1.of_lab(kind, lab)}
    assert asked and asked == {name: lab_says[name] for name in asked}
    # What is not called writes the file that is measured, or trains what is in it.
    assert all(
        name.startswith(("convert_", "make_", "fine_")) for name in set(lab_says) - set(asked)
    )
