"""The HTML tables of a notebook's outputs: read, and made fit for a page."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Sequence

import pandas as pd
from bs4 import BeautifulSoup, Tag

_UNKNOWN = ("NaN", "<NA>", "None", "NaT")


def read(text: str) -> list[pd.DataFrame]:
    """The data frames that pandas has written, those with an index and one level of columns.

    Args:
        text: an output's HTML, with any number of tables.

    Returns:
        a frame per table, its index with the levels and names of the one that was written; cells
        are the strings shown, "" where nothing is known.
    """
    soup = BeautifulSoup(text, "html.parser")
    return [
        _frame(table)
        for table in soup.select("table.dataframe")
        if table.select("tbody th") and not table.select("thead th[colspan]")
    ]


def _frame(table: Tag) -> pd.DataFrame:
    head, *names = [_texts(row, "th") for row in table.select("thead tr")]
    body = [(_texts(row, "th"), _texts(row, "td")) for row in table.select("tbody tr")]
    levels = max((len(keys) for keys, _ in body), default=1)
    index: list[tuple[str, ...]] = []
    for keys, _ in body:  # a key that several rows share stands in the first of them alone
        above = index[-1] if index else ()
        index.append((*above[: levels - len(keys)], *keys))
    return pd.DataFrame(
        [["" if cell in _UNKNOWN else cell for cell in cells] for _, cells in body],
        columns=head[levels:],
        index=pd.MultiIndex.from_tuples(index, names=(names[0] if names else head)[:levels]),
        dtype=str,
    )


def _texts(row: Tag, kind: str) -> list[str]:
    return [cell.get_text(" ", strip=True) for cell in row.find_all(kind)]


def tidy(text: str) -> str:
    """An output's HTML as a page shows it.

    Of pandas's two rows of heads, names of the columns and name of the index, one is made; heads
    say what they are heads of, and one without a text is none: a screen reader would announce it.
    The look is left to the page's style sheet, what a check's box says by colour is kept.
    """
    soup = BeautifulSoup(text, "html.parser")
    for style in soup.find_all("style"):
        style.decompose()
    for table in soup.find_all("table"):
        del table["border"]
        if "dataframe" in table.get("class", []):
            _join_heads(table)
        for head in table.find_all("th"):
            if head.get_text(strip=True):
                in_body = head.find_parent("tbody") is not None
                head["scope"] = "row" if in_body else "col"
            else:
                head.name = "td"
        for part in table.select(".dataframe :is(tr, th, td)"):
            for attribute in ("style", "valign", "halign"):
                del part[attribute]
        table.wrap(soup.new_tag("div", attrs={"class": "table-box"}))
    return str(soup)


def _join_heads(table: Tag) -> None:
    rows = [row.find_all("th") for row in table.select("thead tr")]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]):
        return
    pairs = list(zip(*rows, strict=True))
    if any(column.get_text(strip=True) and name.get_text(strip=True) for column, name in pairs):
        return
    for column, name in pairs:
        column.string = column.get_text(strip=True) or name.get_text(strip=True)
    rows[1][0].parent.decompose()


def write(
    about: str, head: Sequence[str], rows: Iterable[Sequence[str]], marks: Iterable = ()
) -> str:
    """An HTML table in a box that scrolls.

    Args:
        about: what it shows, for those who do not see where it stands.
        head: names of the columns.
        rows: of plain texts; the first of each is the row's head.
        marks: of each row the labs and techniques that a script filters by, as `mark` writes them.
    """
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    number = re.compile(r"[−≥\d]")
    lines = []
    for row, mark in itertools.zip_longest(rows, marks, fillvalue=""):
        first, *others = map(html.escape, row)
        cells = "".join(
            f"<td{' class=number' if number.match(cell) else ''}>{cell}</td>" for cell in others
        )
        lines.append(f'<tr{mark}><th scope="row">{first}</th>{cells}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="table-box"><table class="table" aria-label="{html.escape(about)}">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


def mark(lab: str, techniques: Iterable[str]) -> str:
    """Attributes of a row or of a circle, for the page's script."""
    return f' data-lab="{lab}" data-techniques="{" ".join(techniques)}"'
