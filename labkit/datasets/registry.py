"""The data sets that labkit knows: where they come from, under which licence, how to get them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.datasets import DataError, download, folders, sign_mnist


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: as in `labkit data get NAME`.
        title, page, licence, citation: of the real data.
        find: the real files on this disk, or None.
        get: downloads the real data to a path and returns it.
        verify: reads and validates all of it, returns one line of what is there.
        target: file that `get` writes, in the folder of real data.
    """

    name: str
    title: str
    page: str
    licence: str
    citation: str
    target: str
    find: Callable[[], object]
    get: Callable[[Path], Path]
    verify: Callable[[], str]


def _get_sign_mnist(target: Path) -> Path:
    return download.fetch_from_kaggle(
        "datamunge/sign-language-mnist", target, sign_mnist.validate_archive
    )


def _verify_sign_mnist() -> str:
    return sign_mnist.read_real(cached=False).describe()


_ENTRIES = (
    Entry(
        name="sign_mnist",
        title="Sign Language MNIST",
        page="https://www.kaggle.com/datamunge/sign-language-mnist",
        licence="CC0: Public Domain (as listed by Kaggle)",
        citation="tecperson, Sign Language MNIST, Kaggle, 2017",
        target=sign_mnist.ARCHIVES[0],
        find=sign_mnist.find,
        get=_get_sign_mnist,
        verify=_verify_sign_mnist,
    ),
)


def entries() -> tuple[Entry, ...]:
    """All data sets."""
    return _ENTRIES


def entry(name: str) -> Entry:
    """One data set.

    Raises:
        DataError: an unknown name.
    """
    for known in _ENTRIES:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in _ENTRIES)
    raise DataError(f"there is no data set {name!r}; labkit knows {names}.")


def get(name: str, force: bool = False) -> Path:
    """Download a data set into the folder of real data; with `force` over what is there.

    Raises:
        DataError: it is there already, or the download failed; what was there stays.
    """
    known = entry(name)
    if known.find() is not None and not force:
        raise DataError(f"{name} is already in {folders.real()}; --force downloads it again.")
    return known.get(folders.real() / known.target)


def verify(name: str) -> str:
    """Read and validate all of a real data set; returns one line of what is there.

    Raises:
        DataError: naming the file, the row and what was expected.
    """
    return entry(name).verify()
