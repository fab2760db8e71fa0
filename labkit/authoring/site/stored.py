"""What the executed notebooks hold: what they were made with, what they measured and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import pandas as pd
from nbformat import NotebookNode

from labkit import measure
from labkit.authoring.site import tables
from labkit.authoring.source import Source, sources
from labkit.course import CourseError
from labkit.measure import metrics

#: Beside the metrics, the columns of `Lab.report` that are numbers.
_COUNTS = ("bytes", "gzip (bytes)", "arena (bytes)", "peak RAM (bytes)", "latency (ms)")
_OURS = "this lab"  # so begins the source of measured rows in `Lab.compare`


@dataclass(frozen=True)
class Stored:
    """An executed notebook, and the source that it was made from.

    Attributes:
        source: of the lab.
        notebook: with its outputs.
    """

    source: Source
    notebook: NotebookNode

    @property
    def number(self) -> str:
        """The lab's number, for example "02"."""
        return self.source.number

    @property
    def made(self) -> dict[str, str]:
        """With what the outputs were made: profile, and versions of labkit, tensorflow, python."""
        return dict(self.notebook.metadata["labkit"])

    @cached_property
    def opening(self) -> str:
        """What the set-up cell printed: data, profile and seed, in Markdown."""
        texts = [o.get("data", {}).get("text/markdown", "") for c in self.code for o in c.outputs]
        (found,) = [text for text in texts if text.startswith("**Data:**")]
        return found

    @property
    def data(self) -> str:
        """The data that it ran on, for example "sign_mnist, real images"."""
        return self.opening.removeprefix("**Data:** ").split(":")[0].split(" (")[0].replace("`", "")

    @property
    def code(self) -> list[NotebookNode]:
        """The code cells."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @cached_property
    def frames(self) -> list[tuple[str, pd.DataFrame]]:
        """The tables of all outputs in order, each with the code of its cell."""
        html = [
            (c.source, o.get("data", {}).get("text/html", "")) for c in self.code for o in c.outputs
        ]
        return [(code, frame) for code, text in html for frame in tables.read(text)]


def read(root: Path) -> list[Stored]:
    """All labs of a course that have been executed, in order.

    Raises:
        CourseError: a lab has no executed notebook.
    """
    found = []
    for source in sources(root=root):
        path = source.path.with_suffix(".ipynb")
        if not path.exists():
            raise CourseError(f"solutions/{path.name} is missing: run `labkit build --execute`.")
        found.append(Stored(source, nbformat.read(path, as_version=4)))
    return found


def ledger(labs: list[Stored]) -> pd.DataFrame:
    """The ledgers of all labs, as the labs show them at their ends.

    Returns:
        a row per file: lab, data, profile, model ("" where a lab has one), technique, `metric` (the
        column's name, for example "accuracy (%)"), `value`, `spread` over the trainings, and
        "bytes", "gzip (bytes)", "arena (bytes)", "peak RAM (bytes)", "latency (ms)"; numbers are
        floats, NaN where nothing was measured.
    """
    rows = []
    for lab in labs:
        for frame in _reports(lab):
            metric = _metric(frame)
            for (technique, *_), cells in zip(frame.index, frame.to_dict("records"), strict=True):
                if metric is None or technique == "...":  # where pandas left rows out
                    continue
                rows.append(
                    {
                        "lab": lab.number,
                        "data": lab.data,
                        "profile": lab.made["profile"],
                        "model": cells.get("model", ""),
                        "technique": technique,
                        "metric": metric.column,
                        "value": cells[metric.column],
                        "spread": cells.get(metric.spread, ""),
                        **{name: cells.get(name, "") for name in _COUNTS},
                    }
                )
    table = pd.DataFrame(rows)
    numbers = ["value", "spread", *_COUNTS]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    return table


def _metric(frame: pd.DataFrame) -> measure.Metric | None:
    """What a table judges by: the first of labkit's metrics among its columns."""
    known = metrics.BY_COLUMN
    return next((known[column] for column in frame if column in known), None)


def _reports(lab: Stored) -> list[pd.DataFrame]:
    """The tables by technique of the last cell that shows some and has called `Lab.report`."""
    shown = [
        (code, frame)
        for code, frame in lab.frames
        if "lab.report(" in code and frame.index.names == ["technique"]
    ]
    return [frame for code, frame in shown if code == shown[-1][0]]


def comparisons(labs: list[Stored]) -> pd.DataFrame:
    """Published figures, each beside those that a lab measured with the same technique.

    A lab's tables from `Lab.compare` say which these are; documents are found again by the figure.
    Where a lab has a network of the published one's name, that one alone is compared.

    Returns:
        a row per pair: document, table, lab, technique, metric (as in `measure.published`), unit,
        published_model, published, published_lost, model, measured, measured_lost; what is lost
        against the float network of the same side is in points, of an error in its unit, NaN where
        it is not known.
    """
    pairs = []
    for lab in labs:
        published = measure.published(lab.number)
        for _, frame in lab.frames:
            if "source" in frame.index.names:
                pairs += _pairs(lab, frame.reset_index(), published)
    return pd.DataFrame(pairs).drop_duplicates(ignore_index=True)


def _pairs(lab: Stored, frame: pd.DataFrame, published: pd.DataFrame) -> list[dict]:
    metric = _metric(frame)
    lost = next((column for column in frame if column.startswith("lost")), None)
    pairs = []
    for technique, group in frame.groupby("technique", sort=False):
        ours = group["source"].str.startswith(_OURS)
        mine = group[ours & (group[metric.column] != "")]
        for theirs in group[~ours].to_dict("records"):
            for row in _published_rows(published, theirs, metric):
                same = mine[mine["model"] == row["model"]] if "model" in mine else mine.iloc[:0]
                for measured in (same if len(same) else mine).to_dict("records"):
                    pairs.append(
                        {name: row[name] for name in ("document", "table", "metric", "unit")}
                        | {
                            "lab": lab.number,
                            "technique": technique,
                            "published_model": row["model"],
                            "published": row["value"],
                            "published_lost": _number(theirs.get(lost)),
                            "model": measured.get("model", ""),
                            "measured": _number(measured[metric.column]),
                            "measured_lost": _number(measured.get(lost)),
                        }
                    )
    return pairs


def _published_rows(published: pd.DataFrame, row: dict, metric: measure.Metric) -> list[dict]:
    """The published figures that a row of `Lab.compare` shows."""
    found = []
    for name, column in ((metric.name, metric.column), (f"{metric.name} at least",) * 2):
        value = _number(row.get(column))
        of_technique = published[
            (published["technique"] == row["technique"])
            & (published["metric"] == name)
            & ((published["value"] - value).abs() < 0.51 * 10**-metric.digits)
        ]
        if "model" in row:
            of_technique = of_technique[of_technique["model"] == row["model"]]
        found += of_technique.to_dict("records")
    return found


def _number(text: str | None) -> float:
    return float(text) if text else math.nan
