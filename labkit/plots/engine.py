"""A job of the convolution engine, and what a network costs in energy."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.plots.style import (
    COLORS,
    GREY,
    WIDTH,
    axes_of,
    name_ends,
    style,
)


def energy(table: pd.DataFrame) -> Figure:
    """Estimated energy of one image, a bar per network, in parts named above the first bar.

    Args:
        table: index the networks, a column per part, in nJ.
    """
    rows = np.arange(len(table))
    with style():
        figure, ax = axes_of(0.42 * len(table) + 1.0)
        left = np.zeros(len(table))
        for colour, name in zip(COLORS, table.columns, strict=False):
            ax.barh(rows, table[name], left=left, height=0.55, color=colour, label=name)
            left += table[name].to_numpy()
        for row, total in zip(rows, left, strict=True):
            ax.annotate(
                f"{total:,.0f}",
                (total, row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        ax.set_yticks(rows, table.index)
        ax.set_ylim(len(table) - 0.5, -0.6)
        ax.set_xlabel("estimated energy of one image (nJ)")
        ax.margins(x=0.12)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.legend(loc="lower right", frameon=False, fontsize=9)
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
        arithmetic: a row per line: what is done, the number, and "" or a remark that warns.
        bits: of the sum in two's complement: those that are kept, and those that a shift cuts off.
        words: index the number of the job; "exact" (the unrounded sum, in steps of the word), and
            for each engine its words.
        engine: the column of `words` whose job is shown.
        job: its number.
        title: above all.
    """
    engines = [name for name in words if name != "exact"]
    colours = dict(zip(engines, (COLORS[1], COLORS[0], COLORS[2], *COLORS[3:]), strict=False))
    errors = words[engines].sub(words["exact"], axis=0)
    with style():
        figure = Figure(figsize=(WIDTH, 6), layout="constrained")
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
            ax.axvline(job, color=GREY, linewidth=0.8, linestyle=":")
            ax.plot(job, value, "o", color=colours[engine], markersize=8, markeredgecolor="white")
            ax.margins(x=0.01, y=0.12)
            ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
            ax.yaxis.set_major_formatter(lambda y, _: f"{y:,.12g}".replace("-", "−"))
        above.set_ylabel("word y")
        below.set(xlabel="job", ylabel="error (steps of y)")
        below.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        figure.align_ylabels([above, below])
        names = [f"{engine} (grey: exact sum)"]
        name_ends(above, [words[engine].iloc[-1]], names, line=0.16)
        name_ends(below, errors.iloc[-1], engines, line=0.16)
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
        colour = COLORS[1] if remark else "black"
        whole, point, fraction = number.partition(".")
        ax.text(0.06, y, what, va="center", fontsize=9)
        ax.text(0.74, y, whole, ha="right", color=colour, **mono)
        ax.text(0.74, y, point + fraction, color=colour, **mono)
        ax.text(0.84, y, remark, va="center", fontsize=9, color=colour)
    kept, cut = bits
    mono["fontsize"] = min(9.0, 400 / (len(kept) + len(cut) + 4))
    width = 0.6 * mono["fontsize"] / 72 / (WIDTH * 2.2 / 4.2)  # of a character
    fits = len(kept.replace(" ", "")) <= 16
    name = "bits of T that are kept" if fits else "bits of T, more than a word has"
    places = [(0.06, kept, name, COLORS[0])]
    places += [(0.06 + (len(kept) + 3) * width, cut, "cut off", COLORS[1])] * bool(cut)
    for x, text, name, colour in places:
        ax.text(x, 1.7 * height, text, color=colour, **mono)
        ax.text(x, 0.8 * height, name, va="center", fontsize=8, color=colour)
