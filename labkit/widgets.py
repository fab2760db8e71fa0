"""Interactive views for the labs, each with a static figure for readers of the page.

Where nobody can move a slider (a page, papermill, no ipywidgets) a view is just its figure at the
first settings, with its alternative text.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from labkit import plots, runtime
from labkit.hwce import FULMINE, GAP8, IDEAL, HwceConfig, Window

#: What a reader should know of an engine, beside its name.
_ROUNDING = {True: "half up", False: "floor"}


class _Shown(NamedTuple):
    """The settings of a view."""

    engine: str
    bits: int
    job: int


class EngineWindow:
    """One window passing through the engine, job by job: see `engine_window`.

    Args:
        window: from `hwce.window`, or made by hand.
        configs: the engines to choose from; the first one is shown first.
        bits: widths of the weights to choose from; the window's own is shown first if it is among
            them.
        job: number of the job that is shown first, from 1; None for the last.

    Raises:
        ValueError: nothing to choose from, or no such job.
    """

    def __init__(
        self,
        window: Window,
        configs: Sequence[HwceConfig] = (FULMINE, GAP8, IDEAL),
        bits: Sequence[int] = (16, 8, 4),
        job: int | None = None,
    ):
        if not configs or not bits:
            raise ValueError("there is nothing to choose from: give configs and bits.")
        self.window, self.configs = window, {_name(config): config for config in configs}
        own = window.formats.kernel.bits
        self.bits = tuple(bits)
        self.count = len(window.steps(configs[0]))
        job = self.count if job is None else job
        if not 1 <= job <= self.count:
            raise ValueError(f"job is {job}, expected 1 to {self.count}.")
        first = own if own in self.bits else self.bits[0]
        #: What a page without a kernel shows.
        self.shown = _Shown(next(iter(self.configs)), first, job)
        self._tables = lru_cache(None)(self._jobs)

    def _jobs(self, engine: str, bits: int) -> pd.DataFrame:
        return self.window.with_weight_bits(bits).jobs(self.configs[engine])

    def table(self, engine: str, bits: int) -> pd.DataFrame:
        """Every job of an engine at a width of the weights: see `Window.jobs`."""
        return self._tables(engine, bits).copy()

    def figure(self, engine: str, bits: int, job: int) -> Figure:
        """The view at some settings."""
        window, config = self.window.with_weight_bits(bits), self.configs[engine]
        step, table = window.steps(config)[job - 1], self._tables(engine, bits)
        tables = {name: self._tables(name, bits) for name in self.configs}
        channel, part = step.channels[0], (step.window.rows, step.window.columns)
        w = window.w_codes[::-1, ::-1] if config.flip else window.w_codes
        # Engines that sum several channels in a job have fewer jobs: their words hold longer.
        words = pd.DataFrame({name: t["y"] for name, t in tables.items()}).ffill()
        return plots.engine_job(
            window.x_codes[..., channel][part],
            w[..., channel][part],
            *_calculation(window, table, job, config),
            words.assign(exact=table["exact"]).loc[: len(table)],
            engine,
            job,
            f"{window.place}: job {job} of {len(table)} (channel {channel}), {engine}, "
            f"{bits}-bit weights",
        )

    def alt(self, engine: str, bits: int, job: int) -> str:
        """The view in words."""
        table = self._tables(engine, bits)
        row = table.loc[job]
        ends = ", ".join(
            f"{self._tables(name, bits)['error'].iloc[-1]:+.2f} with {name}"
            for name in self.configs
        )
        clipped = "is clipped to" if row["saturated"] else "becomes"
        return (
            f"{self.window.place}, job {job} of {len(table)}: the engine {engine} with {bits}-bit "
            f"weights. Pixels and weights of channel {row['channels'][0]}, whose products sum up "
            f"to {row['products']:,}; the word {row['y_in']:,.10g} {clipped} {row['y']:,.10g}, "
            f"where the exact sum is {row['exact']:,.2f}. Below, the word and its error after "
            f"every job; at the end the error in steps is {ends}."
        )

    def controls(self):
        """The ipywidgets: what is to choose, and the picture that follows; `.children` has them.

        Raises:
            ImportError: ipywidgets is not installed.
        """
        import ipywidgets

        wide = {"description_width": "90px"}
        engine = ipywidgets.ToggleButtons(
            options=list(self.configs), value=self.shown.engine, description="engine", style=wide
        )
        bits = ipywidgets.ToggleButtons(
            options=[(f"{b} bits", b) for b in self.bits],
            value=self.shown.bits,
            description="weights",
            style=wide,
        )
        job = ipywidgets.IntSlider(
            self.shown.job,
            1,
            self.count,
            description="job",
            continuous_update=False,
            style=wide,
            layout=ipywidgets.Layout(width="600px"),
        )
        picture = ipywidgets.HTML(self._picture(*self.shown))

        def follow(_change) -> None:
            job.max = len(self._tables(engine.value, bits.value))
            picture.value = self._picture(engine.value, bits.value, job.value)

        for control in (engine, bits, job):
            control.observe(follow, "value")
        return ipywidgets.VBox([engine, bits, job, picture])

    def _picture(self, *shown) -> str:
        """An HTML image with its alternative text."""
        return _image(self.figure(*shown), self.alt(*shown))


def engine_window(window: Window) -> None:
    """Show one window passing through the engine, job by job, and let the reader choose.

    In JupyterLab with ipywidgets the engine, the width of the weights and the job can be chosen;
    anywhere else this is the figure at the first settings, as `plots.show` displays it.

    Args:
        window: as in `EngineWindow`, whose own settings are taken for the rest.

    Example:
        >>> widgets.engine_window(hwce.window(model, image, plan, "fire2/expand3x3", 20, 20, 5))
    """
    view = EngineWindow(window)
    figure, alt = view.figure(*view.shown), view.alt(*view.shown)
    controls = view.controls() if _live() else None
    if controls is None:
        plots.show(figure, alt)
        return
    # Both in one output: whoever cannot show the widget shows the figure.
    data, metadata = plots.bundle(figure, alt)
    display(controls._repr_mimebundle_() | data, metadata=metadata, raw=True)


def choose(
    draw: Callable[..., tuple[Figure, str]], shown: Mapping[str, object], **options: Sequence
) -> None:
    """Show a figure that depends on settings, and let the reader move a slider for each.

    Without somebody to move them this is the figure at the first settings.

    Args:
        draw: of the settings as keywords: a figure, and what its alternative text says.
        shown: the first settings, by name.
        options: of each setting what there is to choose from, in order; `_` is shown as a space.

    Raises:
        ValueError: a first setting that is not there to choose.

    Example:
        >>> widgets.choose(draw, {"weight_bits": 6}, weight_bits=range(2, 17))  # doctest: +SKIP
    """
    for name, values in options.items():
        if shown[name] not in values:
            raise ValueError(f"{name} is {shown[name]!r}, expected one of {list(values)}.")
    data, metadata = plots.bundle(*draw(**shown))
    if _live():
        data = _sliders(draw, shown, options)._repr_mimebundle_() | data
    display(data, metadata=metadata, raw=True)


def _sliders(draw: Callable, shown: Mapping, options: Mapping[str, Sequence]):
    """The ipywidgets: a slider a setting, and the picture that follows."""
    import ipywidgets

    sliders = {
        name: ipywidgets.SelectionSlider(
            options=list(values),
            value=shown[name],
            description=name.replace("_", " "),
            continuous_update=False,
            style={"description_width": "120px"},
            layout=ipywidgets.Layout(width="600px"),
        )
        for name, values in options.items()
    }
    picture = ipywidgets.HTML(_image(*draw(**shown)))

    def follow(_change) -> None:
        picture.value = _image(*draw(**{name: each.value for name, each in sliders.items()}))

    for slider in sliders.values():
        slider.observe(follow, "value")
    return ipywidgets.VBox([*sliders.values(), picture])


def _image(figure: Figure, alt: str) -> str:
    """An HTML image with its alternative text."""
    data, metadata = plots.bundle(figure, alt)
    width = metadata["image/png"]["width"]
    return (
        f'<img width="{width}" alt="{html.escape(alt, quote=True)}" '
        f'src="data:image/png;base64,{data["image/png"]}">'
    )


def _live() -> bool:
    """Whether there is somebody to move a slider, and something to draw it."""
    try:
        import ipywidgets  # noqa: F401 - asked whether it is there
    except ImportError:
        return False
    return runtime.interactive() and hasattr(get_ipython(), "kernel")


def _name(config: HwceConfig) -> str:
    return config.name if config.ideal else f"{config.name} ({_ROUNDING[config.half_up]})"


def _calculation(
    window: Window, table: pd.DataFrame, job: int, config: HwceConfig
) -> tuple[list[tuple[str, str, str]], tuple[str, str]]:
    """The lines of a job's calculation, and the bits of its sum: kept, and cut off."""
    row, qf = table.loc[job], window.qf
    open_ = config.ideal and job < len(table)  # nothing is rounded yet
    y_in, half = round(row["y_in"] * 2**qf), int(row["half"])
    total = y_in + int(row["products"]) + half
    rounding = "+ rounding bit" + (f", 1 << {qf - 1}" if half else "")
    none = "" if config.half_up and qf and not open_ else "none"
    before = "sum so far, unrounded" if config.ideal else "y_in, the word so far"
    lines = [
        (before, _number(row["y_in"]), ""),
        (f"· 2^{qf}" if config.ideal else f"y_in << {qf}", _number(y_in), ""),
        ("+ S, the products", _number(row["products"], "+"), ""),
        (rounding, none or _number(half, "+"), ""),
        ("= T", _number(total), ""),
    ]
    if open_:
        lines += [("no rounding before the last job", "", "")]
    else:
        clipped = "clipped" if row["saturated"] else ""
        lines += [
            (f"T >> {qf}", _number(row["shifted"]), ""),
            ("saturated to 16 bits: y", _number(row["y"]), clipped),
        ]
    lines += [
        ("exact sum so far", _number(row["exact"], digits=2), ""),
        ("error, in steps", _number(row["error"], "+", 2), ""),
    ]
    word = total >> qf
    width = 16 if -32768 <= word <= 32767 else 20
    while not -(1 << (width - 1)) <= word < 1 << (width - 1):
        width += 4
    bits = f"{total & ((1 << (width + qf)) - 1):0{width + qf}b}"
    if open_:
        return lines, (_fours(bits), "")
    return lines, (_fours(bits[:width]), _fours(bits[width:]))


def _fours(bits: str) -> str:
    """Bits in groups of four, from the right."""
    first = len(bits) % 4
    groups = [bits[:first]] * bool(first)
    return " ".join(groups + [bits[i : i + 4] for i in range(first, len(bits), 4)])


def _number(value: float, sign: str = "-", digits: int = 0) -> str:
    """With a true minus and thin spaces for thousands."""
    if not digits and float(value) != np.floor(value):
        digits = 2
    return f"{value:{sign},.{digits}f}".replace("-", "−").replace(",", "\u2009")
