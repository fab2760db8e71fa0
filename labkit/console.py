"""Where the `labkit` command prints: what it found, and what went wrong."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)

#: A column of names is never narrower, whatever the terminal.
_NARROWEST = 10


def say(line: str) -> None:
    """Print a line as it is: not wrapped, not coloured, its brackets not taken for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def complain(line: str) -> None:
    """Print a line, red, where errors go."""
    errors.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def take_any_name() -> None:
    """Print what a terminal, or a file name, has no letters for as "\\udce9", not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    names: Sequence[str],
    title: str = "",
    plain: bool = True,
) -> None:
    """Print a table. Figures are whole in any terminal, and through a pipe: names give way.

    Args:
        headings: of the columns.
        rows: a text for each column.
        names: headings of the columns that are broken over lines where there is no room, and stand
            to the left; those of all others stand to the right.
        title: over the table.
        plain: without rules.
    """
    cells = [[Text.from_markup(cell) for cell in row] for row in rows]
    longest = [max([0, *(row[i].cell_len for row in cells)]) for i in range(len(headings))]
    words = [max([0, *map(len, heading.split())]) for heading in headings]
    between = (2 if plain else 3) * len(headings) + 1
    # Headings are broken only where all of them have no room in one line.
    broken = sum(map(max, longest, map(len, headings))) + between > console.width
    table = Table(title=title or None, **({"box": None, "pad_edge": False} if plain else {}))
    needed = between
    for heading, cell, word in zip(headings, longest, words, strict=True):
        least = max(min(cell, _NARROWEST), word) if heading in names else max(cell, word)
        if heading in names:
            table.add_column(heading, overflow="fold", min_width=least)
        else:
            width = least if broken else max(cell, len(heading))
            table.add_column(heading, justify="right", width=width, overflow="fold")
        needed += least
    for row in cells:
        table.add_row(*row)
    wide = console if console.width >= needed else Console(width=needed, file=console.file)
    wide.print(table)
