"""The course's figures, in one style.

Every function returns a matplotlib figure; `show` displays it with its alternative text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from IPython.display import Image, display
from matplotlib.figure import Figure

#: Colours that readers with colour-blindness can tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#6b6b6b"
_DPI = 110

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG whose alternative text says what it shows.

    Raises:
        ValueError: no alternative text.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say in words what it shows.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
    display(Image(buffer.getvalue(), alt=alt))


@contextmanager
def _style():
    with mpl.rc_context(_STYLE):
        yield


def _axes(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def montage(
    images: np.ndarray, classes: np.ndarray, class_names: Sequence[str], columns: int = 12
) -> Figure:
    """Images (N, height, width, 1) in [0, 1], each with the name of its class."""
    rows = -(-len(images) // columns)
    with _style():
        figure, axes = _axes(0.78 * columns, 0.98 * rows, rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, image, k in zip(axes.flat, images, classes, strict=False):
            ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
            ax.set_title(class_names[k], fontsize=10, pad=2)
    return figure


def history(histories: Sequence[dict[str, list[float]]]) -> Figure:
    """Loss and accuracy an epoch on the training images, a line for each training."""
    with _style():
        figure, axes = _axes(8, 2.8, 1, 2)
        for name, factor, label, ax in (
            ("loss", 1, "loss (cross-entropy)", axes[0]),
            ("accuracy", 100, "accuracy on training images (%)", axes[1]),
        ):
            for values in histories:
                epochs = np.arange(1, len(values[name]) + 1)
                ax.plot(epochs, factor * np.array(values[name]), marker=".")
            ax.set(xlabel="epoch", ylabel=label)
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


def confusion(classes: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Confusion matrix in percent of the shown letter; the diagonal is left pale."""
    count = len(class_names)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (classes, predicted), 1)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    errors = percent.copy()
    np.fill_diagonal(errors, 0)
    with _style():
        figure, ax = _axes(6.4, 5.6)
        ax.grid(False)
        top = max(errors.max(), 1)
        picture = ax.imshow(errors, cmap="Blues", vmin=0, vmax=top)
        for i in range(count):
            ax.text(i, i, f"{percent[i, i]:.0f}", ha="center", va="center", fontsize=6.5, color=_GREY)
            for j in np.flatnonzero(errors[i] >= 1):
                colour = "white" if errors[i, j] > 0.6 * top else "black"
                ax.text(j, i, f"{errors[i, j]:.0f}", ha="center", va="center", fontsize=6.5,
                        color=colour)
        ax.set_xticks(range(count), class_names, fontsize=8)
        ax.set_yticks(range(count), class_names, fontsize=8)
        ax.set(xlabel="read as", ylabel="shown")
        figure.colorbar(picture, ax=ax, shrink=0.6, label="wrong, % of the shown letter")
    return figure


def comparison(report: pd.DataFrame) -> Figure:
    """Accuracy with its spread against bytes, a point for each technique.

    Args:
        report: index "technique"; columns "accuracy (%)", "bytes", and "± (%)" if repeated.
    """
    with _style():
        figure, ax = _axes(8, 3.8)
        kilobytes = report["bytes"] / 1000
        spread = report["± (%)"].fillna(0) if "± (%)" in report else 0 * kilobytes
        for i, name in enumerate(report.index):
            ax.errorbar(kilobytes[name], report["accuracy (%)"][name], spread[name], fmt="o",
                        markersize=8, capsize=4, color=COLOURS[i % len(COLOURS)])
        _label_points(ax, kilobytes, report["accuracy (%)"], report.index)
        ax.set(xlabel="size of the file (kB)", ylabel="test accuracy (%)", xlim=(0, None))
        low, high = ax.get_ylim()
        if high - low < 1:  # do not blow a tenth of a point up to the height of the figure
            middle = (low + high) / 2
            ax.set_ylim(middle - 0.5, middle + 0.5)
        ax.margins(x=0.15)
    return figure


def front(report: pd.DataFrame, best: pd.DataFrame) -> Figure:
    """Accuracy over bytes of every file, the Pareto-optimal ones joined by a line."""
    with _style():
        figure, ax = _axes(8, 4)
        ax.plot(report["bytes"] / 1000, report["accuracy (%)"], "o", color="#b5b5b5")
        ax.step(best["bytes"] / 1000, best["accuracy (%)"], "o-", where="post", color=COLOURS[0])
        _label_points(ax, best["bytes"] / 1000, best["accuracy (%)"], best["technique"])
        ax.set(xlabel="size of the file (kB)", ylabel="test accuracy (%)", xscale="log")
    return figure


