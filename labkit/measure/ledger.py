"""The ledger: one tidy table of everything that was measured, and the published figures beside it.

Each lab writes a file of its own, `ledger/NN.csv` in the output folder, so that labs that run at
the same time do not overwrite each other's rows.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pandas as pd

from labkit import files

KEY = ("lab", "model", "technique", "data", "profile", "seed", "metric")
COLUMNS = (*KEY, "value", "unit")


class Ledger:
    """Figures of all labs in an output folder.

    Args:
        folder: the output folder; the rows are kept in `folder`/ledger/NN.csv.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / "ledger"

    def record(self, rows: list[dict]) -> None:
        """Add rows of one lab, each with the columns `COLUMNS`; older rows of the same key go.

        Raises:
            ValueError: a column is missing or unknown, or the rows belong to several labs.
        """
        for row in rows:
            if set(row) != set(COLUMNS):
                odd = sorted(set(row) ^ set(COLUMNS))
                raise ValueError(f"a row of the ledger has exactly the columns {COLUMNS}; see {odd}.")
        labs = {row["lab"] for row in rows}
        if len(labs) != 1:
            raise ValueError(f"rows of one lab are expected, these are of {sorted(labs)}.")
        path = self.folder / f"{labs.pop()}.csv"
        table = pd.concat([self._read(path), pd.DataFrame(rows)], ignore_index=True)
        table = table.drop_duplicates(list(KEY), keep="last")[list(COLUMNS)]
        files.write_text(path, table.to_csv(index=False, lineterminator="\n"))

    def table(self) -> pd.DataFrame:
        """All rows of all labs."""
        tables = [self._read(path) for path in sorted(self.folder.glob("*.csv"))]
        return pd.concat(tables, ignore_index=True) if tables else _empty()

    def _read(self, path: Path) -> pd.DataFrame:
        if not path.exists():
            return _empty()
        types = {name: str for name in COLUMNS} | {"seed": int, "value": float}
        try:
            table = pd.read_csv(path, dtype=types, keep_default_na=False)
        except (ValueError, pd.errors.ParserError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and run the lab again.") from error
        return table


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=float if name == "value" else object) for name in COLUMNS})


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a lab, model, technique, data and profile: mean over the seeds, and spread of accuracy.

    Args:
        table: from `Ledger.table`.

    Returns:
        columns "accuracy (%)", "± (%)" (standard deviation over the seeds; NaN for one seed),
        "seeds", "bytes", "gzip (bytes)", "weights (bits)", "latency (ms)".
    """
    group = ["lab", "model", "technique", "data", "profile"]
    wide = table.pivot(index=[*group, "seed"], columns="metric", values="value")
    for metric in ("accuracy", "bytes", "gzip_bytes", "weight_bits", "latency"):
        if metric not in wide:
            wide[metric] = float("nan")
    grouped = wide.groupby(level=group, sort=False)
    mean = grouped.mean()
    return pd.DataFrame(
        {
            "accuracy (%)": 100 * mean["accuracy"],
            "± (%)": 100 * grouped["accuracy"].std(),
            "seeds": grouped["accuracy"].count(),
            "bytes": mean["bytes"].round(),
            "gzip (bytes)": mean["gzip_bytes"].round(),
            "weights (bits)": mean["weight_bits"].round(),
            "latency (ms)": mean["latency"],
        }
    ).reset_index()


def front(report: pd.DataFrame) -> pd.DataFrame:
    """The rows of a `summary` that no other row beats in both bytes and accuracy."""
    ordered = report.dropna(subset=["accuracy (%)", "bytes"])
    ordered = ordered.sort_values(["bytes", "accuracy (%)"], ascending=[True, False])
    best = ordered["accuracy (%)"].cummax().shift(fill_value=float("-inf"))
    return ordered[ordered["accuracy (%)"] > best]


def published(lab: str | None = None) -> pd.DataFrame:
    """Figures of the source documents.

    Args:
        lab: number of a lab, for example "02"; by default all.

    Returns:
        columns document, table, lab, model, technique, metric, value, unit.
    """
    source = resources.files("labkit") / "reference" / "published.csv"
    with source.open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, dtype=str, keep_default_na=False)
    table["value"] = table["value"].astype(float)
    if lab is None:
        return table
    return table[[lab in labs.split() for labs in table["lab"]]].reset_index(drop=True)
