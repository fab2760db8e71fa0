"""Where the `labkit` command prints: what it found, and what went wrong."""

from __future__ import annotations

from rich.console import Console

console = Console()
errors = Console(stderr=True)


def say(line: str) -> None:
    """Print a line as it is: not wrapped, not coloured, its brackets not taken for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
