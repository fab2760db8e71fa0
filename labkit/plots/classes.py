"""Images of classes, and what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from labkit.plots.style import (
    GREY,
    axes_of,
    style,
)


def montage(
    images: np.ndarray, classes: np.ndarray, class_names: Sequence[str], columns: int = 12
) -> Figure:
    """Images in rows, each under the name of its class.

    Args:
        images: (N, height, width, 1) in [0, 1].
        classes: integer (N,).
        class_names: name of each class.
        columns: images in a row.
    """
    rows = -(-len(images) // columns)
    with style():
        figure, axes = axes_of(0.94 * rows, rows, columns, width=0.74 * columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, image, k in zip(axes.flat, images, classes, strict=False):
            ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(class_names[k], loc="center", pad=2)
    return figure


def confusion(classes: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Confusion matrix in percent of the shown class; only errors are coloured.

    Args:
        classes: integer (N,), what was shown.
        predicted: integer (N,), what it was taken for.
        class_names: name of each class.
    """
    count = len(class_names)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (classes, predicted), 1)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    errors = percent * (1 - np.eye(count))
    with style():
        figure, ax = axes_of(6, width=7)
        ax.grid(False)
        top = max(errors.max(), 1)
        picture = ax.imshow(errors, cmap="Blues", vmin=0, vmax=top)
        for i, j in zip(*np.nonzero((errors >= 0.5) | np.eye(count, dtype=bool)), strict=True):
            colour = "white" if errors[i, j] > 0.6 * top else GREY if i == j else "black"
            text = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
            ax.text(j, i, f"{percent[i, j]:.0f}", **text)
        ax.set_xticks(range(count), class_names, fontsize=9)
        ax.set_yticks(range(count), class_names, fontsize=9)
        ax.set(xlabel="read as", ylabel="shown")
        figure.colorbar(picture, ax=ax, shrink=0.6, label="errors (% of the class shown)")
    return figure
