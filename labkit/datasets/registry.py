"""The data sets that labkit knows, by name."""

from __future__ import annotations

from labkit.datasets import DataError, Source, cifar10, localisation, sign_mnist, uci_har

SOURCES = {
    module.SOURCE.name: module.SOURCE for module in (sign_mnist, cifar10, uci_har, localisation)
}


def source(name: str) -> Source:
    """The data set of that name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    if name not in SOURCES:
        raise DataError(f"there is no data set {name!r}; labkit knows {', '.join(SOURCES)}.")
    return SOURCES[name]
