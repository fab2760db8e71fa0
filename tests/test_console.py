"""What the command prints, whatever the terminal."""

import io

import pytest
from rich.console import Console

from labkit import console

HEADINGS = ("technique", "accuracy (%)", "bytes")
ROWS = [("trained through the rounding", "99.95", "1,057,528"), ("[float]", "100.00", "7")]


@pytest.fixture
def printed(monkeypatch):
    """A function of a width: the table as it is printed there."""

    def printed(width):
        stream = io.StringIO()
        monkeypatch.setattr(console, "console", Console(width=width, file=stream))
        rows = [tuple(cell.replace("[", r"\[") for cell in row) for row in ROWS]
        console.show(HEADINGS, rows, names=("technique",), title="a title")
        return stream.getvalue()

    return printed


@pytest.mark.parametrize("width", [5, 30, 60, 200])
def test_figures_are_whole_and_names_give_way(printed, width):
    text = printed(width)
    for figure in ("99.95", "1,057,528", "100.00", " 7", "[float]"):
        assert figure in text
    assert all(word in text for word in ("trained", "rounding"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= max(width, 40)
    assert (len(lines) == 4) == (width == 60 or width == 200)


def test_names_that_no_encoding_has_are_printed_all_the_same(monkeypatch):
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="ascii", write_through=True)
    monkeypatch.setattr("sys.stdout", stream)
    console.take_any_name()
    console.say("caf\udce9.png ± [1]")
    assert content.getvalue() == b"caf\\udce9.png \\xb1 [1]\n"