def _label_points(ax, x, y, names) -> None:
    """Write names beside points; those of points that nearly coincide go under each other."""
    order = sorted(zip(x, y, names, strict=True), key=lambda p: (p[0], -p[1]))
    span = max(x) - min(x) or 1
    last, line = None, 0
    for px, py, name in order:
        line = line + 1 if last is not None and abs(px - last) < 0.16 * span else 0
        last = px if line == 0 else last
        ax.annotate(
            name, (px, py), xytext=(14, 34 - 15 * line), textcoords="offset points", fontsize=9,
            va="center", arrowprops={"arrowstyle": "-", "color": "#9a9a9a", "lw": 0.7},
        )


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    log_x: int | None = None,
    levels: Sequence[float] = (),
) -> Figure:
    """A line for each column over the index, its name at its end.

    Args:
        table: index numeric, columns the lines.
        x, y: labels of the axes, with units.
        log_x: base of a logarithmic x axis; linear without.
        levels: y values to mark with a thin line.
    """
    with _style():
        figure, ax = _axes(8, 3.6)
        for level in levels:
            ax.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        few = len(table) <= 12
        ends = []
        for i, name in enumerate(table.columns):
            values = table[name].dropna()
            ax.plot(values.index, values, marker="o" if few else None, color=COLOURS[i])
            ends.append((float(values.iloc[-1]), values.index[-1], name, COLOURS[i]))
        if log_x:
            ax.set_xscale("log", base=log_x)
        if few:
            ax.set_xticks(table.index, [f"{v:g}" for v in table.index])
            ax.minorticks_off()
        low, high = ax.get_ylim()
        placed = -np.inf
        for value, end, name, colour in sorted(ends):
            placed = max(value, placed + 0.075 * (high - low))
            ax.annotate(name, (end, value), xytext=(1.01, (placed - low) / (high - low)),
                        textcoords="axes fraction", color=colour, va="center", fontsize=9)
        ax.set(xlabel=x, ylabel=y)
    return figure


def weight_histogram(weights: np.ndarray, scale: float) -> Figure:
    """Histogram of weights (any shape), and how many of them each symmetric 8-bit code gets."""
    values = np.ravel(weights)
    codes = np.round(values / scale)
    with _style():
        figure, axes = _axes(8, 3, 1, 2)
        axes[0].hist(values, bins=61, color=COLOURS[0])
        for edge in (-127 * scale, 127 * scale):
            axes[0].axvline(edge, color=COLOURS[1], linewidth=1.2)
        axes[0].annotate(
            "±127 · scale", (127 * scale, axes[0].get_ylim()[1]), xytext=(-4, -2), va="top",
            ha="right", textcoords="offset points", color=COLOURS[1], fontsize=9,
        )
        axes[0].set(xlabel="weight", ylabel="number of weights")
        axes[1].hist(codes, bins=np.arange(-128.5, 129, 4), color=COLOURS[0])
        used = len(np.unique(codes))
        axes[1].set(xlabel="code", ylabel="number of weights",
                    title=f"{used} of 255 codes are used")
        axes[1].title.set_fontsize(10)
    return figure


def activation_ranges(ranges: pd.DataFrame) -> Figure:
    """A bar for each layer from "min" to "max", and a thicker one from "p0.5" to "p99.5"."""
    with _style():
        figure, ax = _axes(8, 0.5 * len(ranges) + 1)
        positions = np.arange(len(ranges))[::-1]
        width = ranges["max"] - ranges["min"]
        ax.barh(positions, width, left=ranges["min"], height=0.28, color="#b9d7ea")
        middle = ranges["p99.5"] - ranges["p0.5"]
        ax.barh(positions, middle, left=ranges["p0.5"], height=0.5, color=COLOURS[0])
        for position, (_, row) in zip(positions, ranges.iterrows(), strict=True):
            ax.annotate(
                f"{row['max']:.1f}", (row["max"], position), xytext=(4, 0), va="center", fontsize=9,
                textcoords="offset points", color=_GREY,
            )
        ax.set_yticks(positions, ranges.index)
        ax.set(xlabel="activation (dark: the middle 99 % of values; pale: all)")
        ax.margins(x=0.08)
    return figure


def quantisation_steps(quantise: Callable, low: float, high: float) -> Figure:
    """A quantiser's staircase over [low, high], and its error below."""
    x = np.linspace(low, high, 2001)
    y = quantise(x)
    with _style():
        figure, axes = _axes(8, 4.2, 2, 1, sharex=True, height_ratios=[2, 1])
        axes[0].plot(x, x, color="#b5b5b5", linewidth=1)
        axes[0].plot(x, y, color=COLOURS[0])
        axes[0].set(ylabel="quantised x")
        axes[1].plot(x, y - x, color=COLOURS[1])
        axes[1].set(xlabel="x", ylabel="error")
    return figure
