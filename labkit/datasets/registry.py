"""The data sets that labkit knows, by name."""

from __future__ import annotations

from labkit.datasets import DataError, Source, cifar10, sign_mnist, uci_har

SOURCES = {source.name: source for source in (sign_mnist.SOURCE, cifar10.SOURCE, uci_har.SOURCE)}


def source(name: str) -> Source:
    """The data set of that name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    if name not in SOURCES:
        raise DataError(f"there is no data set {name!r}; labkit knows {', '.join(SOURCES)}.")
    return SOURCES[name]
