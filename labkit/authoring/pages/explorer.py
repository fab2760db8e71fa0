"""The page where a visitor draws the front: settings chosen, the labs' files seen one by one."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from labkit import files
from labkit.authoring.pages import write
from labkit.measure import metrics, pareto

_FEWEST = 6  # files of a data set that are worth a picture
#: What the name of a file says about its weights, the first that fits.
_WEIGHTS = (
    (r"\bbinary\b|TwoNN's|PCA's", "down to 1 bit, layer by layer"),
    (r"\bternary\b", "ternary"),
    (r"^(\d+):\d+:\d+", r"\1 bits"),
    (r"\b([1-7])[- ]bits?\b", r"\1 bits"),
    (r"\bfloat16\b", "float, 16 bits"),
    (r"\bint8\b|\bdynamic range\b|\b16x8\b|\bQAT\b|\b8 bits\b", "8 bits"),
    (r"\bfloat\b", "float, 32 bits"),
)
#: And where it says nothing: by the file's share of the largest one of its network.
_BY_SHARE = ((0.75, "float, 32 bits"), (0.4, "float, 16 bits"), (0, "8 bits"))
_SMALL = 0.2  # weights of eight bits are a quarter of the largest file, and its graph
_ORDER = (
    *("float, 32 bits", "float, 16 bits", "8 bits", "6 bits", "4 bits", "3 bits", "2 bits"),
    *("ternary", "down to 1 bit, layer by layer"),
)
#: These name how they were found, not what they are; the same designs are there by their settings.
_CHOICES = r"^(?:smallest|best below)\b"


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses a file by."""

    network: str
    weights: str
    clusters: str
    sparsity: str


def settings(model: str, technique: str, share: float) -> Settings:
    """The settings of a file of the ledger.

    Args:
        model, technique: as the ledger has them.
        share: its bytes over those of the largest file of its network.
    """
    clusters = re.search(r"(\d+(?:-\d+)*) clusters", technique)
    return Settings(
        _network(model, technique, share),
        _weights(technique, share),
        clusters[1] if clusters else "none",
        _sparsity(technique),
    )


def _weights(technique: str, share: float) -> str:
    by_share = next(name for least, name in _BY_SHARE if share >= least)
    if "dynamic range" in technique and by_share.startswith("float"):
        return by_share  # the converter leaves small weights as they were
    for pattern, name in _WEIGHTS:
        if match := re.search(pattern, technique):
            return match.expand(name)
    return by_share


def _network(model: str, technique: str, share: float) -> str:
    if filters := re.search(r"(\d+) ?% of the filters", technique):
        return f"{filters[1]} % of the filters"
    if re.search(r"\bunits\b|≤", technique):
        return "fewer units"
    unnamed = not any(re.search(pattern, technique) for pattern, _ in _WEIGHTS)
    if technique.startswith("small,") or (unnamed and share < _SMALL):
        return "a small network"
    return "the whole network" if model in ("", "baseline") else model


def _sparsity(technique: str) -> str:
    if grouped := re.match(r"([12]):4$", technique):
        return f"{100 - 25 * int(grouped[1])} %"
    if "of the filters" in technique:
        return "none"
    if percent := re.search(r"(\d+) ?%", technique):
        return f"{percent[1]} %"
    return "an unnamed share" if "prun" in technique else "none"


def tasks(ledger: pd.DataFrame) -> list[dict]:
    """What the page knows: for each data set its metric, and its files with their settings.

    Args:
        ledger: a row per file, with the columns lab, data, model, technique, metric (the column's
            name, as "accuracy (%)"), value, spread, bytes and "gzip (bytes)".
    """
    known = ledger[ledger[["value", "bytes", "gzip (bytes)"]].notna().all(axis=1)]
    known = known[~known["technique"].str.contains(_CHOICES)]
    same = ["data", "model", "technique", "value", "bytes", "gzip (bytes)"]
    known = known.drop_duplicates(same)
    largest = known.groupby(["data", "model"])["bytes"].transform("max")
    known = known.assign(share=known["bytes"] / largest)
    found = []
    for data, group in known.groupby("data", sort=False):
        if len(group) < _FEWEST:
            continue
        metric = metrics.BY_COLUMN[group["metric"].iloc[0]]
        rows = [_file(row, metric) for row in group.to_dict("records")]
        rows.sort(key=lambda row: _ORDER.index(row["weights"]))
        found.append(
            {
                "data": data,
                "metric": metric.name,
                "unit": metric.shown_unit,
                "digits": metric.digits,
                "higher": metric.higher_is_better,
                "files": rows,
            }
        )
    return found


def _file(row: dict, metric: metrics.Metric) -> dict:
    chosen = asdict(settings(row["model"], row["technique"], row["share"]))
    figures = {"value": row["value"], "bytes": int(row["bytes"]), "gzip": int(row["gzip (bytes)"])}
    if not pd.isna(row["spread"]):
        figures["spread"] = row["spread"]
    return chosen | {"how": row["technique"], "lab": row["lab"]} | figures


def build(out: str | Path, ledger: pd.DataFrame, home: str | None = None) -> Path:
    """Write the page into a folder; it also works when it is opened as a file.

    Args:
        out: the page's folder; what was in it is replaced.
        ledger: see `tasks`.
        home: address of the site's first page, as seen from the folder.

    Returns:
        the page's path.
    """
    found = tasks(ledger)
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    with files.new_folder(out) as folder:
        fronts = [(task, _front(task)) for task in found]
        write("explorer", folder, home=home, tasks=found, fronts=fronts)
    return out / "index.html"


def _front(task: dict) -> list[dict]:
    """Files that no other beats, from the smallest: what a reader without scripts gets."""
    table = pd.DataFrame(task["files"])
    bad = table["value"] * (-1 if task["higher"] else 1)
    best = table[pareto.beaten(np.c_[table["gzip"], bad]) == 0]
    return best.sort_values("gzip").to_dict("records")
