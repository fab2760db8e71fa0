"""Which output of a network stands for which folder of images."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np

from labkit.datasets import DataError
from labkit.datasets.image_folder import ImageFolder
from labkit.net import NetError

#: A table at the root of a tree: the columns wnid (name of the folder) and label (number).
TABLE = "labels.csv"


def read(tree: ImageFolder) -> dict[str, int]:
    """The numbers that a tree's `labels.csv` gives to its folders; empty where there is none.

    Raises:
        DataError: the table has other columns, or a label that is no number.
    """
    try:
        text = tree.content(TABLE).decode("utf-8-sig")
    except (KeyError, OSError):
        return {}
    try:
        return {row["wnid"]: int(row["label"]) for row in csv.DictReader(io.StringIO(text))}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{tree.path}: {TABLE} cannot be used ({error}); expected the columns wnid, the name "
            "of the class's folder, and label, its number from 0 on."
        ) from error


def names(tree: ImageFolder, outputs: int) -> tuple[str, ...]:
    """Names of a network's outputs: of the folders, or where none is their number."""
    folders = {number: name for name, number in read(tree).items()}
    if not folders and len(tree.class_names) == outputs:
        return tree.class_names
    return tuple(folders.get(number, str(number)) for number in range(outputs))


def fitted(tree: ImageFolder, outputs: int, names: tuple[str, ...] = ()) -> ImageFolder:
    """The tree with its classes numbered as a network's outputs.

    Args:
        tree: with classes numbered in the order of their folders' names.
        outputs: of the network.
        names: of the outputs, where they are known: folders are found by their names. Without,
            `labels.csv` gives the numbers; without that, there must be as many folders as outputs,
            and their order is that of the outputs.

    Raises:
        NetError: the folders and the outputs do not match.
    """
    numbers = {name: i for i, name in enumerate(names)} or read(tree)
    if not numbers and len(tree.class_names) == outputs:
        return tree
    if not numbers:
        raise NetError(
            f"{tree.path} has {len(tree.class_names):,} classes, the network has {outputs:,} "
            f"outputs: expected as many, or a {TABLE} (wnid, label) that numbers the folders."
        )
    for name in tree.class_names:
        if not 0 <= numbers.get(name, -1) < outputs:
            what = f"output {numbers[name]}" if name in numbers else "none"
            raise NetError(
                f"{tree.path}: class {name!r} matches {what} of the network's {outputs:,} outputs."
            )
    order = np.array([numbers[name] for name in tree.class_names])
    return replace(tree, classes={part: order[k] for part, k in tree.classes.items()})
