import pytest

from labkit import course as courses
from labkit.authoring.source import solution_lines, sources
from labkit.course import CourseError


def test_labs_are_named_by_number_or_name(course):
    for name in ("0", "00", "00_tiny", "00_tiny.py"):
        (source,) = sources([name], course)
        assert source.name == "00_tiny" and source.number == "00"
    with pytest.raises(CourseError, match=r"no lab '7'; the labs are 00_tiny"):
        sources(["7"], course)


def test_root_is_found_from_below(course, tmp_path_factory):
    assert courses.root(course / "solutions") == course


def test_cell_ids_and_nbgrader_metadata(course):
    (source,) = sources(root=course)
    cells = {cell.id: cell for cell in source.notebook.cells}
    assert "lab00-double" in cells and "lab00-double-check" in cells and "lab00-why" in cells
    kinds = {
        name: (
            c.metadata.nbgrader["grade"],
            c.metadata.nbgrader["solution"],
            c.metadata.nbgrader["locked"],
            c.metadata.nbgrader.get("points"),
        )
        for name, c in cells.items()
    }
    assert kinds["lab00-double"] == (False, True, False, None)
    assert kinds["lab00-double-check"] == (True, False, True, 2)
    assert kinds["lab00-why"] == (True, True, False, 3)
    assert kinds["lab00-000"] == (False, False, True, None)


def test_checks_are_folded_and_nothing_else(course):
    """What they expect is not to be read above the exercise."""
    (source,) = sources(root=course)
    folded = {c.id for c in source.notebook.cells if c.metadata.get("jupyter")}
    assert folded == {"lab00-double-check"}


def test_solution_lines_are_the_telling_ones(course):
    (source,) = sources(root=course)
    assert solution_lines(source) == {
        "secret_answer = x + x",
        "return secret_answer",
        "Because of the secret reason.",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    ### END SOLUTION\n", "", "must come in pairs"),
        ('tags=["exercise"] exercise="double"', "", "belongs into a cell tagged"),
        ('tags=["exercise"] exercise="double"', 'tags=["exercise"]', 'needs exercise="name"'),
        ('exercise="double" points=2', 'exercise="double"', "needs points=N"),
        (
            'tags=["check"] exercise="double"',
            'tags=["check"] exercise="other"',
            "no exercise 'other'",
        ),
        ('tags=["check"] exercise="double" points=2', "", "'double'.* has no check"),
        ('question="why"', "", 'needs question="name"'),
    ],
)
def test_broken_conventions_are_named(course, edit, old, new, message):
    edit(old, new)
    with pytest.raises(CourseError, match=rf"00_tiny\.py.*{message}"):
        sources(root=course)
