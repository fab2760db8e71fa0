"""The labs as they are: current, complete and accessible."""

import base64
import re

import nbformat
import pytest

from labkit import course
from labkit.authoring.build import build
from labkit.authoring.source import sources, tagged

ROOT = course.root()
SOURCES = sources(root=ROOT)
NAMES = [source.name for source in SOURCES]
each_lab = pytest.mark.parametrize("source", SOURCES, ids=NAMES)


def stored(source):
    return nbformat.read(ROOT / "solutions" / f"{source.name}.ipynb", as_version=4)


def outputs(notebook):
    return [o for cell in notebook.cells for o in cell.get("outputs", [])]


def test_every_number_belongs_to_one_lab():
    numbers = [source.number for source in SOURCES]
    assert numbers == sorted(set(numbers))


def headline(source):
    """The file that a lab says it is about."""
    (setup,) = [c for c in source.notebook.cells if tagged(c, "setup")]
    (named,) = re.findall(r'headline="([^"]+)"', setup.source)
    return named


def test_notebooks_are_current_and_leak_nothing():
    assert build(check=True, root=ROOT) == []


def test_pictures_of_results_are_figures_of_the_executed_labs():
    """Byte for byte, so that none is left of an earlier execution; only the hands show data."""
    figures = {
        base64.b64decode(output.data["image/png"])
        for source in SOURCES
        for output in outputs(stored(source))
        if "image/png" in output.get("data", {})
    }
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.png"))
    others = [path.name for path in pictures if path.read_bytes() not in figures]
    assert others == ["hands.png"] and len(pictures) > 3


@each_lab
def test_anatomy(source):
    cells = source.notebook.cells
    assert cells[0].source.startswith(f"# Lab {source.number} · ")
    assert "**You will be able to**" in cells[0].source and "**Time:**" in cells[0].source
    headings = [
        line
        for cell in cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    for heading in ("What to hand in", "Published against measured", "Questions", "Summary"):
        assert f"## {heading}" in headings
    (parameters,) = [c for c in cells if tagged(c, "parameters")]
    for name in ("PROFILE", "DATA", "SEED", "OUT"):
        assert re.search(rf"^{name} = ", parameters.source, re.MULTILINE)
    assert len([c for c in cells if tagged(c, "setup")]) == 1
    assert any(tagged(c, "written") for c in cells)
    assert tagged(cells[-1], "finish") and cells[-1].source == "lab.finish()"
    assert "predict(" in "".join(c.source for c in cells)


@each_lab
def test_the_file_of_the_lab_is_asked_for_and_written(source):
    (asked,) = [c for c in source.notebook.cells if c.source.startswith("## What to hand in")]
    assert f"`{headline(source)}`" in asked.source
    shown = [o["data"]["text/plain"] for o in stored(source).cells[-1].outputs if "data" in o]
    assert headline(source) in shown[-1]


@each_lab
def test_every_exercise_names_its_parts(source):
    for cell in source.notebook.cells:
        if tagged(cell, "exercise"):
            assert '"""' in cell.source, f"{cell.id}: say what is asked for in a docstring"
            between = cell.source.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
            assert 1 <= len(between.strip().splitlines()) <= 8
        if tagged(cell, "check"):
            assert "what=" in cell.source and "why=" in cell.source
            assert "misconceptions=" in cell.source or "otherwise=" in cell.source, cell.id


@each_lab
def test_every_image_has_an_alternative_text(source):
    images = [o for o in outputs(stored(source)) if "image/png" in o.get("data", {})]
    assert images
    for output in images:
        assert len(output.metadata["image/png"]["alt"]) > 20


@each_lab
def test_stored_outputs_are_of_the_full_profile_and_name_their_data(source):
    notebook = stored(source)
    assert notebook.metadata["labkit"]["profile"] == "full"
    texts = [o.get("data", {}).get("text/markdown", "") for o in outputs(notebook)]
    (opening,) = [text for text in texts if text.startswith("**Data:**")]
    assert re.search(r"(real|synthetic) (images|samples)", opening)
    assert "**Profile:** full" in opening


@each_lab
def test_stored_outputs_show_no_folder_of_a_machine(source):
    text = "\n".join(str(output) for output in outputs(stored(source)))
    assert not re.search(r"(/tmp/|/home/|/root/|/Users/|[A-Z]:\\\\)", text)


@each_lab
def test_stored_tables_leave_blank_what_is_missing(source):
    """As `measure.printed` does, where pandas says NaN, <NA> or None."""
    shown = [output.get("data", {}) for output in outputs(stored(source))]
    tables = [data["text/plain"] for data in shown if "<table" in data.get("text/html", "")]
    assert [table for table in tables if re.search(r"\b(NaN|NaT|None)\b|<NA>", table)] == []
    assert tables


@each_lab
def test_stored_checks_passed(source):
    boxes = [o["data"]["text/plain"] for o in outputs(stored(source)) if "data" in o]
    assert [box for box in boxes if box.startswith(("✗", "…"))] == []
    assert any(box.startswith("✓ passed") for box in boxes)
