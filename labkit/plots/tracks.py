"""Paths through a room, and designs between what they cost and how far they err."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.plots.style import COLORS, GREY, PALE, axes_of, name_ends, style

#: Behind a name, so that what is drawn below can be seen and the name be read.
UNDERLAY = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}


def room(path: np.ndarray, plates: np.ndarray, side: float) -> Figure:
    """Where somebody walked, seen from above, and the numbered plates on the walls.

    Args:
        path: float (N, 2), m.
        plates: float (P, 2), m.
        side: of the square room, m.
    """
    with style():
        figure, ax = axes_of(3.8, width=4.2)
        ax.add_patch(mpl.patches.Rectangle((0, 0), side, side, fill=False, edgecolor=GREY))
        ax.plot(*np.transpose(path), color=COLORS[0], linewidth=0.8)
        ax.plot(*np.transpose(plates), "s", color=COLORS[1], markersize=9, clip_on=False)
        for number, plate in enumerate(plates, start=1):
            place = {"xytext": (7, 7), "textcoords": "offset points", "fontsize": 9}
            place["bbox"] = UNDERLAY
            ax.annotate(f"plate {number}", plate, color=COLORS[1], **place)
        ax.set(xlabel="x (m)", ylabel="y (m)", aspect="equal")
        ax.set_xlim(-0.1, side + 0.1)
        ax.set_ylim(-0.1, side + 0.1)
    return figure


def tracks(paths: Mapping[str, np.ndarray], rate: float) -> Figure:
    """Paths over time, a panel per coordinate; the first one, the true one, is a broad pale line.

    Args:
        paths: by name, float (N, 2) in metres, all of the same length.
        rate: samples a second.
    """
    time = np.arange(len(next(iter(paths.values())))) / rate
    with style():
        figure, axes = axes_of(4.5, 2, sharex=True)
        for k, (ax, name) in enumerate(zip(axes, ("x (m)", "y (m)"), strict=True)):
            for i, path in enumerate(paths.values()):
                broad = {"color": PALE, "linewidth": 5} if i == 0 else {"linewidth": 1.1}
                ax.plot(time, path[:, k], **{"color": COLORS[i % len(COLORS)]} | broad)
            ax.set_ylabel(name)
            name_ends(ax, [path[-1, k] for path in paths.values()], list(paths), line=0.11)
        axes[-1].set_xlabel("time (s)")
    return figure


def designs(
    table: pd.DataFrame,
    front: pd.DataFrame,
    marked: pd.DataFrame,
    x: str,
    y: str,
    level: float,
    labels: Sequence[str],
) -> Figure:
    """Designs between two costs: all of them, those that no other beats, and marked ones.

    Args:
        table: a row per design.
        front: the rows that no other beats, in the order of `x`; joined by a line and named.
        marked: rows to show as squares.
        x, y: columns, named with their units; of both less is better.
        level: of y, marked with a line: the reference.
        labels: columns whose values name a design, joined by a hyphen.
    """
    with style():
        figure, ax = axes_of(3.8)
        ax.plot(table[x], table[y], "o", color=GREY, alpha=0.4, markersize=4, markeredgewidth=0)
        ax.axhline(level, color=COLORS[4], linewidth=1.2)
        ax.plot(front[x], front[y], "o-", color=COLORS[0], markersize=6, linewidth=1.2)
        ax.plot(marked[x], marked[y], "s", color=COLORS[1], markersize=7)
        others = marked[~marked.index.isin(front.index)]
        # To the left of a front and below it there is nothing.
        below = {"xytext": (-4, -4), "ha": "right", "va": "top"}
        above = {"xytext": (4, 4), "ha": "left", "va": "bottom", "bbox": UNDERLAY}
        for rows, place in ((front, below), (others, above)):
            for _, row in rows.iterrows():
                text = "-".join(f"{row[label]:g}" for label in labels)
                at = row[x], row[y]
                ax.annotate(text, at, textcoords="offset points", fontsize=8, **place)
        low, high = min(table[y].min(), level), np.quantile(table[y], 0.9)
        ax.set_ylim(low - 0.12 * (high - low), high + 0.08 * (high - low))
        ax.set(xlabel=x, ylabel=y)
    return figure
