"""A page to hand in: HTML and PDF from the same content."""

import base64
from dataclasses import replace

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from labkit.report import Report


@pytest.fixture()
def page():
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([1, 2])
    table = pd.DataFrame(
        {"accuracy (%)": [99.5, None], "size (bits)": [193_696, 12_000]},
        index=pd.Index(["4 bits", "<ternary>"], name="model"),
    )
    return Report(
        "Bits & pieces", ["At least ≥ 85 %.", "A < B"], table, figure, "A line that rises."
    )


def test_html_says_it_all(page):
    soup = BeautifulSoup(page.html(), "html.parser")
    assert soup.h1.text == soup.title.text == "Bits & pieces"
    assert [p.text for p in soup.find_all("p")] == ["At least ≥ 85 %.", "A < B"]
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]
    assert rows == [
        ["model", "accuracy (%)", "size (bits)"],
        ["4 bits", "99.5", "193,696"],
        ["<ternary>", "", "12,000"],
    ]


def test_html_carries_its_figure_and_says_what_it_shows(page):
    image = BeautifulSoup(page.html(), "html.parser").img
    assert image["alt"] == "A line that rises."
    kind, content = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content).startswith(b"\x89PNG")


def test_pdf_is_one_with_a_picture_and_always_the_same(page):
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF-")
    assert b"/Subtype /Image" in pdf
    assert b"DejaVuSans" in pdf
    assert pdf == page.pdf()


def test_pdf_changes_with_each_part_of_the_content(page):
    pages = [
        page,
        replace(page, title="Another"),
        replace(page, paragraphs=["One."]),
        replace(page, table=page.table.iloc[:1]),
        replace(page, alt="Another line."),
    ]
    assert len({other.pdf() for other in pages}) == len(pages)


@pytest.mark.parametrize("part", ["title", "alt"])
def test_empty_parts_are_errors(page, part):
    parts = {"title": "t", "paragraphs": [], "table": page.table, "figure": page.figure, "alt": "a"}
    with pytest.raises(ValueError, match=part):
        Report(**parts | {part: " "})
