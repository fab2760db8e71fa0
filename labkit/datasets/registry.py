"""The data sets that labkit knows, by name."""

from __future__ import annotations

from labkit.datasets import (
    DataError,
    Source,
    cifar10,
    cifar10_pairs,
    localisation,
    sign_mnist,
    uci_har,
)

#: With files of their own.
SOURCES = {
    module.SOURCE.name: module.SOURCE for module in (sign_mnist, cifar10, uci_har, localisation)
}


#: Made of another one's files.
DERIVED = {
    pair.name: pair
    for pair in (cifar10_pairs.CAT_DOG, cifar10_pairs.HORSE_FROG, cifar10_pairs.ROTATED_CAT_DOG)
}


def source(name: str) -> Source:
    """The data set of that name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    known = SOURCES | DERIVED
    if name not in known:
        raise DataError(f"there is no data set {name!r}; labkit knows {', '.join(known)}.")
    return known[name]
