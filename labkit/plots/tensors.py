"""Weights, activations, codes and the values that they may have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from labkit.plots.style import (
    COLORS,
    GREY,
    PALE,
    axes_of,
    style,
)


def weight_histogram(weights: np.ndarray, scale: float, bits: int = 8) -> Figure:
    """Histogram of weights over the grid of their codes.

    Args:
        weights: float, of any shape.
        scale: S, the grid's step.
        bits: width of the codes; the lowest one is not used, as for symmetric weights.
    """
    values = np.ravel(weights)
    limit = 2 ** (bits - 1) - 1
    codes = np.clip(np.round(values / scale), -limit, limit)
    every = max(1, 2 ** (bits - 4))  # so many codes from one grid line to the next
    used, half = len(np.unique(codes)), np.median(np.abs(codes))
    with style():
        figure, ax = axes_of(3.2)
        ax.grid(False)
        grid = scale * np.arange(-(limit // every) * every, limit + 1, every)
        ax.vlines(grid, 0, 1, color="#dcdcdc", linewidth=0.8, transform=ax.get_xaxis_transform())
        width = max(1, every // 4)
        edges = np.arange(-limit - 0.5, limit + width, width)
        ax.hist(values, bins=scale * edges, color=COLORS[0])
        ends = [-scale * limit, scale * limit]
        ax.vlines(ends, 0, 1, color=COLORS[1], transform=ax.get_xaxis_transform())
        ax.set(xlabel="weight", ylabel="number of weights")
        top = ax.secondary_xaxis("top", functions=(lambda w: w / scale, lambda q: scale * q))
        middle = [q for q in range(-limit, limit + 1) if q % (2 * every) == 0]
        top.set_xticks(sorted({-limit, *middle, limit}))
        top.set_xlabel("code")
        ax.annotate(
            f"{used} of {2 * limit + 1} codes are used;\n"
            f"half of the weights lie within\n±{half:.0f} codes of zero",
            (ends[1], 0.95),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=9,
        )
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
        figure, axes = axes_of(
            0.45 * len(ranges) + 1.1,
            1,
            1 + steps,
            sharey=True,
            squeeze=False,
            width_ratios=[3, 2] if steps else None,
        )
        ax = axes[0, 0]
        all_of_it = ax.barh(
            rows, ranges["max"] - ranges["min"], left=ranges["min"], height=0.3, color=PALE
        )
        ax.barh(rows, ranges["p99.5"] - ranges["p0.5"], left=ranges["p0.5"], height=0.5)
        ax.bar_label(all_of_it, [f"{v:.3g}" for v in ranges["max"]], padding=3, fontsize=9)
        for row in np.flatnonzero(ranges["min"] < 0):
            ax.annotate(
                f"{ranges['min'].iloc[row]:.3g}",
                (ranges["min"].iloc[row], row),
                va="center",
                xytext=(-3, 0),
                textcoords="offset points",
                ha="right",
                fontsize=9,
            )
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
    for values, name, colour in ((sixteen, "16 bits", COLORS[2]), (eight, "8 bits", COLORS[0])):
        ax.plot(values, rows, "o", color=colour)
        ax.annotate(
            name,
            (values.iloc[0], 0),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=9,
        )
    ax.set(xscale="log", xlabel="step of the grid")
    ax.margins(x=0.15)


def quantization_steps(quantise: Callable, low: float, high: float) -> Figure:
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
        figure, (top, bottom) = axes_of(4.4, 2, 1, sharex=True, height_ratios=[2, 1])
        top.plot(x, x, color="#a8a8a8", linewidth=1)
        top.plot(x, y)
        top.annotate("x", (x[-1], x[-1]), xytext=(4, 0), textcoords="offset points", color=GREY)
        top.annotate(
            "quantised",
            (x[-1], y[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=COLORS[0],
        )
        top.set(ylabel="quantised x")
        bottom.plot(x, y - x, color=COLORS[1])
        for level in (-half, half):
            bottom.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
        bottom.annotate(
            "± half\na step",
            (1, 0),
            xytext=(6, 0),
            textcoords="offset points",
            xycoords=bottom.get_yaxis_transform(),
            va="center",
            color=GREY,
            fontsize=9,
        )
        bottom.set(xlabel="x", ylabel="error")
    return figure


def mask_patterns(masks: dict[str, np.ndarray]) -> Figure:
    """Pruning masks beside each other, the weights that stay in colour.

    Args:
        masks: by name, bool (in, out).
    """
    with style():
        figure, axes = axes_of(2.9, 1, len(masks), squeeze=False)
        for ax, (name, mask) in zip(axes.flat, masks.items(), strict=True):
            ax.grid(False)
            ax.pcolormesh(
                np.asarray(mask, float),
                cmap=ListedColormap(["#ececec", COLORS[0]]),
                vmin=0,
                vmax=1,
                edgecolors="white",
                linewidth=0.6,
            )
            ax.set(title=f"{name}: {np.mean(mask):.0%} stay", xlabel="output", aspect="equal")
            ax.set(xticks=[], yticks=[])
            ax.invert_yaxis()
            ax.spines[:].set_visible(False)
        axes[0, 0].set_ylabel("input")
    return figure


def centroids(weights: np.ndarray, codebooks: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Histogram of weights, and below it where centroids begin and end.

    Args:
        weights: float (n,).
        codebooks: by name, centroids (k,) at the beginning and after k-means.
    """
    with style():
        figure, (top, bottom) = axes_of(
            4.4, 2, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 1]}
        )
        top.hist(weights, bins=120, color=PALE)
        top.set(yscale="log", ylabel="number of weights")
        heights = -np.arange(len(codebooks))
        pairs = zip(COLORS, heights, codebooks.values(), strict=False)
        for colour, height, (start, end) in pairs:
            bottom.plot(start, np.full(len(start), height + 0.18), "o", mfc="none", color=colour)
            bottom.plot(end, np.full(len(end), height - 0.18), "o", color=colour)
        bottom.set(yticks=heights, yticklabels=codebooks, xlabel="weight", ylim=(-3.6, 1.0))
        bottom.tick_params(axis="y", length=0)
        bottom.grid(False, axis="y")
        bottom.set_title("open: where they begin; filled: after k-means", fontsize=9, color=GREY)
    return figure


