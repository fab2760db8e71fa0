"""The results: what the labs' ledgers show, as a table and as pictures with their fronts."""

from __future__ import annotations

import html

import pandas as pd

from labkit.authoring.site import front, tables
from labkit.authoring.site.course import Course
from labkit.measure import metrics

_NONE = "none (a float file)"
_HEAD = ("file", "lab", "network", "result")


def files(ledger: pd.DataFrame, course: Course) -> pd.DataFrame:
    """A ledger, see `stored.ledger`, with what a page says of each file besides.

    Returns:
        with the columns "techniques", a list of names; "colour", the number of the first of them in
        the course's table, 0 for none; and "result", value and spread with their unit.
    """
    of = [course.of(row.lab, row.model, row.technique) for row in ledger.itertuples()]
    order = list(course.techniques)
    return ledger.assign(
        techniques=of,
        colour=[order.index(found[0]) + 1 if found else 0 for found in of],
        result=[_result(row) for row in ledger.itertuples()],
    )


def _result(row) -> str:
    if pd.isna(row.value):
        return ""
    metric = metrics.BY_COLUMN[row.metric]
    form = f".{metric.digits}f"
    spread = "" if pd.isna(row.spread) else f" ± {row.spread:{form}}"
    return f"{row.value:{form}}{spread} {metric.shown_unit}"


def _counts(rows: pd.DataFrame, names: tuple[str, ...]) -> list[list[str]]:
    """Cells of a table: which file it is, its result, and counts of bytes."""
    return [
        [row["technique"], row["lab"], row["model"], row["result"]]
        + ["" if pd.isna(row[name]) else f"{row[name]:,.0f}" for name in names]
        for row in rows.to_dict("records")
    ]


def table(rows: pd.DataFrame, about: str) -> str:
    """A table of some files with their sizes."""
    names = tuple(front.SIZES)
    return tables.write(about, (*_HEAD, *names), _counts(rows, names))


def ledger_table(rows: pd.DataFrame) -> str:
    """The table of all files; its rows say by which lab and technique they can be found."""
    names = (*front.SIZES, "arena (bytes)")
    cells = [[*cells, data] for cells, data in zip(_counts(rows, names), rows["data"], strict=True)]
    marks = [tables.mark(row.lab, row.techniques) for row in rows.itertuples()]
    return tables.write("All files that the labs measure", (*_HEAD, *names, "data"), cells, marks)


def fronts(rows: pd.DataFrame, course: Course) -> str:
    """A figure for each data set and size, below it the files on the front; before them filters."""
    found = [_filters(rows, course)]
    for data, group in rows.groupby("data", sort=False):
        for size, below in front.SIZES.items():
            known = group[group[size].notna() & group["value"].notna()]
            if len(known):
                found.append(_figure(known, data, size, below))
    return "\n".join(found) + "\n"


def _figure(rows: pd.DataFrame, data: str, size: str, below: str) -> str:
    best = rows[front.front(rows, size)].sort_values(size)
    ends = [f"{row['result']} at {row[size]:,.0f} bytes" for row in best.to_dict("records")]
    what = f"{rows['metric'].iloc[0]} over the {below}"
    alt = (
        f"{what}: {len(rows)} files of labs {', '.join(rows['lab'].unique())} on {data}. "
        f"The front goes from {ends[0]} to {ends[-1]}."
    )
    listed = tables.write(f"Front of {data}: {what}", (*_HEAD, size), _counts(best, (size,)))
    data = html.escape(data)
    return (
        f'<figure class="front-figure" data-set="{data}" data-size="{below}">\n'
        f"<figcaption>{data}, {what}</figcaption>\n{front.svg(rows, size, alt)}"
        f"<details><summary>Files that no other beats in both ({len(best)})</summary>\n"
        f"{listed}</details></figure>"
    )


def _filters(rows: pd.DataFrame, course: Course) -> str:
    """Boxes to tick for labs and techniques; those of the techniques are the legend as well."""
    there = {name for found in rows["techniques"] for name in found}
    techniques = [_box("techniques", "", _NONE, 0)]
    techniques += [
        _box("techniques", name, technique.title, number)
        for number, (name, technique) in enumerate(course.techniques.items(), 1)
        if name in there
    ]
    labs = [_box("lab", number, number) for number in rows["lab"].unique()]
    sets = "".join(
        f"<fieldset><legend>{legend}</legend>\n{''.join(boxes)}</fieldset>\n"
        for legend, boxes in (("technique", techniques), ("lab", labs))
    )
    return f'<div class="filters" id="front-filters">\n{sets}</div>'


def _box(kind: str, value: str, title: str, colour: int | None = None) -> str:
    swatch = "" if colour is None else f'<span class="swatch hue-{colour}"></span>'
    return (
        f'<label><input type="checkbox" data-filter="{kind}" value="{value}" checked>'
        f"{swatch} {html.escape(title)}</label>\n"
    )
