"""Accuracy over size of all files of a data set, with its front, as an SVG for a script."""

from __future__ import annotations

import html
import math

import numpy as np
import pandas as pd

from labkit.authoring.site import tables
from labkit.measure import metrics, pareto

_WIDTH, _HEIGHT = 560, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 12, 14, 46  # of the axes, from the picture's edges
_LEAST_ERROR = 0.01  # points: where "no errors" goes on a logarithmic axis
_ERRORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
SIZES = {"bytes": "size of the file", "gzip (bytes)": "size after gzip"}


def svg(files: pd.DataFrame, size: str, alt: str) -> str:
    """The picture: a circle per file, a step line along those that none beats, axes.

    The axis of a percentage of which more is better counts what is missing to 100 on a logarithmic
    scale; that of an error is linear. The better end is on top.

    Args:
        files: rows of one data set and metric, as `stored.ledger` has them, with the columns
            "techniques", "colour" and "result" of `results.files`; all have a size and a value.
        size: the column over which it is drawn, of `SIZES`.
        alt: what the picture shows.
    """
    metric = metrics.BY_COLUMN[files["metric"].iloc[0]]
    x, x_ticks = _log_axis(files[size])
    y, y_ticks = _value_axis(files["value"], metric)
    points = [
        _point(row, size, (left, top))
        for row, left, top in zip(files.to_dict("records"), x, y, strict=True)
    ]
    best = front(files, size)
    steps = _steps(x[best], y[best])
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(alt)}">\n'
        f"{_axes(x_ticks, y_ticks, SIZES[size], metric.column)}\n"
        f'<path class="front" d="{steps}" data-right="{_WIDTH - _RIGHT}"/>\n'
        + "\n".join(points)
        + "\n</svg>\n"
    )


def front(files: pd.DataFrame, size: str) -> np.ndarray:
    """Which files no other beats in both size and value, bool (N,); of equal ones the first."""
    signs = {c: -1 if m.higher_is_better else 1 for c, m in metrics.BY_COLUMN.items()}
    bad = files["value"] * files["metric"].map(signs.__getitem__)
    costs = pd.DataFrame({"size": files[size], "bad": bad})
    known = costs.notna().all(axis=1).to_numpy()
    return known & (pareto.beaten(costs) == 0) & ~costs.duplicated().to_numpy()


def _log_axis(values: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]]]:
    low, high = values.min() / 1.25, values.max() * 1.25

    def place(value):
        part = np.log(value / low) / np.log(high / low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    steps = (1, 2, 5) if high / low < 300 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [step * 10**decade for decade in decades for step in steps]
    return place(values.to_numpy()), [
        (float(place(tick)), _bytes(tick)) for tick in ticks if low <= tick <= high
    ]


def _bytes(count: float) -> str:
    if count >= 1e6:
        return f"{count / 1e6:g} MB"
    return f"{count / 1e3:g} kB"


def _value_axis(
    values: pd.Series, metric: metrics.Metric
) -> tuple[np.ndarray, list[tuple[float, str]]]:
    inner = _HEIGHT - _TOP - _BOTTOM
    if metric.higher_is_better and metric.shown_unit == "%":
        errors = (100 - values.to_numpy()).clip(_LEAST_ERROR)
        low, high = errors.min() / 1.4, errors.max() * 1.3

        def place(error):
            return _TOP + np.log(error / low) / np.log(high / low) * inner

        names = {tick: f"{100 - tick:g}" for tick in _ERRORS} | {_LEAST_ERROR: "≥ 99.99"}
        ticks = [tick for tick in _ERRORS if low <= tick <= high]
        return place(errors), [(float(place(tick)), names[tick]) for tick in ticks]
    margin = 0.06 * (values.max() - values.min())
    low, high = values.min() - margin, values.max() + margin
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(s for s in (step, 2 * step, 5 * step) if (high - low) / s <= 8)
    ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step

    def place(value):
        part = (value - low) / (high - low)
        return _TOP + (1 - part if metric.higher_is_better else part) * inner

    return place(values.to_numpy()), [(float(place(tick)), f"{tick:.3g}") for tick in ticks]


def _axes(
    x_ticks: list[tuple[float, str]], y_ticks: list[tuple[float, str]], below: str, beside: str
) -> str:
    floor = _HEIGHT - _BOTTOM
    parts = []
    for x, name in x_ticks:
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{floor}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{name}</text>')
    for y, name in y_ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    middle = (_TOP + floor) / 2
    parts.append(
        f'<text class="name" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" '
        f'text-anchor="middle">{below}</text>'
    )
    parts.append(
        f'<text class="name" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(beside)}</text>"
    )
    return "\n".join(parts)


def _point(row: dict, size: str, place: tuple[float, float]) -> str:
    model = f", {row['model']}" if row["model"] else ""
    text = (
        f"{row['technique']}{model} (lab {row['lab']}): {row['result']}, "
        f"{row[size]:,.0f} {size if size == 'bytes' else 'bytes after gzip'}"
    )
    where = f'cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5"'
    mark = tables.mark(row["lab"], row["techniques"])
    title = f"<title>{html.escape(text)}</title>"
    return f'<circle class="hue-{row["colour"]}" {where}{mark}>{title}</circle>'


def _steps(x: np.ndarray, y: np.ndarray) -> str:
    """The line along the best: to the right, and up where the next one is."""
    order = np.argsort(x)
    start, *others = zip(x[order], y[order], strict=True)
    path = f"M{start[0]:.1f} {start[1]:.1f}"
    return path + "".join(f"H{a:.1f}V{b:.1f}" for a, b in others) + f"H{_WIDTH - _RIGHT}"
