"""Images and series of classes, and what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from labkit.plots.style import (
    GREY,
    axes_of,
    name_ends,
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


def windows(
    series: np.ndarray, names: Sequence[str], lines: Sequence[str], rate: float, label: str
) -> Figure:
    """Series side by side on the same axes, three in a row, each with the same few lines.

    Args:
        series: (N, time, lines).
        names: of the series, over them.
        lines: name of each line.
        rate: samples in a second.
        label: of the vertical axis, with its unit.
    """
    rows = -(-len(series) // 3)
    time = np.arange(series.shape[1]) / rate
    with style():
        figure, axes = axes_of(1.7 * rows + 0.3, rows, 3, sharex=True, sharey=True, squeeze=False)
        for ax, one, name in zip(axes.flat, series, names, strict=False):
            ax.plot(time, one, linewidth=1.3)
            ax.set_title(name)
        for ax in list(axes.flat)[len(series) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel(label)
        for ax in axes[-1]:
            ax.set_xlabel("time (s)")
        figure.get_layout_engine().execute(figure)
        name_ends(axes[0, -1], series[min(2, len(series) - 1), -1], lines, line=0.13)
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
        many = count > 10
        figure, ax = axes_of(6 if many else 4.2, width=7 if many else 6)
        ax.grid(False)
        top = max(errors.max(), 1)
        picture = ax.imshow(errors, cmap="Blues", vmin=0, vmax=top)
        for i, j in zip(*np.nonzero((errors >= 0.5) | np.eye(count, dtype=bool)), strict=True):
            colour = "white" if errors[i, j] > 0.6 * top else GREY if i == j else "black"
            text = {"ha": "center", "va": "center", "fontsize": 7 if many else 9, "color": colour}
            ax.text(j, i, f"{percent[i, j]:.0f}", **text)
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        long = sum(map(len, class_names)) > 50
        ax.set_xticks(range(count), class_names, fontsize=9, **(turned if long else {}))
        ax.set_yticks(range(count), class_names, fontsize=9)
        ax.set(xlabel="read as", ylabel="shown")
        figure.colorbar(picture, ax=ax, shrink=0.6, label="errors (% of the class shown)")
    return figure
