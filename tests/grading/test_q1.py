"""The assignment of labs 01 to 04 as a whole: worked labs earn all of it, blank ones nothing."""

import dataclasses

import nbformat
import pytest

from labkit import course, files
from labkit.authoring.build import student_notebook
from labkit.authoring.source import sources
from labkit.compress import post_training
from labkit.grading.assignment import load
from labkit.grading.grade import grade_class

Q1 = load(course.root() / "grading" / "q1.yaml")
LABS = [notebook.lab for notebook in Q1.notebooks]


@pytest.fixture(scope="module")
def handed_in(dense, templates):
    """Files of a network that reads the patterns, as the four labs convert theirs."""
    model = dense(templates, range(24))
    modes = ("float", "dynamic_range", "int16x8", "int8")
    return {
        file.name: post_training.convert(model, mode, templates)
        for file, mode in zip(Q1.files, modes, strict=True)
    }


def test_the_worked_labs_earn_all_and_the_blank_ones_nothing(
    isolated, settings, handed_in, tmp_path
):
    for source in sources(LABS):
        blank = nbformat.writes(student_notebook(source)).encode()
        worked = source.path.with_suffix(".ipynb").read_bytes()
        files.write_bytes(tmp_path / "in" / "worked" / f"{source.name}.ipynb", worked)
        files.write_bytes(tmp_path / "in" / "blank" / f"{source.name}.ipynb", blank)
    for name, content in handed_in.items():
        files.write_bytes(tmp_path / "in" / "worked" / name, content)
    assignment = dataclasses.replace(Q1, data="synthetic")
    blank, worked = grade_class(tmp_path / "in", assignment, tmp_path / "out", settings)
    by_hand = sum(item.points for item in Q1.items if item.by_hand)
    for grade in (blank, worked):
        assert [n["status"] for n in grade["notebooks"]] == ["executed"] * 4, grade["notebooks"]
        assert not grade["score"]["faults"] and not grade["score"]["unread"]
    lost = {item["id"]: item["reasons"] for item in worked["items"] if item["reasons"]}
    assert not lost and worked["score"]["earned"] == Q1.points - by_hand == 145
    assert worked["score"]["waiting"] == by_hand
    assert blank["score"]["earned"] == blank["score"]["waiting"] == 0
    told = [item["reasons"] for item in blank["items"] if item["kind"] == "exercise"]
    assert len(told) == 21 and all("not filled in yet" in reasons[0] for reasons in told)