def quantizer_values(values: dict[str, np.ndarray]) -> Figure:
    """What quantisers can give: a row per quantiser, a tick per value, in parts of its largest one.

    Args:
        values: by name, the values (N,) that a quantiser can give.
    """
    with style():
        figure, ax = axes_of(0.42 * len(values) + 0.7)
        for row, found in enumerate(values.values()):
            largest = np.abs(found).max()
            ax.hlines(row, -1, 1, color="#dcdcdc", linewidth=1, zorder=0)
            ax.plot(
                found / largest,
                np.full(len(found), row),
                "|",
                color=COLORS[0],
                markersize=13,
                markeredgewidth=1.8,
            )
            ax.annotate(
                f"{len(found)} values,\nlargest {largest:g}",
                (1.02, row),
                va="center",
                fontsize=8.5,
                xycoords=ax.get_yaxis_transform(),
                color=GREY,
            )
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
        figure, axes = axes_of(1.55 * rows + 0.3, rows, 3, sharex=True, squeeze=False)
        for ax, (name, values) in zip(axes.flat, rounded.items(), strict=False):
            # QKeras returns x + (q - x): equal values may differ in the last bits.
            found, counts = np.unique(np.round(values, 5), return_counts=True)
            ax.hist(np.ravel(x), 60, range=(-edge, edge), color="#d9d9d9")
            stems = ax.twinx()
            stems.xaxis.set_visible(False)  # else it is drawn twice
            inside = np.abs(found) <= 1.02 * max(edge, 1e-9)
            stems.vlines(found[inside], 0, counts[inside] / values.size, color=COLORS[0])
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


def limits(values: np.ndarray, limits: dict[str, float], x: str) -> Figure:
    """Histogram of values, and limits within which a part of them lies.

    Args:
        values: float, of any shape.
        limits: name → magnitude; drawn on both sides of zero.
        x: label of the horizontal axis, with its unit.
    """
    values = np.ravel(values)
    with style():
        figure, ax = axes_of(3.2)
        ax.hist(values, bins=200, color=PALE)
        for i, (name, limit) in enumerate(limits.items()):
            colour = COLORS[i % len(COLORS)]
            ax.axvline(-limit, color=colour, linewidth=1.2)
            ax.axvline(limit, color=colour, linewidth=1.2)
            ax.annotate(
                f"{name}: ±{limit:.3g}",
                (1.01, 0.94 - 0.09 * i),
                fontsize=9,
                xycoords="axes fraction",
                color=colour,
            )
        ax.set(yscale="log", xlabel=x, ylabel="number of values")
    return figure
