"""What the site is generated from: stored tables, the table of the course, guides, fronts."""

import dataclasses
import itertools
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sphinx", reason="the site needs the extra site, and Python 3.11")

from labkit import course as course_files
from labkit import measure
from labkit.authoring.site import (
    build,
    course,
    front,
    guides,
    labs,
    pages,
    published,
    stored,
    tables,
)
from labkit.authoring.source import solution_lines
from labkit.course import CourseError

ROOT = course_files.root()


@pytest.fixture(scope="module")
def executed():
    return stored.read(ROOT)


@pytest.fixture(scope="module")
def table():
    return course.read(ROOT / "docs" / "course.toml")


def frame(**columns):
    index = pd.Index(["int8", "<16 & x>", "float"], name="technique")
    return pd.DataFrame(columns, index=index)


def test_a_frame_is_read_as_it_was_written():
    written = frame(model=["a", "b", "c"], bytes=[1, 2, 3], value=[0.5, np.nan, 1.0])
    (found,) = tables.read(f"<p>x</p>{written._repr_html_()}")
    assert found.index.names == ["technique"]
    assert [key for (key,) in found.index] == list(written.index)
    assert list(found["bytes"]) == ["1", "2", "3"]
    assert list(found["value"]) == ["0.5", "", "1.0"]


def test_keys_that_rows_share_are_filled_in():
    index = pd.MultiIndex.from_tuples(
        [("int8", "x", "m"), ("int8", "x", "n"), ("int8", "y", "m"), ("float", "y", "m")],
        names=["technique", "source", "model"],
    )
    (found,) = tables.read(pd.DataFrame({"v": range(4)}, index=index)._repr_html_())
    assert list(found.index) == list(index) and list(found["v"]) == ["0", "1", "2", "3"]


def test_a_tidy_table_has_one_row_of_heads_and_none_that_is_empty():
    text = tables.tidy(frame(model=["a", "b", "c"], bytes=[1, 2, 3])._repr_html_())
    assert "<style" not in text and text.count("<th ") == 3 + 3
    heads = re.findall(r'<th scope="col">(.*?)</th>', text)
    assert heads == ["technique", "model", "bytes"]
    assert "&lt;16 &amp; x&gt;" in text and 'class="table-box"' in text


def test_two_names_in_one_column_stay_in_two_rows():
    written = frame(a=[1, 2, 3])
    written.columns.name = "what"
    assert tables.tidy(written._repr_html_()).count("<tr") == 2 + 3


def test_ledgers_are_what_the_labs_show(executed):
    found = stored.ledger(executed)
    lab = next(lab for lab in executed if lab.number == "02")
    shown = next(
        o["data"]["text/html"] for c in lab.code if "lab.report(" in c.source for o in c.outputs
    )
    (written,) = tables.read(shown)
    mine = found[found["lab"] == "02"]
    assert list(mine["technique"]) == [key for (key,) in written.index]
    assert [f"{value:.0f}" for value in mine["bytes"]] == list(written["bytes"])
    assert list(mine["value"]) == [float(value) for value in written["accuracy (%)"]]
    by_metric = found.groupby("metric")["lab"].unique()
    assert list(by_metric["average distance error (m)"]) == ["09"]


def test_comparisons_hold_the_published_figures(executed):
    pairs = stored.comparisons(executed)
    figures = measure.published().set_index(["document", "table", "technique", "model", "metric"])
    # Lab 10 compares in tables of its own.
    assert set(pairs["lab"]) == {f"{n:02}" for n in range(12)} - {"10"}
    for pair in pairs.itertuples():
        key = (pair.document, pair.table, pair.technique, pair.published_model, pair.metric)
        assert pair.published in set(figures.loc[[key], "value"])
    same = pairs[pairs["lab"] == "09"]
    assert (same["model"] == same["published_model"]).all()


