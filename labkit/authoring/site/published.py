"""Published figures beside measured ones, document by document, with what held of them."""

from __future__ import annotations

import pandas as pd

from labkit import measure
from labkit.authoring.site import tables
from labkit.authoring.site.course import Course, Document

#: Points, or per cent of an error, by which two losses may differ and still be called the same.
TOLERANCE = 1.0

_PAIR = ["lab", "table", "technique", "published_model", "metric", "published"]
_COMPARED = ("technique", "published network", "published", "lost there", "lab")
_COMPARED += ("measured", "lost here", "verdict")
_ALL = ("technique", "network", "figure", "published", "where", "labs")


def verdict(rows: pd.DataFrame) -> str:
    """What a comparison says, in a word or two.

    Args:
        rows: of `stored.comparisons`, of one published figure and one lab.
    """
    first = rows.iloc[0]
    if first["metric"].endswith("at least"):
        met = rows["measured"] >= first["published"]
        return "met" if met.all() else "met by some" if met.any() else "not met"
    if first["technique"] == "float":
        return "the reference"
    more = rows["measured_lost"].dropna() - first["published_lost"]
    if more.isna().any() or more.empty:
        return "no reference"
    part = 1 if first["metric"] == "accuracy" else first["published"] / 100
    if (more.abs() <= TOLERANCE * part).all():
        return "as published"
    if (more > 0).any() and (more < 0).any():
        return "some less, some more"
    if first["published_lost"] < 0:
        return "gains less here" if (more > 0).all() else "gains more here"
    return "loses more here" if (more > 0).all() else "loses less here"


def page(comparisons: pd.DataFrame, course: Course, names: dict[str, str]) -> str:
    """A section a document, in Markdown.

    Args:
        comparisons: from `stored.comparisons`.
        names: of the labs' pages, by number.
    """
    everything = measure.published()
    sections = []
    for document in course.documents:
        figures = everything[everything["document"].str.startswith(document.title)]
        compared = comparisons[comparisons["document"].str.startswith(document.title)]
        sections.append(_section(document, figures, compared, names))
    return "\n".join(sections)


def _section(
    document: Document, figures: pd.DataFrame, compared: pd.DataFrame, names: dict[str, str]
) -> str:
    (title,) = figures["document"].unique()
    labs = sorted({number for found in figures["lab"] for number in found.split()})
    links = ", ".join(
        f"[Lab {number}](labs/{names[number]}.ipynb#published-against-measured)" for number in labs
    )
    pairs = [_compared(rows) for _, rows in compared.groupby(_PAIR, sort=False)]
    listed = [
        [row.technique, row.model, row.metric, f"{row.value:g} {row.unit}", row.table, row.lab]
        for row in figures.itertuples()
    ]
    side_by_side = (
        tables.write(f"{document.short}: published and measured", _COMPARED, pairs)
        if pairs
        else "<p>The lab compares these figures with its own in tables of its own.</p>\n"
    )
    return (
        f"## {document.short}\n\n*{title}.* {document.about}\n\n"
        f":::{{admonition}} Verdict\n:class: verdict\n{document.verdict}\n:::\n\n"
        f"In the labs' own words: {links}.\n\n"
        "```{raw} html\n"
        f"{side_by_side}"
        f"<details><summary>All {len(figures)} figures that the labs took from it</summary>\n"
        f"{tables.write(f'{document.short}: all published figures', _ALL, listed)}"
        "</details>\n```\n"
    )


def _compared(rows: pd.DataFrame) -> list[str]:
    first = rows.iloc[0]
    floor = "≥ " if first["metric"].endswith("at least") else ""
    return [
        first["technique"],
        first["published_model"],
        f"{floor}{first['published']:g} {first['unit']}",
        _range(rows["published_lost"].iloc[:1]),
        first["lab"],
        f"{_range(rows['measured'])} {first['unit']}",
        _range(rows["measured_lost"]),
        verdict(rows),
    ]


def _range(values: pd.Series) -> str:
    """One value, or from the least to the largest of those of several networks."""
    values = values.dropna().sort_values() + 0  # no −0
    texts = [f"{value:.4g}".replace("-", "−") for value in values]
    return " to ".join(dict.fromkeys((texts[0], texts[-1]))) if texts else ""
