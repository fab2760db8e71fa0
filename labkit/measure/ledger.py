"""The ledger: one tidy table of everything that was measured.

Each lab writes a file of its own, `ledger/NN.csv` in the output folder, so that labs that run at
the same time do not overwrite each other's rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from labkit import files
from labkit.errors import LabkitError
from labkit.measure import pareto
from labkit.measure.metrics import ACCURACY, KNOWN, Metric

#: What identifies a figure; one that is measured again takes the place of the old one.
KEY = ("lab", "model", "technique", "data", "profile", "seed", "metric")
COLUMNS = (*KEY, "value", "unit")

#: Of the figures that labkit records, by name; a user's own come with theirs.
UNITS = {name: metric.unit for name, metric in KNOWN.items()} | {
    "bytes": "byte",
    "gzip_bytes": "byte",
    "weight_bits": "bit",
    "coded_bits": "bit",
    "latency": "ms",
    "cycles": "cycle",
    "energy_lowest": "µJ",
    "energy_highest": "µJ",
    "packed_bytes": "byte",
    "saturations": "word",
    "runs_on_device": "fraction",
    "arena_bytes": "byte",
    "peak_activation_bytes": "byte",
    "harder_accuracy": "fraction",
    "changed_answers": "sample",
    "output_sqnr": "dB",
}

_TYPES = dict.fromkeys(COLUMNS, str) | {"seed": int, "value": float}


class LedgerError(LabkitError):
    """A row that does not belong into the ledger, or a file of it that cannot be read."""


class Ledger:
    """Figures of all labs in an output folder.

    Args:
        folder: the output folder; the rows are kept in `folder`/ledger/NN.csv.

    Example:
        >>> ledger = Ledger("out")
        >>> ledger.add("dynamic range", {"accuracy": 0.98, "bytes": 43_000})
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / "ledger"

    def add(
        self,
        technique: str,
        figures: Mapping[str, float],
        *,
        units: Mapping[str, str] | None = None,
        lab: str = "own",
        model: str = "own",
        data: str = "own",
        profile: str = "own",
        seed: int = 0,
    ) -> None:
        """Add the figures of one file, for example those of `evaluate`.

        Args:
            technique: what was done to the model.
            figures: by name.
            units: of figures that labkit does not know by name, see `UNITS`.
            lab, model, data, profile, seed: what the figures belong to, beside the technique.

        Raises:
            LedgerError: a figure without a unit, or that is not a finite number.
        """
        known = UNITS | dict(units or {})
        if unknown := [name for name in figures if name not in known]:
            raise LedgerError(
                f"{unknown[0]!r} has no unit: give it, add(..., units={{{unknown[0]!r}: 'mm'}})."
            )
        run = {
            "lab": lab,
            "model": model,
            "technique": technique,
            "data": data,
            "profile": profile,
            "seed": seed,
        }
        self.record(
            [
                run | {"metric": name, "value": float(value), "unit": known[name]}
                for name, value in figures.items()
            ]
        )

    def record(self, rows: list[dict]) -> None:
        """Add rows of one lab, each with the columns `COLUMNS`; older rows of the same key go.

        Raises:
            LedgerError: a column is missing or unknown, a value is not a finite number, or the
                rows belong to several labs.
        """
        for row in rows:
            _check(row)
        labs = {row["lab"] for row in rows}
        if len(labs) != 1:
            raise LedgerError(f"rows of one lab are expected, these are of {sorted(labs)}.")
        path = self.folder / f"{labs.pop()}.csv"
        kept = [_read(path)] if path.exists() else []
        table = pd.concat([*kept, pd.DataFrame(rows, columns=COLUMNS)]).astype(_TYPES)
        table = table.drop_duplicates(list(KEY), keep="last")
        files.write_text(path, table.to_csv(index=False, lineterminator="\n"))

    def table(self) -> pd.DataFrame:
        """All rows of all labs, with the columns `COLUMNS`.

        Raises:
            LedgerError: a file cannot be read.
        """
        tables = [_read(path) for path in sorted(self.folder.glob("[!.]*.csv"))]
        empty = pd.DataFrame(columns=COLUMNS).astype(_TYPES)
        return pd.concat(tables, ignore_index=True) if tables else empty


def _check(row: dict) -> None:
    if set(row) != set(COLUMNS):
        odd = sorted(set(row) ^ set(COLUMNS))
        raise LedgerError(f"a row of the ledger has exactly the columns {COLUMNS}; see {odd}.")
    if not re.fullmatch(r"\w+", str(row["lab"])):
        raise LedgerError(f"lab is {row['lab']!r}, expected a number such as '02'.")
    if not math.isfinite(row["value"]):
        raise LedgerError(
            f"{row['metric']} of {row['technique']!r} is {row['value']}, expected a finite number."
        )


