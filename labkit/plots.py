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
#: For figures of all labs: the same, and five more (P. Tol, 2021).
_MANY = (*COLOURS, "#882255", "#999933", "#44AA99", "#AA4499", "#332288")
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
    data, metadata = bundle(figure, alt)
    display(data, metadata=metadata, raw=True)
    if "matplotlib.pyplot" in sys.modules:  # or a notebook shows the figure a second time
        sys.modules["matplotlib.pyplot"].close(figure)


def bundle(figure: Figure, alt: str) -> tuple[dict, dict]:
    """A figure as a notebook's output: data and metadata by MIME type; arguments as in `show`."""
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say in words what it shows.")
    png, width, height = _png(figure)
    return (
        {"image/png": base64.b64encode(png).decode(), "text/plain": alt},
        # Twice the dots in the same width, for sharp text on the screens of today.
        {"image/png": {"alt": alt, "width": width // 2, "height": height // 2}},
    )


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


def front(report: pd.DataFrame, best: pd.DataFrame, size: str = "bytes") -> Figure:
    """Accuracy over size of every file, the Pareto-optimal ones numbered and named beside.

    A colour is a lab. The accuracy axis counts errors on a logarithmic scale, so that 99.9 and
    99.99 % are as far apart as 90 and 99 %.

    Args:
        report: columns "technique", "accuracy (%)", "data", "profile", `size`, and "lab" for
            colours.
        best: the Pareto-optimal rows of it, from `measure.front` with the same `size`.
        size: the column to show, for example "gzip (bytes)".
    """
    report, best = (table.assign(lab=table.get("lab", "")) for table in (report, best))
    colours = dict(zip(dict.fromkeys(report["lab"]), itertools.cycle(_MANY), strict=False))
    groups = best.groupby(["data", "profile"], sort=False)
    names = [("●", f"lab {lab}", colour) for lab, colour in colours.items() if lab]
    with style():
        figure, ax = _axes(max(3.8, 0.2 * (len(best) + groups.ngroups + len(names)) + 0.7))
        for lab, group in report.groupby("lab", sort=False):
            ax.plot(group[size] / 1000, _errors(group), "o", color=colours[lab], alpha=0.55,
                    markersize=4.5, markeredgewidth=0)  # fmt: skip
        number = itertools.count(1)
        for key, group in groups:
            names.append(("", ", ".join(key) if groups.ngroups > 1 else "not beaten:", _GREY))
            x, y = group[size] / 1000, _errors(group)
            ax.step([*x, report[size].max() / 1000], [*y, y.iloc[-1]], where="post",
                    color="#8a8a8a", linewidth=0.9, zorder=1)  # fmt: skip
            for px, py, name, lab in zip(x, y, group["technique"], group["lab"], strict=True):
                names.append((str(next(number)), name, colours[lab]))
                _disc(ax, names[-1][0], (px, py), colours[lab])
        _error_axis(ax, _errors(report))
        label = {"bytes": "size of the file (kB)", "gzip (bytes)": "size after gzip (kB)"}
        ax.set(xlabel=label.get(size, size), xscale="log")
        ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        _list(ax, names)
    return figure


_LEAST_ERROR = 0.01  # points: where "no errors" goes on a logarithmic axis


def _errors(report: pd.DataFrame) -> pd.Series:
    return (100 - report["accuracy (%)"]).clip(lower=_LEAST_ERROR)


def _error_axis(ax: Axes, errors: pd.Series) -> None:
    """A logarithmic axis of errors that reads as accuracy, the best on top."""
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    low, high = errors.min() / 1.5, errors.max() * 1.4
    shown = [t for t in ticks if low <= t <= high]
    ax.set_yscale("log")
    ax.set_yticks(shown, [f"{100 - t:g}" if t > _LEAST_ERROR else "≥ 99.99" for t in shown])
    ax.minorticks_off()
    ax.set(ylim=(high, low), ylabel="test accuracy (%)")


def _disc(ax: Axes, number: str, place: tuple[float, float], colour: str, **where) -> None:
    """A white number on a disc."""
    ax.annotate(number, place, ha="center", va="center", color="white", fontsize=7.5,
                fontweight="bold", annotation_clip=False,
                bbox={"boxstyle": "circle,pad=0.22", "color": colour}, **where)  # fmt: skip


def _list(ax: Axes, entries: Sequence[tuple[str, str, str]]) -> None:
    """Lines of text right of the axes: (mark, text, colour), the mark a number or a sign."""
    row_height = 0.2 / (ax.figure.get_figheight() - 0.6)
    for row, (mark, text, colour) in enumerate(entries):
        y = 1 - (row + 0.5) * row_height
        if mark.isdigit():
            _disc(ax, mark, (1.04, y), colour, xycoords="axes fraction")
        where = {"xycoords": "axes fraction", "va": "center", "annotation_clip": False}
        if mark == "●":
            ax.annotate(mark, (1.04, y), ha="center", color=colour, fontsize=9, **where)
        ax.annotate(text, (1.075 if mark else 1.02, y), fontsize=8.5,
                    color="black" if mark else colour, **where)  # fmt: skip


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    log_x: int | None = None,
    levels: Sequence[float] = (),
) -> Figure:
    """A line for each column over the index, its name at its end.

    Args:
        table: index numeric, or names that stand side by side; a column a line.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        log_x: base of a logarithmic horizontal axis; linear without.
        levels: values to mark with a horizontal line.
    """
    few = len(table) <= 12
    named = not pd.api.types.is_numeric_dtype(table.index)
    names, table = table.index, table.set_axis(range(len(table))) if named else table
    with style():
        figure, ax = _axes(3.6)
        for level in levels:
            ax.axhline(level, color=_GREY, linewidth=0.8, linestyle=":")
        for width, name in zip(_widths(table.shape[1]), table.columns, strict=True):
            values = table[name].dropna()
            ax.plot(values.index, values, marker="o" if few else None, linewidth=width)
        if log_x:
            ax.set_xscale("log", base=log_x)
        if few or named:
            ax.set_xticks(table.index, names if named else [f"{v:g}" for v in table.index])
            ax.minorticks_off()
        if named and max(map(len, names)) * len(names) > 80:
            ax.tick_params(axis="x", rotation=45)
        ax.set(xlabel=x, ylabel=y)
        _name_ends(ax, [table[name].dropna().iloc[-1] for name in table], table.columns)
    return figure


def _name_ends(ax: Axes, ends: Sequence[float], names: Sequence[str], line: float = 0.07) -> None:
    """Write names right of the axes at the height of the lines' ends, moved apart if need be.

    `line` is the height of a line of text, as a part of the axes.
    """
    texts = [textwrap.fill(str(name), 18) for name in names]
    low, high = ax.get_ylim()
    heights = (np.array(ends) - low) / (high - low)
    order = np.argsort(heights)
    # From the bottom up each name starts above the one below it; then the stack is moved to lie
    # around the ends that it names.
    placed = heights.copy()
    for below, above in itertools.pairwise(order):
        lines_of_text = (texts[below].count("\n") + texts[above].count("\n") + 2) / 2
        placed[above] = max(placed[above], placed[below] + line * lines_of_text)
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


def levels(values: dict[str, np.ndarray]) -> Figure:
    """What quantisers can give: a row a quantiser, a tick a value, in parts of its largest one.

    Args:
        values: by name, the values (N,) that a quantiser can give.
    """
    with style():
        figure, ax = _axes(0.42 * len(values) + 0.7)
        for row, found in enumerate(values.values()):
            largest = np.abs(found).max()
            ax.hlines(row, -1, 1, color="#dcdcdc", linewidth=1, zorder=0)
            ax.plot(found / largest, np.full(len(found), row), "|", color=COLOURS[0],
                    markersize=13, markeredgewidth=1.8)  # fmt: skip
            ax.annotate(
                f"{len(found)} values,\nlargest {largest:g}", (1.02, row), va="center",
                fontsize=8.5, xycoords=ax.get_yaxis_transform(), color=_GREY,
            )  # fmt: skip
        ax.set_yticks(range(len(values)), values)
        ax.set(ylim=(len(values) - 0.5, -0.6), xlim=(-1.05, 1.05))
        ax.set_xlabel("value, in parts of the largest one")
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
    return figure


def rounded_values(x: np.ndarray, rounded: dict[str, np.ndarray], label: str) -> Figure:
    """Where quantisers put the values of one tensor: its histogram, and stems on what is left.

    Args:
        x: float, any shape.
        rounded: by name, what a quantiser made of x, the same shape.
        label: of the horizontal axes.
    """
    rows = -(-len(rounded) // 3)
    edge = np.quantile(np.abs(x), 0.999)
    with style():
        figure, axes = _axes(1.55 * rows + 0.3, rows, 3, sharex=True, squeeze=False)
        for ax, (name, values) in zip(axes.flat, rounded.items(), strict=False):
            # QKeras returns x + (q - x): equal values may differ in the last bits.
            found, counts = np.unique(np.round(values, 5), return_counts=True)
            ax.hist(np.ravel(x), 60, range=(-edge, edge), color="#d9d9d9")
            stems = ax.twinx()
            inside = np.abs(found) <= 1.02 * max(edge, 1e-9)
            stems.vlines(found[inside], 0, counts[inside] / values.size, color=COLOURS[0])
            stems.plot(found[inside], counts[inside] / values.size, "o", markersize=3.5)
            stems.set(ylim=(0, 1.12 * max(counts[inside], default=1) / values.size), yticks=[])
            ax.set(yticks=[], xlim=(-1.1 * edge, 1.1 * edge))
            error = np.square(values - x).sum() / np.square(x).sum()
            ax.set_title(f"{name}\n{len(found)} values, error {error:.0%}", fontsize=8.5)
            for panel in (ax, stems):
                panel.grid(False)
                panel.spines[["left", "top", "right"]].set_visible(False)
        for ax in list(axes.flat)[len(rounded) :]:
            ax.set_axis_off()
        for column in range(3):
            last = [ax for ax in axes[:, column] if ax.axison]
            if last:
                last[-1].set_xlabel(label)
                last[-1].tick_params(labelbottom=True)
    return figure


def energy(table: pd.DataFrame) -> Figure:
    """Estimated energy of one image, a bar a network, in parts named above the first bar.

    Args:
        table: index the networks, a column a part, in nJ.
    """
    rows = np.arange(len(table))
    with style():
        figure, ax = _axes(0.42 * len(table) + 1.0)
        left = np.zeros(len(table))
        for colour, name in zip(COLOURS, table.columns, strict=False):
            ax.barh(rows, table[name], left=left, height=0.55, color=colour, label=name)
            left += table[name].to_numpy()
        for row, total in zip(rows, left, strict=True):
            ax.annotate(f"{total:,.0f}", (total, row), xytext=(4, 0), textcoords="offset points",
                        va="center", fontsize=9)  # fmt: skip
        ax.set_yticks(rows, table.index)
        ax.set_ylim(len(table) - 0.5, -0.6)
        ax.set_xlabel("estimated energy of one image (nJ)")
        ax.margins(x=0.12)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def limits(values: np.ndarray, limits: dict[str, float], x: str) -> Figure:
    """Histogram of values, and limits within which a part of them lies.

    Args:
        values: float, of any shape.
        limits: name → magnitude; drawn on both sides of zero.
        x: label of the horizontal axis, with its unit.
    """
    values = np.ravel(values)
    with style():
        figure, ax = _axes(3.2)
        ax.hist(values, bins=200, color=_PALE)
        for i, (name, limit) in enumerate(limits.items()):
            colour = COLOURS[i % len(COLOURS)]
            ax.axvline(-limit, color=colour, linewidth=1.2)
            ax.axvline(limit, color=colour, linewidth=1.2)
            ax.annotate(f"{name}: ±{limit:.3g}", (1.01, 0.94 - 0.09 * i), fontsize=9,
                        xycoords="axes fraction", color=colour)  # fmt: skip
        ax.set(yscale="log", xlabel=x, ylabel="number of values")
    return figure


def engine_job(
    pixels: np.ndarray,
    weights: np.ndarray,
    arithmetic: Sequence[tuple[str, str, str]],
    bits: tuple[str, str],
    words: pd.DataFrame,
    engine: str,
    job: int,
    title: str = "",
) -> Figure:
    """One job of the convolution engine on one window, and what all jobs add up to.

    Args:
        pixels: integer (rows, columns), under the filter, of one input channel.
        weights: integer (rows, columns), of one output.
        arithmetic: a row a line: what is done, the number, and "" or a remark that warns.
        bits: of the sum in two's complement: those that are kept, and those that a shift cuts off.
        words: index the number of the job; "exact" (the unrounded sum, in steps of the word), and
            for each engine its words.
        engine: the column of `words` whose job is shown.
        job: its number.
        title: above all.
    """
    engines = [name for name in words if name != "exact"]
    colours = dict(zip(engines, (COLOURS[1], COLOURS[0], COLOURS[2], *COLOURS[3:]), strict=False))
    errors = words[engines].sub(words["exact"], axis=0)
    with style():
        figure = Figure(figsize=(_WIDTH, 6), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.1])
        left, middle, right = top.subplots(1, 3, width_ratios=[1, 1, 2.2])
        _codes(left, pixels, "pixels")
        _codes(middle, weights, "weights")
        _arithmetic(right, arithmetic, bits)
        above, below = bottom.subplots(2, 1, sharex=True)
        above.step(words.index, words["exact"], where="mid", color="#c4c4c4", linewidth=5)
        above.step(words.index, words[engine], where="mid", color=colours[engine], linewidth=1.5)
        for name in [*(n for n in engines if n != engine), engine]:
            width = 2.4 if name == engine else 1.2
            below.step(words.index, errors[name], where="mid", color=colours[name], linewidth=width)
        for ax, value in ((above, words[engine][job]), (below, errors[engine][job])):
            ax.axvline(job, color=_GREY, linewidth=0.8, linestyle=":")
            ax.plot(job, value, "o", color=colours[engine], markersize=8, markeredgecolor="white")
            ax.margins(x=0.01, y=0.12)
            ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
            ax.yaxis.set_major_formatter(lambda y, _: f"{y:,.12g}".replace("-", "−"))
        above.set_ylabel("word y")
        below.set(xlabel="job", ylabel="error (steps of y)")
        below.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        figure.align_ylabels([above, below])
        names = [f"{engine} (grey: exact sum)"]
        _name_ends(above, [words[engine].iloc[-1]], names, line=0.16)
        _name_ends(below, errors.iloc[-1], engines, line=0.16)
        for text, name in zip((*above.texts, *below.texts), (engine, *engines), strict=True):
            text.set_color(colours[name])
    return figure


def _codes(ax: Axes, codes: np.ndarray, name: str) -> None:
    """A small matrix of integers, written into coloured cells."""
    top = max(1, np.abs(codes).max())
    ax.imshow(codes, cmap="RdBu", vmin=-1.6 * top, vmax=1.6 * top)
    if max(codes.shape) <= 7:
        longest = max(len(f"{code}") for code in codes.flat)
        size = min(9.0, 130 / max(codes.shape) / max(3, longest))
        for (row, column), code in np.ndenumerate(codes):
            text = f"{code}".replace("-", "−")
            ax.annotate(text, (column, row), ha="center", va="center", fontsize=size)
    ax.set_title(name)
    ax.set_axis_off()


def _arithmetic(ax: Axes, rows: Sequence[tuple[str, str, str]], bits: tuple[str, str]) -> None:
    """Lines of a calculation, the numbers below each other, and the bits of its sum."""
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    mono = {"family": "monospace", "fontsize": 9, "va": "center"}
    height = 1 / (len(rows) + 2.4)
    for row, (what, number, remark) in enumerate(rows):
        y = 1 - (row + 0.5) * height
        colour = COLOURS[1] if remark else "black"
        whole, point, fraction = number.partition(".")
        ax.text(0.06, y, what, va="center", fontsize=9)
        ax.text(0.74, y, whole, ha="right", color=colour, **mono)
        ax.text(0.74, y, point + fraction, color=colour, **mono)
        ax.text(0.84, y, remark, va="center", fontsize=9, color=colour)
    kept, cut = bits
    mono["fontsize"] = min(9.0, 400 / (len(kept) + len(cut) + 4))
    width = 0.6 * mono["fontsize"] / 72 / (_WIDTH * 2.2 / 4.2)  # of a character
    fits = len(kept.replace(" ", "")) <= 16
    name = "bits of T that are kept" if fits else "bits of T, more than a word has"
    places = [(0.06, kept, name, COLOURS[0])]
    places += [(0.06 + (len(kept) + 3) * width, cut, "cut off", COLOURS[1])] * bool(cut)
    for x, text, name, colour in places:
        ax.text(x, 1.7 * height, text, color=colour, **mono)
        ax.text(x, 0.8 * height, name, va="center", fontsize=8, color=colour)


def phases(histories: dict[str, pd.DataFrame], names: Sequence[str], level: float) -> Figure:
    """Accuracy while a network is quantised level by level: what a level costs, what comes back.

    Args:
        histories: name → a row a phase with "before" and "after", accuracy (fraction) before and
            after its training, as `compress.progressive` writes them.
        names: of the phases.
        level: accuracy (fraction) of the float network, marked with a line.
    """
    with style():
        figure, ax = _axes(3.8)
        ax.axhline(100 * level, color=_GREY, linewidth=0.8, linestyle=":")
        ax.annotate("float", (0, 100 * level), xytext=(0, 3), textcoords="offset points",
                    fontsize=8.5, color=_GREY)  # fmt: skip
        ends = []
        for i, history in enumerate(histories.values()):
            colour = COLOURS[i % len(COLOURS)]
            x = np.arange(len(history))
            before, after = 100 * history["before"], 100 * history["after"]
            # Down when a level is quantised, up again while it is trained.
            ways = np.column_stack([before, after]).ravel()
            ax.plot(np.repeat(x, 2) + np.tile([0, 0.6], len(x)), ways, color=colour, linewidth=1.2)
            ax.plot(x + 0.6, after, "o", color=colour, markersize=4)
            ends.append(after.iloc[-1])
        ax.set_xticks(np.arange(len(names)) + 0.3, names, rotation=45)
        ax.set(xlabel="quantised up to", ylabel="accuracy (%)", ylim=(0, 100))
        _name_ends(ax, ends, list(histories))
    return figure
