"""The catalogue of data sets, and what can be done with each: get, verify, where.

The facts are in `registry.toml`. How a data set is found and read is in the module of its name,
which offers `find()` and `verify(files)`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from labkit.datasets import DataError, download, folders

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue.

    Attributes:
        name: of the data set and of its module in `labkit.datasets`.
        page: where people find it.
        kaggle: owner/name on Kaggle, where it is published there.
        url: of the file, where anybody may download it.
        file: what a download is called in the folder of real data.
        rows: samples in each part, by the part's name.
        sha256: what `verify` compares with; the catalogue says of what.
        synthetic: what labkit makes in its place.
    """

    name: str
    title: str
    page: str
    file: str
    licence: str
    citation: str
    synthetic: str
    rows: dict[str, int]
    sha256: dict[str, str]
    kaggle: str = ""
    url: str = ""

    def find(self) -> tuple[Path, ...] | None:
        """The real files on this disk; None where they are not."""
        return self.module.find()

    @property
    def module(self) -> ModuleType:
        """The module that finds and reads the real files."""
        return importlib.import_module(f"labkit.datasets.{self.name}")


@dataclass(frozen=True)
class Report:
    """What `verify` found, all of it valid.

    Attributes:
        files: that were read.
        rows: samples in each part.
        published: whether every part has the published file's checksum.
    """

    name: str
    files: tuple[Path, ...]
    rows: dict[str, int]
    published: bool

    def __str__(self) -> str:
        """One line for a terminal."""
        rows = " + ".join(f"{count:,} {part}" for part, count in self.rows.items())
        same = "the published bytes" if self.published else "valid, but not the published bytes"
        return f"{self.name}: {rows} rows, {same} ({', '.join(map(str, self.files))})"


@functools.cache
def entries() -> tuple[Entry, ...]:
    """All data sets, in the catalogue's order."""
    text = importlib.resources.files("labkit.datasets").joinpath("registry.toml").read_text("utf-8")
    return tuple(Entry(name, **facts) for name, facts in tomllib.loads(text).items())


def entry(name: str) -> Entry:
    """The data set of that name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    for candidate in entries():
        if candidate.name == name:
            return candidate
    known = ", ".join(candidate.name for candidate in entries())
    raise DataError(f"there is no data set {name!r}; labkit knows {known}.")


def where(name: str | None = None) -> dict[str, tuple[Path, ...]]:
    """The real files of one data set, or of all, by name; empty where they are not."""
    chosen = (entry(name),) if name else entries()
    return {known.name: known.find() or () for known in chosen}


def verify(name: str) -> Report:
    """Read the real files whole and compare them with the published ones.

    Raises:
        DataError: they are missing, damaged or incomplete.
    """
    known = entry(name)
    return known.module.verify(known.find())


def get(name: str, force: bool = False) -> Path:
    """Download the real data into the folder of real data, unless it is there.

    The download takes its place only when it was read whole and has the published checksums.

    Args:
        name: of the data set.
        force: download again and replace the file that is there.

    Returns:
        The file.

    Raises:
        DataError: no credentials, no connection, or not the published data; nothing has changed.
    """
    known = entry(name)
    if known.find() and not force:
        return verify(name).files[0]
    target = folders.real() / known.file
    if known.url:
        return download.from_http(known.url, target, known.sha256[known.file], force=force)

    def check(arrived: Path) -> None:
        if not known.module.verify((arrived,)).published:
            raise DataError(f"its checksums are not those of the published {known.title}.")

    return download.from_kaggle(known.kaggle, target, check, page=known.page, force=force)
