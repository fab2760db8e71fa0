"""The course's figures, in one style.

Every function returns a matplotlib figure; `show` displays it with its alternative text.
"""

from __future__ import annotations

import base64
import io
import itertools
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import matplotlib.colors
import matplotlib.ticker
import numpy as np
import pandas as pd
import PIL.Image
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Colours that readers with colour-blindness can tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY, _PALE = "#6b6b6b", "#b9d7ea"
_WIDTH = 8  # inches: the width of a notebook's output at 110 dots an inch
_DPI = 110

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


def style() -> AbstractContextManager:
    """The style of the course's figures, for figures of your own: `with plots.style(): ...`."""
    return mpl.rc_context(_STYLE)


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG whose alternative text says what it shows, and close it.

    Args:
        figure: from one of this module's functions, or any of matplotlib's.
        alt: what a reader who cannot see the figure should know. It goes into the output's
            metadata, from where nbconvert's classic template takes it, and into its plain text.

    Raises:
        ValueError: no alternative text.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say in words what it shows.")
    png, width, height = _png(figure)
    display(
        {"image/png": base64.b64encode(png).decode(), "text/plain": alt},
        # Twice the dots in the same width, for sharp text on the screens of today.
        metadata={"image/png": {"alt": alt, "width": width // 2, "height": height // 2}},
        raw=True,
    )
    if "matplotlib.pyplot" in sys.modules:  # or a notebook shows the figure a second time
        sys.modules["matplotlib.pyplot"].close(figure)


def _png(figure: Figure) -> tuple[bytes, int, int]:
    """A figure as a PNG of at most 256 colours, a third of the bytes; and its size in dots."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=2 * _DPI, bbox_inches="tight")
    picture = PIL.Image.open(full).convert("RGB")
    picture.quantize(256, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE).save(
        small, "png", optimize=True
    )
    return small.getvalue(), *picture.size


def _axes(height: float, rows: int = 1, columns: int = 1, width: float = _WIDTH, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


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
        figure, axes = _axes(0.94 * rows, rows, columns, width=0.74 * columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, image, k in zip(axes.flat, images, classes, strict=False):
            ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(class_names[k], loc="center", pad=2)
    return figure


def history(histories: Sequence[dict[str, list[float]]]) -> Figure:
    """Loss and accuracy on the training images after each epoch, a line for each training.

    Args:
        histories: of each training, "loss" and "accuracy" (fraction) by epoch.
    """
    panels = (("loss", 1, "loss (cross-entropy)"), ("accuracy", 100, "training accuracy (%)"))
    with style():
        figure, axes = _axes(2.8, 1, 2)
        for ax, (name, factor, label) in zip(axes, panels, strict=True):
            for width, values in zip(_widths(len(histories)), histories, strict=True):
                epochs = np.arange(1, len(values[name]) + 1)
                ax.plot(epochs, factor * np.array(values[name]), ".-", linewidth=width)
            ax.set(xlabel="epoch", ylabel=label)
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


def _widths(count: int) -> np.ndarray:
    """Line widths from thick to thin, so that lines on top of each other all show."""
    return np.linspace(1.8 + 0.7 * min(count - 1, 3), 1.8, count)


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
        figure, ax = _axes(6, width=7)
        ax.grid(False)
        top = max(errors.max(), 1)
        picture = ax.imshow(errors, cmap="Blues", vmin=0, vmax=top)
        for i, j in zip(*np.nonzero((errors >= 0.5) | np.eye(count, dtype=bool)), strict=True):
            colour = "white" if errors[i, j] > 0.6 * top else _GREY if i == j else "black"
            text = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
            ax.text(j, i, f"{percent[i, j]:.0f}", **text)
        ax.set_xticks(range(count), class_names, fontsize=9)
        ax.set_yticks(range(count), class_names, fontsize=9)
        ax.set(xlabel="read as", ylabel="shown")
        figure.colorbar(picture, ax=ax, shrink=0.6, label="errors (% of the class shown)")
    return figure


def comparison(report: pd.DataFrame) -> Figure:
    """Accuracy with its spread, and beside it the size, of each technique.

    The first technique is the reference: a line at its accuracy, and its spread as a band.

    Args:
        report: index "technique"; columns "accuracy (%)", "bytes", and "± (%)" if repeated.
    """
    rows = np.arange(len(report))
    accuracy = report["accuracy (%)"].to_numpy()
    spread = report.get("± (%)", pd.Series(0, report.index)).fillna(0).to_numpy()
    size = report["bytes"].to_numpy() / 1000
    with style():
        figure, (left, right) = _axes(0.42 * len(report) + 0.9, 1, 2, sharey=True)
        figure.get_layout_engine().set(wspace=0.06)
        left.axvspan(accuracy[0] - spread[0], accuracy[0] + spread[0], color="#f0f0f0", zorder=0)
        left.axvline(accuracy[0], color=_GREY, linewidth=0.8)
        left.errorbar(accuracy, rows, xerr=spread, fmt="o", markersize=7, capsize=3)
        left.set_yticks(rows, report.index)
        left.set_ylim(len(report) - 0.5, -0.5)  # the first technique on top
        low, high = left.get_xlim()
        if high - low < 2:  # do not blow a tenth of a point up to the width of the figure
            low, high = (low + high) / 2 - 1, (low + high) / 2 + 1
        if high > 100:  # nothing lies there
            low, high = low - (high - 100.1), 100.1
        left.set(xlabel="test accuracy (%)", xlim=(low, high))
        left.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        if spread.any():
            left.set_title("mean and deviation over the seeds", color=_GREY, fontsize=9)
        bars = right.barh(rows, size, height=0.5)
        ratios = [f"{s:,.1f}   ÷ {size[0] / s:.1f}" for s in size[1:]]
        right.bar_label(bars, [f"{size[0]:,.1f}", *ratios], padding=4, fontsize=9)
        right.set(xlabel="size of the file (kB)", xlim=(0, 1.15 * max(size)))
        for ax in (left, right):
            ax.grid(False, axis="y")
            ax.tick_params(axis="y", length=0)
    return figure


def front(report: pd.DataFrame, best: pd.DataFrame) -> Figure:
    """Accuracy over bytes of every file, the Pareto-optimal ones named and joined by a line.

    Args:
        report: columns "technique", "accuracy (%)", "bytes", "data", "profile".
        best: the Pareto-optimal rows of it.
    """
    with style():
        figure, ax = _axes(4)
        ax.plot(report["bytes"] / 1000, report["accuracy (%)"], "o", color="#b5b5b5")
        groups = best.groupby(["data", "profile"], sort=False)
        for colour, (key, group) in zip(COLOURS * 9, groups, strict=False):
            ax.step(group["bytes"] / 1000, group["accuracy (%)"], "o-", where="post", color=colour)
            last = group.iloc[-1]
            names = group["technique"] + (f" ({', '.join(key)})" if groups.ngroups > 1 else "")
            _name_points(ax, group["bytes"] / 1000, group["accuracy (%)"], names, colour)
            ax.hlines(last["accuracy (%)"], last["bytes"] / 1000, report["bytes"].max() / 1000,
                      color=colour, linewidth=0.8, linestyle=":")  # fmt: skip
        ax.set(xlabel="size of the file (kB)", ylabel="test accuracy (%)", xscale="log")
        ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.margins(x=0.12, y=0.2)
    return figure


def _name_points(ax: Axes, x, y, names, colour: str) -> None:
    """Write a name to the upper left of each point of a rising front, clear of its neighbours."""
    heights = (np.array(y) - np.min(y)) / max(np.ptp(y), 1e-9)
    places = np.log(np.array(x)) / max(np.ptp(np.log(x)), 1e-9)
    level = 0
    for i, (px, py, name) in enumerate(zip(x, y, names, strict=True)):
        near = i and places[i] - places[i - 1] < 0.25 and heights[i] - heights[i - 1] < 0.12
        level = level + 1 if near else 0
        ax.annotate(
            name, (px, py), xytext=(-12, 8 + 14 * level), textcoords="offset points",
            ha="right", fontsize=9, color=colour,
            arrowprops={"arrowstyle": "-", "color": "#9a9a9a", "linewidth": 0.7},
        )  # fmt: skip


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    log_x: int | None = None,
    levels: Sequence[float] = (),
) -> Figure:
    """A line for each column over the index, its name at its end.

    Args:
        table: index numeric, a column a line.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        log_x: base of a logarithmic horizontal axis; linear without.
        levels: values to mark with a horizontal line.
    """
    few = len(table) <= 12
    with style():
        figure, ax = _axes(3.6)
        for level in levels:
            ax.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        for width, name in zip(_widths(table.shape[1]), table.columns, strict=True):
            values = table[name].dropna()
            ax.plot(values.index, values, marker="o" if few else None, linewidth=width)
        if log_x:
            ax.set_xscale("log", base=log_x)
        if few:
            ax.set_xticks(table.index, [f"{v:g}" for v in table.index])
            ax.minorticks_off()
        ax.set(xlabel=x, ylabel=y)
        _name_ends(ax, [table[name].dropna().iloc[-1] for name in table], table.columns)
    return figure


def _name_ends(ax: Axes, ends: Sequence[float], names: Sequence[str]) -> None:
    """Write names right of the axes at the height of the lines' ends, moved apart if need be."""
    texts = [textwrap.fill(str(name), 18) for name in names]
    low, high = ax.get_ylim()
    heights = (np.array(ends) - low) / (high - low)
    order = np.argsort(heights)
    # From the bottom up each name starts above the one below it; then the stack is moved to lie
    # around the ends that it names.
    placed = heights.copy()
    for below, above in itertools.pairwise(order):
        lines_of_text = (texts[below].count("\n") + texts[above].count("\n") + 2) / 2
        placed[above] = max(placed[above], placed[below] + 0.07 * lines_of_text)
    placed -= max(0, placed.max() - max(heights.max(), 1))
    for i, (text, height) in enumerate(zip(texts, placed, strict=True)):
        ax.annotate(
            text, (1.01, height), xycoords="axes fraction", va="center", fontsize=9,
            color=COLOURS[i % len(COLOURS)],
        )  # fmt: skip


def weight_histogram(
    weights: np.ndarray, scale: float, zero_point: int = 0, bits: int = 8
) -> Figure:
    """Histogram of weights over the grid of their codes.

    Args:
        weights: float, of any shape.
        scale: S, the grid's step.
        zero_point: Z, the code of the weight 0.
        bits: width of the codes; the lowest one is not used, as for symmetric weights.
    """
    values = np.ravel(weights)
    limit = 2 ** (bits - 1) - 1
    codes = np.clip(np.round(values / scale) + zero_point, -limit, limit)
    every = max(1, 2 ** (bits - 4))  # so many codes from one grid line to the next
    used, half = len(np.unique(codes)), np.median(np.abs(codes - zero_point))
    with style():
        figure, ax = _axes(3.2)
        ax.grid(False)
        grid = scale * (np.arange(-(limit // every) * every, limit + 1, every) - zero_point)
        ax.vlines(grid, 0, 1, color="#dcdcdc", linewidth=0.8, transform=ax.get_xaxis_transform())
        width = max(1, every // 4)
        edges = np.arange(-limit - 0.5, limit + width, width) - zero_point
        ax.hist(values, bins=scale * edges, color=COLOURS[0])
        ends = [scale * (code - zero_point) for code in (-limit, limit)]
        ax.vlines(ends, 0, 1, color=COLOURS[1], transform=ax.get_xaxis_transform())
        ax.set(xlabel="weight", ylabel="number of weights")
        top = ax.secondary_xaxis(
            "top", functions=(lambda w: w / scale + zero_point, lambda q: scale * (q - zero_point))
        )
        middle = [q for q in range(-limit, limit + 1) if q % (2 * every) == 0]
        top.set_xticks(sorted({-limit, *middle, limit}))
        top.set_xlabel("code")
        ax.annotate(
            f"{used} of {2 * limit + 1} codes are used;\n"
            f"half of the weights lie within\n±{half:.0f} codes of zero",
            (ends[1], 0.95), xycoords=ax.get_xaxis_transform(), xytext=(-8, 0),
            textcoords="offset points", ha="right", va="top", fontsize=9,
        )  # fmt: skip
    return figure


def activation_ranges(ranges: pd.DataFrame, steps: bool = False) -> Figure:
    """The range of each layer's activations, and of the middle 99 % of them.

    Args:
        ranges: index the layers; columns "min", "p0.5", "p99.5", "max".
        steps: whether to show beside them the step that 8 bits (256 codes from the smallest to
            the largest value) and 16 bits (symmetric) make of that range.
    """
    rows = np.arange(len(ranges))
    with style():
        figure, axes = _axes(0.45 * len(ranges) + 1.1, 1, 1 + steps, sharey=True, squeeze=False,
                             width_ratios=[3, 2] if steps else None)  # fmt: skip
        ax = axes[0, 0]
        all_of_it = ax.barh(
            rows, ranges["max"] - ranges["min"], left=ranges["min"], height=0.3, color=_PALE
        )
        ax.barh(rows, ranges["p99.5"] - ranges["p0.5"], left=ranges["p0.5"], height=0.5)
        ax.bar_label(all_of_it, [f"{v:.3g}" for v in ranges["max"]], padding=3, fontsize=9)
        for row in np.flatnonzero(ranges["min"] < 0):
            ax.annotate(
                f"{ranges['min'].iloc[row]:.3g}", (ranges["min"].iloc[row], row), va="center",
                xytext=(-3, 0), textcoords="offset points", ha="right", fontsize=9,
            )  # fmt: skip
        ax.set_yticks(rows, ranges.index)
        ax.set_ylim(len(ranges) - 0.5, -0.5)
        ax.set(xlabel="activation (dark: the middle 99 % of the values, pale: all)")
        ax.use_sticky_edges = bool((ranges["min"] >= 0).all())  # else room for the minima
        ax.margins(x=0.12)
        if steps:
            _steps_panel(axes[0, 1], rows, ranges)
        for ax in axes.flat:
            ax.grid(False, axis="y")
            ax.tick_params(axis="y", length=0)
    return figure


def _steps_panel(ax: Axes, rows: np.ndarray, ranges: pd.DataFrame) -> None:
    """The steps of 8 and 16 bits over each layer's range, on a logarithmic axis."""
    eight = (ranges["max"].clip(lower=0) - ranges["min"].clip(upper=0)) / 255
    sixteen = ranges[["min", "max"]].abs().max(axis=1) / 32767
    ax.hlines(rows, sixteen, eight, color="#dcdcdc", linewidth=1)
    for values, name, colour in ((sixteen, "16 bits", COLOURS[2]), (eight, "8 bits", COLOURS[0])):
        ax.plot(values, rows, "o", color=colour)
        ax.annotate(name, (values.iloc[0], 0), xytext=(0, 7), textcoords="offset points",
                    ha="center", color=colour, fontsize=9)  # fmt: skip
    ax.set(xscale="log", xlabel="step of the grid")
    ax.margins(x=0.15)


def quantisation_steps(quantise: Callable, low: float, high: float) -> Figure:
    """A quantiser's staircase, and its error below.

    Args:
        quantise: function of a float array that returns the quantised values.
        low: left end of the axis.
        high: right end of the axis.
    """
    x = np.linspace(low, high, 4001)
    y = np.asarray(quantise(x))
    levels = np.unique(y)
    half = np.diff(levels).min() / 2 if len(levels) > 1 else 0
    with style():
        figure, (top, bottom) = _axes(4.4, 2, 1, sharex=True, height_ratios=[2, 1])
        top.plot(x, x, color="#a8a8a8", linewidth=1)
        top.plot(x, y)
        top.annotate("x", (x[-1], x[-1]), xytext=(4, 0), textcoords="offset points", color=_GREY)
        top.annotate("quantised", (x[-1], y[-1]), xytext=(4, 0), textcoords="offset points",
                     va="center", color=COLOURS[0])  # fmt: skip
        top.set(ylabel="quantised x")
        bottom.plot(x, y - x, color=COLOURS[1])
        for level in (-half, half):
            bottom.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        bottom.annotate("± half\na step", (1, 0), xytext=(6, 0), textcoords="offset points",
                        xycoords=bottom.get_yaxis_transform(), va="center", color=_GREY,
                        fontsize=9)  # fmt: skip
        bottom.set(xlabel="x", ylabel="error")
    return figure


def mask_patterns(masks: dict[str, np.ndarray]) -> Figure:
    """Pruning masks beside each other, the weights that stay in colour.

    Args:
        masks: by name, bool (in, out).
    """
    with style():
        figure, axes = _axes(2.9, 1, len(masks), squeeze=False)
        for ax, (name, mask) in zip(axes.flat, masks.items(), strict=True):
            ax.grid(False)
            ax.pcolormesh(
                np.asarray(mask, float), cmap=mpl.colors.ListedColormap(["#ececec", COLOURS[0]]),
                vmin=0, vmax=1, edgecolors="white", linewidth=0.6,
            )  # fmt: skip
            ax.set(title=f"{name}: {np.mean(mask):.0%} stay", xlabel="output", aspect="equal")
            ax.set(xticks=[], yticks=[])
            ax.invert_yaxis()
            ax.spines[:].set_visible(False)
        axes[0, 0].set_ylabel("input")
    return figure


def accuracy_over_sparsity(points: pd.DataFrame, level: float | None = None) -> Figure:
    """Accuracy over sparsity, a dot a model and a line a pattern through the mean of its dots.

    The axis is logarithmic in the weights that are left: from 90 to 95 % as far as from 95 to 97.5.

    Args:
        points: columns "pattern", "sparsity (%)" (below 100) and "accuracy (%)".
        level: accuracy to mark with a horizontal line.
    """
    with style():
        figure, ax = _axes(3.8)
        if level is not None:
            ax.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        ends = []
        patterns = points.groupby("pattern", sort=False)
        for colour, (_, group) in zip(COLOURS * 9, patterns, strict=False):
            mean = group.groupby("sparsity (%)")["accuracy (%)"].mean()
            ax.plot(100 - mean.index, mean, color=colour)
            ax.plot(100 - group["sparsity (%)"], group["accuracy (%)"], "o", color=colour)
            ends.append(mean.iloc[-1])
        low, high = points["sparsity (%)"].min() - 5, points["sparsity (%)"].max() + 1
        ticks = [s for s in (0, 50, 75, 90, 95, 98, 99, 99.5) if low <= s <= high]
        ax.set_xscale("log")
        ax.set_xticks([100 - s for s in ticks], [f"{s:g}" for s in ticks])
        ax.minorticks_off()
        ax.invert_xaxis()
        ax.set(xlabel="weights pruned (%)", ylabel="test accuracy (%)")
        _name_ends(ax, ends, [name for name, _ in patterns])
    return figure


def accuracy_over_size(points: pd.DataFrame, level: float | None = None) -> Figure:
    """Accuracy over bytes after gzip, a dot a file and a line from one to the next of a pattern.

    Args:
        points: columns "pattern", "gzip (bytes)" and "accuracy (%)".
        level: accuracy to mark with a horizontal line.
    """
    with style():
        figure, ax = _axes(3.8)
        if level is not None:
            ax.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        ends = []
        patterns = points.groupby("pattern", sort=False)
        for colour, (_, group) in zip(COLOURS * 9, patterns, strict=False):
            group = group.sort_values("gzip (bytes)")
            ax.plot(group["gzip (bytes)"] / 1000, group["accuracy (%)"], "o-", color=colour)
            ends.append(group["accuracy (%)"].iloc[-1])
        ax.set(xlabel="size after gzip (kB)", ylabel="test accuracy (%)")
        _name_ends(ax, ends, [name for name, _ in patterns])
    return figure


def centroids(weights: np.ndarray, codebooks: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Histogram of weights, and below it where centroids begin and end.

    Args:
        weights: float (n,).
        codebooks: by name, centroids (k,) at the beginning and after k-means.
    """
    with style():
        figure, (top, bottom) = _axes(
            4.4, 2, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 1]}
        )
        top.hist(weights, bins=120, color=_PALE)
        top.set(yscale="log", ylabel="number of weights")
        heights = -np.arange(len(codebooks))
        pairs = zip(COLOURS, heights, codebooks.values(), strict=False)
        for colour, height, (start, end) in pairs:
            bottom.plot(start, np.full(len(start), height + 0.18), "o", mfc="none", color=colour)
            bottom.plot(end, np.full(len(end), height - 0.18), "o", color=colour)
        bottom.set(yticks=heights, yticklabels=codebooks, xlabel="weight", ylim=(-3.6, 1.0))
        bottom.tick_params(axis="y", length=0)
        bottom.grid(False, axis="y")
        bottom.set_title("open: where they begin; filled: after k-means", fontsize=9, color=_GREY)
    return figure
