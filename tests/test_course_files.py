"""The course's files, in a checkout and in an installed package."""

import json
from pathlib import Path

import pytest

from labkit import course
from labkit.authoring import build
from labkit.authoring.source import sources
from labkit.datasets import folders

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A labkit that was installed from a wheel: its own files, and no checkout around."""
    shipped = tmp_path / "site-packages" / "labkit" / "course_files"
    for name in ("solutions/00_first.py", "notebooks/00_first.ipynb", "grading/q0.yaml"):
        path = shipped / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"shipped {path.name}", encoding="utf-8")
    monkeypatch.setattr(course, "_SHIPPED", shipped)
    monkeypatch.setattr(course, "_PACKAGE", shipped.parent)
    here = tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    return shipped


def test_a_checkout_is_found_from_below():
    assert course.root(CHECKOUT / "docs" / "pictures") == CHECKOUT
    assert course.around(CHECKOUT.parent) is None


def test_a_package_brings_its_labs(installed):
    assert course.root() == installed
    assert course.places() == [installed]
    with pytest.raises(course.CourseError, match=r"labkit labs get FOLDER --solutions"):
        course.writable_root()
    with pytest.raises(course.CourseError, match="belong to the installed package"):
        build.build()


def test_a_checkout_around_comes_before_the_package(installed, monkeypatch):
    monkeypatch.chdir(CHECKOUT / "tests")
    assert course.root() == course.writable_root() == CHECKOUT
    assert course.places() == [CHECKOUT, installed]


def test_students_get_notebooks_and_nothing_else(installed, tmp_path):
    copied = course.copy(tmp_path / "labs")
    assert copied == course.Copied(["notebooks/00_first.ipynb"], [])
    assert [p.name for p in (tmp_path / "labs").iterdir()] == ["notebooks"]


def test_what_was_worked_on_stays(installed, tmp_path):
    labs = tmp_path / "labs"
    course.copy(labs)
    work = labs / "notebooks" / "00_first.ipynb"
    assert course.copy(labs) == course.Copied([], [])
    work.write_text("mine", encoding="utf-8")
    assert course.copy(labs, solutions=True) == course.Copied(
        ["solutions/00_first.py", "grading/q0.yaml"], ["notebooks/00_first.ipynb"]
    )
    assert work.read_text(encoding="utf-8") == "mine"
    assert course.copy(labs, overwrite=True).written == ["notebooks/00_first.ipynb"]
    assert work.read_text(encoding="utf-8") == "shipped 00_first.ipynb"


def test_a_copy_with_solutions_is_a_course(installed, tmp_path):
    course.copy(tmp_path / "mine", solutions=True)
    assert course.root(tmp_path / "mine" / "notebooks") == tmp_path / "mine"


def test_data_lies_beside_the_copied_notebooks(installed, tmp_path, monkeypatch):
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    course.copy(tmp_path / "labs")
    for folder in (tmp_path / "labs", tmp_path / "labs" / "notebooks"):
        monkeypatch.chdir(folder)
        assert folders.real() == tmp_path / "labs" / "data" / "real"


def test_no_copy_into_the_course_itself():
    with pytest.raises(course.CourseError, match="lies in the course itself"):
        course.copy(CHECKOUT / "labs")


def test_labs_say_their_title_and_time():
    labs = sources()
    assert [lab.title for lab in labs][:2] == ["Start here", "A baseline worth compressing"]
    assert all("minutes" in lab.time for lab in labs)


def test_the_notebooks_of_the_checkout_are_what_is_copied(tmp_path):
    written = course.copy(tmp_path / "all", solutions=True).written
    assert {"notebooks/00_start_here.ipynb", "solutions/11_which_layers_matter.py"} <= set(written)
    assert not [name for name in written if name.startswith("solutions") and "ipynb" in name]
    json.loads((tmp_path / "all" / "notebooks" / "00_start_here.ipynb").read_bytes())
