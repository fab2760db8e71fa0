"""Metrics and loss: over epochs, sparsity and size, of techniques and phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import matplotlib.patches
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.plots.style import (
    COLORS,
    GREY,
    axes_of,
    line_widths,
    name_ends,
    slant_names,
    style,
)


def history(
    histories: Sequence[dict[str, list[float]]],
    loss: str = "loss (cross-entropy)",
    metric: str = "accuracy (%)",
    names: Sequence[str] = (),
) -> Figure:
    """Loss and a metric on the training data after each epoch, a line for each training.

    Args:
        histories: of each training, "loss" and the metric by epoch.
        loss: what the loss is.
        metric: the metric's name, as in the histories, and its unit; a percentage is given there
            as a fraction.
        names: of the trainings; those of one name share a colour, and it stands at their ends.
    """
    groups = list(dict.fromkeys(names))
    name, _, unit = metric.partition(" (")
    panels = (("loss", 1, loss), (name, 100 if unit == "%)" else 1, f"training {metric}"))
    with style():
        figure, axes = axes_of(2.8, 1, 2)
        for ax, (name, factor, label) in zip(axes, panels, strict=True):
            for i, (width, values) in enumerate(
                zip(line_widths(len(histories)), histories, strict=True)
            ):
                colour = COLORS[(groups.index(names[i]) if groups else i) % len(COLORS)]
                epochs = np.arange(1, len(values[name]) + 1)
                curve = factor * np.array(values[name])
                ax.plot(epochs, curve, ".-", color=colour, linewidth=width)
            ax.set(xlabel="epoch", ylabel=label)
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        if groups:
            last = pd.Series([factor * values[name][-1] for values in histories], names)
            name_ends(ax, last.groupby(level=0).mean()[groups], groups, line=0.09)
    return figure


def comparison(report: pd.DataFrame, metric: str = "accuracy (%)", spread: str = "± (%)") -> Figure:
    """A metric with its spread, and beside it the size, of each technique.

    The first technique is the reference: a line at its value, and its spread as a band.

    Args:
        report: index "technique"; columns `metric`, "bytes", and `spread` if repeated.
        metric: the column to show, named with its unit.
        spread: the column of its deviation over the seeds.
    """
    rows = np.arange(len(report))
    values = report[metric].to_numpy()
    around = report.get(spread, pd.Series(0, report.index)).fillna(0).to_numpy()
    size = report["bytes"].to_numpy() / 1000
    with style():
        figure, (left, right) = axes_of(0.42 * len(report) + 0.9, 1, 2, sharey=True)
        figure.get_layout_engine().set(wspace=0.06)
        left.axvspan(values[0] - around[0], values[0] + around[0], color="#f0f0f0", zorder=0)
        left.axvline(values[0], color=GREY, linewidth=0.8)
        left.errorbar(values, rows, xerr=around, fmt="o", markersize=7, capsize=3)
        left.set_yticks(rows, report.index)
        left.set_ylim(len(report) - 0.5, -0.5)  # the first technique on top
        low, high = left.get_xlim()
        percent = metric.endswith("(%)")
        if percent and high - low < 2:  # a tenth of a point is not blown up to the figure's width
            low, high = (low + high) / 2 - 1, (low + high) / 2 + 1
        if percent and high > 100:  # nothing lies there
            low, high = low - (high - 100.1), 100.1
        left.set(xlabel=f"test {metric}", xlim=(low, high))
        left.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        if around.any():
            left.set_title("mean and deviation over the seeds", color=GREY, fontsize=9)
        bars = right.barh(rows, size, height=0.5)
        ratios = [f"{s:,.1f}   ÷ {size[0] / s:.1f}" for s in size[1:]]
        right.bar_label(bars, [f"{size[0]:,.1f}", *ratios], padding=4, fontsize=9)
        right.set(xlabel="size of the file (kB)", xlim=(0, 1.15 * max(size)))
        for ax in (left, right):
            ax.grid(False, axis="y")
            ax.tick_params(axis="y", length=0)
    return figure


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    log_x: int | None = None,
    levels: Sequence[float] = (),
) -> Figure:
    """A line for each column over the index, its name at its end.

    Args:
        table: index numeric, or names that stand side by side, left to right; a column per line.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        log_x: base of a logarithmic horizontal axis; linear without.
        levels: values to mark with a horizontal line.
    """
    few = len(table) <= 12
    named = not pd.api.types.is_numeric_dtype(table.index)
    names, table = table.index, table.set_axis(range(len(table))) if named else table
    with style():
        figure, ax = axes_of(3.6)
        for level in levels:
            ax.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
        for width, name in zip(line_widths(table.shape[1]), table.columns, strict=True):
            values = table[name].dropna()
            ax.plot(values.index, values, marker="o" if few else None, linewidth=width)
        if log_x:
            ax.set_xscale("log", base=log_x)
        if few or named:
            ax.set_xticks(table.index, names if named else [f"{v:g}" for v in table.index])
            ax.minorticks_off()
        if named and max(map(len, names)) * len(names) > 80:
            slant_names(ax)
        if not named and table.index[0] > table.index[-1]:
            ax.invert_xaxis()  # its names belong to the last row
        ax.set(xlabel=x, ylabel=y)
        name_ends(ax, [table[name].dropna().iloc[-1] for name in table], table.columns)
    return figure


def heat_map(
    table: pd.DataFrame,
    x: str,
    y: str,
    label: str,
    digits: int = 1,
    higher_is_better: bool = True,
) -> Figure:
    """A value over two settings, as colours and in figures; the best is framed.

    Args:
        table: a row per setting of the vertical axis, a column per setting of the horizontal.
        x, y: labels of the axes.
        label: of the values, with their unit.
        digits: decimals.
        higher_is_better: which one is the best: the largest, or else the smallest.
    """
    values = table.to_numpy(float)
    rows, columns = values.shape
    with style():
        figure, ax = axes_of(0.36 * rows + 1.1)
        ax.grid(False)
        picture = ax.imshow(values, cmap="cividis", aspect="auto")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value < middle else "black"
            ax.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=8, color=colour)
        best = np.nanargmax(values) if higher_is_better else np.nanargmin(values)
        best = np.unravel_index(best, values.shape)
        frame = {"fill": False, "edgecolor": COLORS[1], "linewidth": 2}
        ax.add_patch(mpl.patches.Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, **frame))
        ax.set_xticks(range(columns), [f"{c:g}" for c in table.columns])
        ax.set_yticks(range(rows), [f"{r:g}" for r in table.index])
        ax.set(xlabel=x, ylabel=y)
        figure.colorbar(picture, ax=ax, label=label)
    return figure


def over_sparsity(
    points: pd.DataFrame, level: float | None = None, metric: str = "accuracy (%)"
) -> Figure:
    """A metric over sparsity, a dot per model and a line per pattern through the mean of its dots.

    The axis is logarithmic in the weights that are left: from 90 to 95 % as far as from 95 to 97.5.

    Args:
        points: columns "pattern", "sparsity (%)" (below 100) and `metric`.
        level: value to mark with a horizontal line.
        metric: the column to show, named with its unit.
    """

    def line(ax, group, colour):
        mean = group.groupby("sparsity (%)")[metric].mean()
        ax.plot(100 - mean.index, mean, color=colour)
        ax.plot(100 - group["sparsity (%)"], group[metric], "o", color=colour)
        return mean.iloc[-1]

    with style():
        figure, ax = axes_of(3.8)
        low, high = points["sparsity (%)"].min() - 5, points["sparsity (%)"].max() + 1
        ticks = [s for s in (0, 50, 75, 90, 95, 98, 99, 99.5) if low <= s <= high]
        ends = _patterns(ax, points, level, line)
        ax.set_xscale("log")
        ax.set_xticks([100 - s for s in ticks], [f"{s:g}" for s in ticks])
        ax.minorticks_off()
        ax.invert_xaxis()
        ax.set(xlabel="weights pruned (%)", ylabel=f"test {metric}")
        name_ends(ax, list(ends.values()), list(ends))
    return figure


def over_size(
    points: pd.DataFrame, level: float | None = None, metric: str = "accuracy (%)"
) -> Figure:
    """A metric over bytes after gzip, a dot a file and a line from one to the next of a pattern.

    Args:
        points: columns "pattern", "gzip (bytes)" and `metric`.
        level: value to mark with a horizontal line.
        metric: the column to show, named with its unit.
    """

    def line(ax, group, colour):
        group = group.sort_values("gzip (bytes)")
        ax.plot(group["gzip (bytes)"] / 1000, group[metric], "o-", color=colour)
        return group[metric].iloc[-1]

    with style():
        figure, ax = axes_of(3.8)
        ends = _patterns(ax, points, level, line)
        ax.set(xlabel="size after gzip (kB)", ylabel=f"test {metric}")
        name_ends(ax, list(ends.values()), list(ends))
    return figure


def _patterns(ax: Axes, points: pd.DataFrame, level: float | None, line: Callable) -> dict:
    """A line for each pattern; where each ends."""
    if level is not None:
        ax.axhline(level, color=GREY, linewidth=0.8, linestyle=":")
    groups = points.groupby("pattern", sort=False)
    return {
        name: line(ax, group, colour)
        for colour, (name, group) in zip(COLORS * 9, groups, strict=False)
    }


def phases(histories: dict[str, pd.DataFrame], names: Sequence[str], level: float) -> Figure:
    """Accuracy while a network is quantised level by level: what a level costs, what comes back.

    Args:
        histories: name → a row per phase with "before" and "after", accuracy (fraction) before and
            after its training, as `compress.progressive` writes them.
        names: of the phases.
        level: accuracy (fraction) of the float network, marked with a line.
    """
    with style():
        figure, ax = axes_of(3.8)
        ax.axhline(100 * level, color=GREY, linewidth=0.8, linestyle=":")
        ax.annotate(
            "float",
            (0, 100 * level),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8.5,
            color=GREY,
        )
        ends = []
        for i, history in enumerate(histories.values()):
            colour = COLORS[i % len(COLORS)]
            x = np.arange(len(history))
            before, after = 100 * history["before"], 100 * history["after"]
            # Down when a level is quantised, up again while it is trained.
            ways = np.column_stack([before, after]).ravel()
            ax.plot(np.repeat(x, 2) + np.tile([0, 0.6], len(x)), ways, color=colour, linewidth=1.2)
            ax.plot(x + 0.6, after, "o", color=colour, markersize=4)
            ends.append(after.iloc[-1])
        ax.set_xticks(np.arange(len(names)) + 0.3, names)
        slant_names(ax)
        ax.set(xlabel="quantised up to", ylabel="accuracy (%)", ylim=(0, 100))
        name_ends(ax, ends, list(histories))
    return figure