def rows(metric="accuracy", technique="int8", published=90.0, theirs=1.0, lost=(), measured=()):
    return pd.DataFrame(
        {
            "metric": metric,
            "technique": technique,
            "published": published,
            "published_lost": theirs,
            "measured_lost": lost or [np.nan] * len(measured),
            "measured": measured or [np.nan] * len(lost),
        }
    )


@pytest.mark.parametrize(
    ("compared", "word"),
    [
        (rows(lost=[1.9]), "as published"),
        (rows(lost=[2.1]), "loses more here"),
        (rows(lost=[-0.5]), "loses less here"),
        (rows(lost=[0.5, 1.5]), "as published"),
        (rows(lost=[-2.0, 4.0]), "some less, some more"),
        (rows(theirs=-3.0, lost=[0.1]), "gains less here"),
        (rows(theirs=-3.0, lost=[-5.0]), "gains more here"),
        (rows(lost=[np.nan]), "no reference"),
        (rows(theirs=np.nan, lost=[1.0]), "no reference"),
        (rows(technique="float", theirs=0.0, lost=[0.0]), "the reference"),
        (rows("accuracy at least", measured=[91.0]), "met"),
        (rows("accuracy at least", measured=[91.0, 80.0]), "met by some"),
        (rows("accuracy at least", measured=[80.0]), "not met"),
        (rows("average distance error", published=0.4, theirs=0.01, lost=[0.0135]), "as published"),
        (
            rows("average distance error", published=0.4, theirs=0.01, lost=[0.02]),
            "loses more here",
        ),
    ],
)
def test_verdicts(compared, word):
    assert published.verdict(compared) == word


def test_the_table_knows_all_labs_and_finds_all_files(executed, table):
    assert list(table.labs) == [lab.number for lab in executed]
    for lab, entry in table.labs.items():
        assert all(before < lab for before in entry.needs)
    unknown = [
        (row.lab, row.technique)
        for row in stored.ledger(executed).itertuples()
        if not table.of(row.lab, row.model, row.technique) and "float" not in row.technique
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'repository = "no address"\n[labs.00]\nneeds = []\nlearn = "x"\n[techniques]\n',
            "not owner/name",
        ),
        ('[labs.00]\nneeds = ["07"]\nlearn = "x"\n[techniques]\n', "does not have the labs 07"),
        (
            '[labs.00]\nneeds = []\nlearn = "x"\notherwise = "magic"\n[techniques]\n',
            "no technique magic",
        ),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, said):
    path = tmp_path / "course.toml"
    path.write_text(f"documents = []\n{text}")
    with pytest.raises(CourseError, match=said):
        course.read(path)


def test_labs_open_online_where_the_course_is_published(table, executed):
    lab = executed[2]
    assert "Online" not in pages._facts(lab, executed, table)
    public = dataclasses.replace(table, repository="someone/course")
    facts = pages._facts(lab, executed, public)
    notebook = f"notebooks/{lab.source.name}.ipynb"
    assert f"mybinder.org/v2/gh/someone/course/main?labpath={notebook})" in facts
    assert f"colab.research.google.com/github/someone/course/blob/main/{notebook})" in facts
    assert "git+https://github.com/someone/course" in facts


def test_the_map_has_a_box_a_lab_and_a_line_a_need(table):
    names = {number: f"<{number}>" for number in table.labs}
    drawn = course.svg(table, names, {number: f"{number}.html" for number in table.labs})
    assert drawn.count("<rect") == len(table.labs)
    assert drawn.count('class="line"') == sum(len(lab.needs) for lab in table.labs.values())
    width = float(re.search(r'<rect [^>]*width="(\d+)"', drawn)[1])
    places = course._places(table)
    assert {"07", "07 to 08 in row 6"} <= set(places)
    for (x, y), (other_x, other_y) in itertools.combinations(places.values(), 2):
        assert y != other_y or abs(other_x - x) >= width  # no box lies on another, or on a line
    for number, lab in table.labs.items():
        assert all(table.depth(before) < table.depth(number) for before in lab.needs)


