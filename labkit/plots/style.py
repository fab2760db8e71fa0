"""The course's style, and how a figure is shown."""

from __future__ import annotations

import base64
import io
import sys
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
import PIL.Image
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

#: Colours that readers with colour-blindness can tell apart (Okabe and Ito, 2008).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: For figures of all labs: the same, and five more (P. Tol, 2021).
MANY = (*COLORS, "#882255", "#999933", "#44AA99", "#AA4499", "#332288")
GREY, PALE = "#6b6b6b", "#b9d7ea"
WIDTH = 8  # inches: the width of a notebook's output at 110 dots an inch
DPI = 110

_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLORS),
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
    figure.savefig(full, format="png", dpi=2 * DPI, bbox_inches="tight")
    picture = PIL.Image.open(full).convert("RGB")
    picture.quantize(256, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE).save(
        small, "png", optimize=True
    )
    return small.getvalue(), *picture.size


def axes_of(height: float, rows: int = 1, columns: int = 1, width: float = WIDTH, **options):
    """A figure of that height in inches, and its axes in rows and columns; within `style`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def line_widths(count: int) -> np.ndarray:
    """Line widths from thick to thin, so that lines on top of each other all show."""
    return np.linspace(1.8 + 0.7 * min(count - 1, 3), 1.8, count)


def name_ends(ax: Axes, ends: Sequence[float], names: Sequence[str], line: float = 0.07) -> None:
    """Write names right of the axes at the height of the lines' ends, moved apart if need be.

    `line` is the height of a line of text, as a part of the axes.
    """
    texts = [textwrap.fill(str(name), 18, break_long_words=False) for name in names]
    low, high = ax.get_ylim()
    heights = (np.array(ends) - low) / (high - low)
    order = np.lexsort((-np.arange(len(texts)), heights))  # of equal ones the first on top
    # Half of its own text lies below the middle of a name. The names' middles less what must lie
    # between them have to rise: the nearest rising sequence, kept within the axes.
    tall = line * np.array([texts[i].count("\n") + 1 for i in order])
    between = np.append(0, np.cumsum((tall[:-1] + tall[1:]) / 2))
    least = isotonic_regression(heights[order] - between).x
    placed = np.empty_like(heights)
    placed[order] = between + np.clip(least, 0, max(0, 1 - between[-1]))
    for i, (text, height) in enumerate(zip(texts, placed, strict=True)):
        ax.annotate(
            text,
            (1.01, height),
            xycoords="axes fraction",
            va="center",
            fontsize=9,
            color=COLORS[i % len(COLORS)],
        )


def slant_names(ax: Axes) -> None:
    """Slant the names below the axes, each ending at its place."""
    for name in ax.get_xticklabels():
        name.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")
