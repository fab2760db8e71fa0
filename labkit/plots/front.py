"""The front of a metric over size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.ticker
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.plots.style import (
    GREY,
    MANY,
    axes_of,
    style,
)

_LEAST_ERROR = 0.01  # points: where "no errors" goes on a logarithmic axis


def front(
    report: pd.DataFrame,
    best: pd.DataFrame,
    size: str = "bytes",
    metric: str = "accuracy (%)",
    higher_is_better: bool = True,
) -> Figure:
    """A metric over size of every file, the Pareto-optimal ones numbered and named beside.

    A colour is a lab. The axis of a percentage of which more is better counts what is missing to
    100 on a logarithmic scale, so that 99.9 and 99.99 % are as far apart as 90 and 99 %. That of
    any other metric is linear. The better end is on top.

    Args:
        report: columns "technique", "data", "profile", `metric`, `size`, and "lab" for colours.
        best: the Pareto-optimal rows of it, from `measure.front` with the same `size` and metric.
        size: the column to show, for example "gzip (bytes)".
        metric: the column over it, named with its unit.
        higher_is_better: whether a larger value of it is the better one.
    """
    percent = higher_is_better and metric.endswith("(%)")
    report, best = (table.assign(lab=table.get("lab", "")) for table in (report, best))
    colours = dict(zip(dict.fromkeys(report["lab"]), itertools.cycle(MANY), strict=False))
    groups = best.groupby(["data", "profile"], sort=False)
    names = [("●", f"lab {lab}", colour) for lab, colour in colours.items() if lab]
    with style():
        figure, ax = axes_of(max(3.8, 0.2 * (len(best) + groups.ngroups + len(names)) + 0.7))
        for lab, group in report.groupby("lab", sort=False):
            ax.plot(
                group[size] / 1000,
                _heights(group[metric], percent),
                "o",
                color=colours[lab],
                alpha=0.55,
                markersize=4.5,
                markeredgewidth=0,
            )
        number = itertools.count(1)
        for key, group in groups:
            names.append(("", ", ".join(key) if groups.ngroups > 1 else "not beaten:", GREY))
            x, y = group[size] / 1000, _heights(group[metric], percent)
            ax.step(
                [*x, report[size].max() / 1000],
                [*y, y.iloc[-1]],
                where="post",
                color="#8a8a8a",
                linewidth=0.9,
                zorder=1,
            )
            for px, py, name, lab in zip(x, y, group["technique"], group["lab"], strict=True):
                names.append((str(next(number)), name, colours[lab]))
                _disc(ax, names[-1][0], (px, py), colours[lab])
        if percent:
            _error_axis(ax, _heights(report[metric], percent))
        elif not higher_is_better:
            ax.invert_yaxis()
        ax.set_ylabel(f"test {metric}")
        label = {"bytes": "size of the file (kB)", "gzip (bytes)": "size after gzip (kB)"}
        ax.set(xlabel=label.get(size, size), xscale="log")
        ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        _list(ax, names)
    return figure


def _heights(values: pd.Series, percent: bool) -> pd.Series:
    """What the vertical axis counts: of percentages the errors, else the values themselves."""
    return (100 - values).clip(lower=_LEAST_ERROR) if percent else values


def _error_axis(ax: Axes, errors: pd.Series) -> None:
    """A logarithmic axis of errors that reads as accuracy, the best on top."""
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    low, high = errors.min() / 1.5, errors.max() * 1.4
    shown = [t for t in ticks if low <= t <= high]
    ax.set_yscale("log")
    ax.set_yticks(shown, [f"{100 - t:g}" if t > _LEAST_ERROR else "≥ 99.99" for t in shown])
    ax.minorticks_off()
    ax.set_ylim(high, low)


def _disc(ax: Axes, number: str, place: tuple[float, float], colour: str, **where) -> None:
    """A white number on a disc."""
    ax.annotate(
        number,
        place,
        ha="center",
        va="center",
        color="white",
        fontsize=7.5,
        fontweight="bold",
        annotation_clip=False,
        bbox={"boxstyle": "circle,pad=0.22", "color": colour},
        **where,
    )


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
        ax.annotate(
            text,
            (1.075 if mark else 1.02, y),
            fontsize=8.5,
            color="black" if mark else colour,
            **where,
        )
