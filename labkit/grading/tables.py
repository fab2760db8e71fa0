"""Tables that people bring back from a spreadsheet, in whatever form it has saved them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from labkit.grading import GradingError

#: Excel reads a CSV as UTF-8 only if it begins with this.
MARK = "\ufeff"


def read(path: Path, what: str) -> list[dict]:
    """The rows of a CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252.

    Args:
        what: the table is called in a message.

    Raises:
        GradingError: it is no such table.
    """
    try:
        text = _decoded(path.read_bytes())
        head = text.partition("\n")[0]
        separator = max(",;\t", key=head.count)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))
    except (OSError, csv.Error) as error:
        raise GradingError(f"{path}: cannot read {what}: {error}") from error
    return [{(name or "").strip(): value for name, value in row.items()} for row in rows]


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