def _read(path: Path) -> pd.DataFrame:
    """A file of the ledger, also as a spreadsheet has saved it: BOM, semicolons, decimal commas."""
    try:
        head = path.read_text(encoding="utf-8-sig").partition("\n")[0]
        between = max(",;\t", key=head.count)
        decimal = "," if between == ";" else "."
        table = pd.read_csv(
            path,
            sep=between,
            dtype=_TYPES | {"value": str},
            keep_default_na=False,
            encoding="utf-8-sig",
        )
        table["value"] = table["value"].str.replace(decimal, ".", regex=False).astype(float)
        return table[list(COLUMNS)]
    except (ValueError, KeyError, OSError) as error:
        raise LedgerError(
            f"{path} is damaged ({error}): delete it and run the lab again."
        ) from error


def summary(table: pd.DataFrame, metrics: Sequence[Metric] | None = None) -> pd.DataFrame:
    """A row per lab, model, technique, data and profile: mean over seeds, spread of the metrics.

    Args:
        table: from `Ledger.table`, or a part of it.
        metrics: that get columns; without, those of `metrics.KNOWN` that the table has, or
            accuracy if it has none.

    Returns:
        columns lab, model, technique, data, profile, for each metric its `column` ("accuracy (%)")
        and its `spread` ("± (%)", sample standard deviation over the seeds, NaN for one seed),
        "seeds" (their number), "bytes", "gzip (bytes)", "weights (bits)" (as stored),
        "coded (bits)" (in the shortest of the codes of `measure.coding`), "peak RAM (bytes)" (of
        activations alive at once), "latency (ms)"; in the order of recording. Where files were
        compared on harder samples, also "accuracy, harder (%)", "changed" (answers) and "SQNR
        (dB)"; where they were run in TensorFlow Lite Micro, "microcontroller" ("runs", "no", ""
        where it was not tried) and "arena (bytes)".
    """
    if metrics is None:
        there = set(table["metric"])
        metrics = [m for name, m in KNOWN.items() if name in there] or [ACCURACY]
    group = ["lab", "model", "technique", "data", "profile"]
    compared = _COMPARED if "harder_accuracy" in set(table["metric"]) else {}
    columns = [
        *group,
        *(column for metric in metrics for column in (metric.column, metric.spread)),
        *(column for column, _ in compared.values()),
        "seeds",
        *_SIZES.values(),
        "latency (ms)",
    ]
    on_device = "runs_on_device" in set(table["metric"])
    if on_device:
        columns += ["microcontroller", "arena (bytes)"]
    rows = []
    for key, part in table.groupby(group, sort=False):
        values = part.groupby("metric")["value"]
        mean, spread = values.mean(), values.std()
        row = dict(zip(group, key, strict=True)) | {"seeds": part["seed"].nunique()}
        for metric in metrics:
            row[metric.column] = metric.factor * mean.get(metric.name, math.nan)
            row[metric.spread] = metric.factor * spread.get(metric.name, math.nan)
        for name, (column, factor) in compared.items():
            row[column] = factor * mean.get(name, math.nan)
        for name, column in _SIZES.items():
            row[column] = round(mean.get(name, math.nan), 0)
        row["latency (ms)"] = mean.get("latency", math.nan)
        if on_device:
            row["microcontroller"] = {1: "runs", 0: "no"}.get(mean.get("runs_on_device"), "")
            row["arena (bytes)"] = mean.get("arena_bytes", math.nan)
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


_SIZES = {
    "bytes": "bytes",
    "gzip_bytes": "gzip (bytes)",
    "weight_bits": "weights (bits)",
    "coded_bits": "coded (bits)",
    "peak_activation_bytes": "peak RAM (bytes)",
}

#: Columns of `compare`, and what their values are multiplied by.
_COMPARED = {
    "harder_accuracy": ("accuracy, harder (%)", 100),
    "changed_answers": ("changed", 1),
    "output_sqnr": ("SQNR (dB)", 1),
}


def front(report: pd.DataFrame, size: str = "bytes", metric: Metric = ACCURACY) -> pd.DataFrame:
    """The Pareto-optimal rows of a `summary`: smaller ones are worse.

    Rows measured on other data or in another profile do not compete with one another.

    Args:
        report: from `summary`.
        size: the column to make small, for example "gzip (bytes)".
        metric: that is to be good; it knows which direction that is.

    Returns:
        those rows, from the smallest to the largest.
    """
    known = report.dropna(subset=[metric.column, size])
    bad = known[metric.column] * (-1 if metric.higher_is_better else 1)
    costs = pd.DataFrame({"size": known[size], "bad": bad}, known.index)
    best = [
        group.index[(pareto.beaten(group) == 0) & ~group.duplicated()]
        for _, group in costs.groupby([known["data"], known["profile"]], sort=False)
    ]
    chosen = costs.loc[[i for index in best for i in index]]
    return known.loc[chosen.sort_values(["size", "bad"], kind="stable").index]
