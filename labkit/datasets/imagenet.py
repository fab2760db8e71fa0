"""Photographs of ImageNet's 1,000 classes: whatever part of them lies in the folder of real data.

A tree `val/<wnid>/*` as the zip or folder `imagenet-sample-227` or `imagenet-sample`: one
photograph a class is enough for lab 10. Nothing is downloaded: ImageNet asks everybody to agree to
its terms. There is no synthetic form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labkit.datasets import DataError, folders, image_folder

CLASSES = 1000
#: Names under which a tree is recognised in the folder of real data.
NAMES = ("imagenet-sample-227.zip", "imagenet-sample-227", "imagenet-sample.zip", "imagenet-sample")


def find() -> Path | None:
    """The tree of photographs; None where there is none."""
    return next((p for p in (folders.real() / name for name in NAMES) if p.exists()), None)


def load(
    preprocessing: image_folder.Preprocessing = image_folder.CAFFE,
) -> tuple[np.ndarray, np.ndarray]:
    """All photographs, decoded.

    Args:
        preprocessing: of every photograph.

    Returns:
        images float32 (N, size, size, 3), and classes int64 (N,), 0 to 999 in the order of the
        sorted WordNet ids, which is that of the published networks.

    Raises:
        DataError: there are no photographs, or not of all classes: without them the numbers of the
            others are unknown.
    """
    path = find()
    if path is None:
        raise DataError(
            f"there are no photographs of ImageNet in {folders.real()}; expected a tree "
            f"val/<wnid>/*.jpg as {NAMES[0]} or as the folder {NAMES[-1]}."
        )
    tree = image_folder.open_tree(path, parts=("val",))
    if len(tree.class_names) != CLASSES:
        raise DataError(
            f"{path} has {len(tree.class_names):,} classes, expected all {CLASSES:,} of ImageNet, "
            "at least one photograph each."
        )
    return tree.load("val", preprocessing)