def files(values, sizes, metric="accuracy (%)"):
    return pd.DataFrame(
        {
            "lab": "00",
            "model": "",
            "technique": [f"t{i}" for i in range(len(values))],
            "metric": metric,
            "value": values,
            "bytes": sizes,
            "techniques": [["a", "b"]] * len(values),
            "colour": 1,
            "result": "r",
        }
    )


def test_the_front_is_that_of_measure():
    rng = np.random.default_rng(0)
    table = files(rng.uniform(50, 100, 40).round(1), rng.integers(1000, 9000, 40).astype(float))
    report = table.rename(columns={"value": "accuracy (%)"}).assign(data="d", profile="full")
    expected = set(measure.front(report)["technique"])
    assert set(table[front.front(table, "bytes")]["technique"]) == expected
    errors = table.assign(metric="average distance error (m)", value=-table["value"])
    assert set(errors[front.front(errors, "bytes")]["technique"]) == expected


def test_better_is_up_and_smaller_is_left():
    for metric, values in (
        ("accuracy (%)", [90, 99.9]),
        ("average distance error (m)", [0.3, 0.2]),
    ):
        drawn = front.svg(files(values, [5000.0, 50000.0], metric), "bytes", "a picture of two")
        (x, y), (x2, y2) = [
            map(float, place) for place in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)
        ]
        assert x < x2 and y > y2
        assert 'data-techniques="a b"' in drawn and "<title>t0" in drawn


def test_solutions_are_shown_to_instructors_alone(executed):
    lab = next(lab for lab in executed if lab.number == "02")
    names = {other.number: other.source.name for other in executed}
    plain, whole = (
        "\n".join(cell.source for cell in labs.page(lab, "facts", names, solutions).cells)
        for solutions in (False, True)
    )
    secret = solution_lines(lab.source)
    there = {line for line in secret if line in re.sub(r"[ \t]+", " ", whole)}
    assert len(there) > 0.9 * len(secret)
    assert not [line for line in secret if line in re.sub(r"[ \t]+", " ", plain)]
    for text in (plain, whole):
        assert "SOLUTION" not in text and "NBVAL" not in text
    assert "[lab 01](01_baseline.ipynb)" in plain


def test_a_labs_own_number_and_code_are_no_links(executed):
    names = {"01": "01_baseline", "02": "02_dynamic_range"}
    text = labs._linked("lab 01, `lab 01`, lab 02, lab 09, [lab 01](x)\n## lab 01", names, "02")
    assert text == ("[lab 01](01_baseline.ipynb), `lab 01`, lab 02, lab 09, [lab 01](x)\n## lab 01")


def test_a_guides_links_lead_to_pages():
    text = guides.guide(ROOT, "README.md")
    assert "](labs/00_start_here.ipynb)" in text and "](instructors.md)" in text
    assert "](pictures/" in text
    assert not re.search(r"\]\((?!https?:|labs/|pictures/|\w+\.md|#)", text)
    assert "](instructors.md#" in guides.guide(ROOT, "docs/adding_a_lab.md")


def test_another_folder_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CourseError, match="is no site"):
        build.build(ROOT, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_sphinx_warns_of_is_an_error(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "docs" / "_static", source / "_static")
    shutil.copy(ROOT / "docs" / "conf.py", source)
    (source / "index.rst").write_text("All\n===\n\n:doc:`nothing`\n")
    code = "import sys\nfrom pathlib import Path\nfrom labkit.authoring.site import build\n"
    code += "build._render(*map(Path, sys.argv[1:]))"
    folders = source, tmp_path / "html", tmp_path / "doctrees"
    command = [sys.executable, "-c", code, *folders]  # Sphinx warns where it runs a second time
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "CourseError: Sphinx warns:" in ran.stderr
    assert "index.rst:4: WARNING: unknown document: 'nothing'" in ran.stderr
