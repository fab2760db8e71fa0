"""The cells of a notebook file that somebody has handed in, as far as they can be understood."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import nbformat

from labkit.errors import LabkitError
from labkit.grading.code_cells import defined
from labkit.grading.names import readable, shown

_MAX_CELLS, _MAX_TEXT = 2000, 5_000_000


class NotebookError(LabkitError):
    """A file that is no notebook."""


@dataclass(frozen=True)
class Cell:
    """A submitted cell, as far as it can be understood."""

    kind: str
    source: str
    ids: tuple[str, ...]
    tags: tuple[str, ...]
    exercise: str
    question: str
    number: int = 0

    @cached_property
    def words(self) -> str:
        """Of its text, in small letters."""
        return words(self.source)

    @cached_property
    def defined(self) -> frozenset[str]:
        """Names of the functions and classes that it defines."""
        return frozenset(defined(self.source)) if self.kind == "code" else frozenset()


@dataclass(frozen=True)
class Parsed:
    """The cells of a notebook file, and what of them had to be repaired."""

    cells: list[Cell]
    repairs: list[str]


def parse(content: bytes) -> Parsed:
    """The cells of a notebook file; outputs are not kept: they prove nothing.

    Raises:
        NotebookError: it is no notebook.
    """
    repairs: list[str] = []
    try:
        notebook = json.loads(_decoded(content, repairs))
        if isinstance(notebook, dict) and "worksheets" in notebook:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
    except (ValueError, RecursionError) as error:
        why = "it is empty" if not content.strip() else f"it is no valid JSON ({str(error)[:100]})"
        raise NotebookError(why) from error
    except Exception as error:  # whatever the conversion of an old format meets
        raise NotebookError(
            f"an old format that cannot be read ({type(error).__name__})"
        ) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotebookError("it holds no list of cells")
    if len(cells) > _MAX_CELLS:
        raise NotebookError(f"it holds {len(cells):,} cells, at most {_MAX_CELLS:,} are read")
    read, damaged, number, total = [], 0, 0, 0
    for cell in cells:
        if not isinstance(cell, dict) or not isinstance(cell.get("source", ""), (str, list)):
            damaged += 1
            continue
        number += cell.get("cell_type") == "code"
        read.append(_cell(cell, number))
        total += len(read[-1].source)
        if total > _MAX_TEXT:
            raise NotebookError(f"its cells hold more than {_MAX_TEXT:,} characters")
    if damaged:
        repairs.append(f"{damaged} damaged cell{'s were' if damaged > 1 else ' was'} left out")
    twice = {i: n for i, n in Counter(c.ids[0] for c in read if c.ids).items() if n > 1}
    repairs += [
        f"the cell id {shown(i[:60])} occurs {n} times" for i, n in sorted(twice.items())[:5]
    ]
    return Parsed(read, repairs)


def _decoded(content: bytes, repairs: list[str]) -> str:
    """The file's text, in whatever encoding an editor has saved it."""
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        repairs.append("its text is no UTF-8: it was read as Windows-1252")
        return content.decode("cp1252", "replace")


def _cell(cell: dict, number: int) -> Cell:
    source = cell.get("source", "")
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    tags = metadata.get("tags")
    ids = (cell.get("id"), nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None)
    text = source if isinstance(source, str) else "".join(map(str, source))
    return Cell(
        kind=str(cell.get("cell_type")),
        source=readable(text.replace("\r\n", "\n")),
        ids=tuple(readable(i) for i in ids if isinstance(i, str)),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        exercise=str(metadata.get("exercise", "")),
        question=str(metadata.get("question", "")),
        number=number,
    )


def words(text: str) -> str:
    """The words of a text, in small letters, with single spaces."""
    return re.sub(r"\W+", " ", text).strip().lower()
