import nbformat
import pytest

from labkit.authoring.build import build, execute
from labkit.course import CourseError


def student(course):
    return nbformat.read(course / "notebooks" / "00_tiny.ipynb", as_version=4)


def test_student_notebook_has_stubs_and_no_solutions(course):
    assert build(root=course) == ["notebooks/00_tiny.ipynb"]
    notebook = student(course)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "secret" not in text and "SOLUTION" not in text
    (exercise,) = [c for c in notebook.cells if c.id == "lab00-double"]
    assert '"""Twice x."""\n    # YOUR CODE HERE\n    raise NotImplementedError(' in exercise.source
    assert "exercise double is not filled in" in exercise.source
    compile(exercise.source, "cell", "exec")
    assert "*Your answer here.*" in text
    assert all(not c.get("outputs") for c in notebook.cells)


def test_build_is_deterministic_and_writes_only_what_changed(course, edit):
    build(root=course)
    first = (course / "notebooks" / "00_tiny.ipynb").read_bytes()
    assert build(root=course) == []
    edit("# # Lab 00", "# # Lab 00!")
    assert build(root=course) == ["notebooks/00_tiny.ipynb"]
    edit("# # Lab 00!", "# # Lab 00")
    build(root=course)
    assert (course / "notebooks" / "00_tiny.ipynb").read_bytes() == first


@pytest.fixture
def built(course, tmp_path):
    build(root=course)
    execute(root=course, profile="quick", data="synthetic")
    assert build(check=True, root=course) == []
    return course


def test_execute_stores_outputs_and_provenance(built):
    notebook = nbformat.read(built / "solutions" / "00_tiny.ipynb", as_version=4)
    nbformat.validate(notebook)
    outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
    assert any("six 6" in o.get("text", "") for o in outputs)
    assert notebook.metadata["labkit"]["profile"] == "quick"
    assert "papermill" not in notebook.metadata
    assert str(built) not in nbformat.writes(notebook)


def test_check_finds_what_is_stale(built, edit):
    edit('print("six", double(3))', 'print("six!", double(3))')
    problems = build(check=True, root=built)
    assert "notebooks/00_tiny.ipynb is stale: run `labkit build`." in problems
    assert any("executed with other code: run `labkit build --execute 00`" in p for p in problems)
    build(root=built)
    assert len(build(check=True, root=built)) == 1  # new code needs an execution


def test_new_prose_needs_no_execution(built, edit):
    path = built / "solutions" / "00_tiny.ipynb"
    before = nbformat.read(path, as_version=4)
    edit("# # Lab 00", "# # Lab 0")
    assert any("has other texts: run `labkit build`" in p for p in build(check=True, root=built))
    assert build(root=built) == ["notebooks/00_tiny.ipynb", "solutions/00_tiny.ipynb"]
    assert build(check=True, root=built) == []
    after = nbformat.read(path, as_version=4)
    assert after.cells[0].source.startswith("# Lab 0 ")
    assert [c.get("outputs") for c in after.cells] == [c.get("outputs") for c in before.cells]
    assert build(root=built) == []


def test_check_finds_leaks(built):
    path = built / "notebooks" / "00_tiny.ipynb"
    notebook = student(built)
    (exercise,) = [c for c in notebook.cells if c.id == "lab00-double"]
    exercise.source = exercise.source.replace("# YOUR CODE HERE", "secret_answer  =  x + x")
    notebook.cells[0].source += "\n### BEGIN SOLUTION"
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="out")]
    path.write_text(nbformat.writes(notebook))
    problems = "\n".join(build(check=True, root=built))
    assert "a line of the solution: secret_answer = x + x" in problems
    assert "a marker of a solution" in problems
    assert "it holds outputs" in problems


def test_check_finds_cells_that_were_not_executed(built):
    path = built / "solutions" / "00_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    cell.execution_count = None
    nbformat.write(notebook, path)
    (problem,) = build(check=True, root=built)
    assert problem == (
        f"solutions/00_tiny.ipynb, cell {cell.id}: it was not executed: "
        "run `labkit build --execute 00`."
    )


def test_check_finds_orphans_missing_and_edited_notebooks(built):
    (built / "notebooks" / "09_gone.ipynb").write_text("{}")
    path = built / "solutions" / "00_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "# Edited"
    path.write_text(nbformat.writes(notebook))
    problems = "\n".join(build(check=True, root=built))
    assert "notebooks/09_gone.ipynb has no source" in problems
    assert "has other texts" in problems
    path.unlink()
    assert "00_tiny.ipynb is missing" in "\n".join(build(check=True, root=built))


def test_a_failing_lab_stores_nothing(course, edit):
    edit('print("six", double(3))', 'raise RuntimeError("broken")')
    with pytest.raises(CourseError, match=r"00_tiny: cell .* RuntimeError: broken"):
        execute(root=course, profile="quick", data="synthetic")
    assert not (course / "solutions" / "00_tiny.ipynb").exists()
