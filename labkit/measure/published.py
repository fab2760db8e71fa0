"""The source documents' figures, to put beside one's own."""

from __future__ import annotations

from importlib import resources

import pandas as pd

COLUMNS = ("document", "table", "lab", "model", "technique", "metric", "value", "unit", "note")


def published(lab: str | None = None, document: str | None = None) -> pd.DataFrame:
    """Figures of the source documents.

    Args:
        lab: a lab's number, for example "02": the figures that it compares with.
        document: its title, or a part of it.

    Returns:
        a row per figure: document, table, lab (numbers of the labs that use it, separated by
        spaces), model, technique, metric, value, unit, note.

    Raises:
        ValueError: no figure of that lab or document.
    """
    source = resources.files("labkit") / "reference" / "published.csv"
    with source.open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, dtype=str, keep_default_na=False).astype({"value": float})
    if lab is not None:
        table = table[[lab in labs.split() for labs in table["lab"]]]
    if document is not None:
        table = table[table["document"].str.contains(document, case=False, regex=False)]
    if table.empty:
        raise ValueError(f"no published figures for lab {lab!r} and document {document!r}.")
    return table.reset_index(drop=True)
