"""The HTML tables of a notebook's outputs: read, and made fit for a page."""

from __future__ import annotations

import pandas as pd
from bs4 import BeautifulSoup, Tag

_UNKNOWN = ("NaN", "<NA>", "None", "NaT")


def read(html: str) -> list[pd.DataFrame]:
    """The data frames that pandas has written, those with an index and one level of columns.

    Args:
        html: an output with any number of tables.

    Returns:
        a frame a table, its index with the levels and names of the one that was written; cells are
        the strings shown, "" where nothing is known.
    """
    soup = BeautifulSoup(html, "html.parser")
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


def tidy(html: str) -> str:
    """An output's HTML as a page shows it.

    Of pandas's two rows of heads, names of the columns and name of the index, one is made; heads
    say what they are heads of, and one without a text is none: a screen reader would announce it.
    The look is left to the page's style sheet, what a check's box says by colour is kept.
    """
    soup = BeautifulSoup(html, "html.parser")
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
        for part in table.find_all(["tr", "th", "td"]):
            for attribute in ("style", "valign", "halign"):
                del part[attribute]
        table.wrap(soup.new_tag("div", attrs={"class": "table-box"}))
    return str(soup)


def _join_heads(table: Tag) -> None:
    rows = table.select("thead tr")
    if len(rows) != 2:
        return
    columns, names = ([cell for cell in row.find_all("th")] for row in rows)
    if len(columns) != len(names):
        return
    texts = [(c.get_text(strip=True), n.get_text(strip=True)) for c, n in zip(columns, names, strict=True)]
    if all(not (column and name) for column, name in texts):
        for cell, (column, name) in zip(columns, texts, strict=True):
            cell.string = column or name
        rows[1].decompose()
