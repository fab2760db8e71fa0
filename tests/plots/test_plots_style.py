"""The figures: alternative text on the way to HTML, and no text on top of another."""

import base64
import importlib
import itertools

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nbconvert import HTMLExporter

from labkit import plots

style = importlib.import_module("labkit.plots.style")  # the name is a function's, too

RNG = np.random.default_rng(0)
LETTERS = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")


def a_report():
    return pd.DataFrame(
        {
            "accuracy (%)": [98.91, 98.90, 98.92, 98.71, 98.88, 98.95],
            "± (%)": [0.21, 0.22, 0.2, 0.35, 0.2, 0.28],
            "bytes": [157_344, 81_912, 44_520, 47_096, 48_032, 47_300],
        },
        index=pd.Index(
            ["float", "float16", "dynamic range", "int8", "16x8", "QAT int8"], name="technique"
        ),
    )


def a_front():
    report = a_report().reset_index().assign(data="real", profile="full")
    return report, report.iloc[[2, 5]]


def ranges():
    return pd.DataFrame(
        {"min": [0, 0, -24.0], "p0.5": [0.1, 0, -17], "p99.5": [0.9, 2.4, 11], "max": [1, 6.2, 18]},
        index=["image", "relu1", "logits"],
    )


def sweep():
    values = {"16x8": [98.9, 98.8, 98.7], "float": [98.9] * 3, "int8": [98.7, 81, 12]}
    return pd.DataFrame(values, index=[1, 64, 1024])


def staircase(x):
    return 0.25 * np.clip(np.round(x / 0.25), -4, 11)


def training(epochs=5):
    return {"loss": list(RNG.random(epochs)), "accuracy": list(RNG.random(epochs))}


FIGURES = {
    "montage": lambda: plots.montage(RNG.random((24, 28, 28, 1)), np.arange(24), LETTERS),
    "history": lambda: plots.history([training(), training()]),
    "confusion": lambda: plots.confusion(*RNG.integers(0, 24, (2, 900)), LETTERS),
    "comparison": lambda: plots.comparison(a_report()),
    "comparison of two": lambda: plots.comparison(a_report().iloc[:2].drop(columns="± (%)")),
    "front": lambda: plots.front(*a_front()),
    "lines": lambda: plots.lines(sweep(), x="factor", y="test accuracy (%)", log_x=2),
    "weights": lambda: plots.weight_histogram(RNG.normal(0, 0.1, (16, 3, 3, 1)), 0.3 / 127),
    "four-bit weights": lambda: plots.weight_histogram(RNG.normal(0, 0.1, 999), 0.3 / 7, bits=4),
    "ranges": lambda: plots.activation_ranges(ranges()),
    "ranges and steps": lambda: plots.activation_ranges(ranges(), steps=True),
    "staircase": lambda: plots.quantisation_steps(staircase, -1.5, 3.5),
}


def texts(figure):
    """The texts that a figure shows, each with its box in dots."""
    FigureCanvasAgg(figure).draw()
    found = list(figure.texts)
    for ax in figure.axes:
        found += [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            found += [label for place, label in ticks if ax.axison and low <= place <= high]
    return [(t.get_text(), t.get_window_extent()) for t in found if t.get_text().strip()]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_lies_on_another(name):
    placed = texts(FIGURES[name]())
    assert placed
    for (one, a), (other, b) in itertools.combinations(placed, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1.5 or height < 1.5, f"{one!r} and {other!r} overlap"


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"montage"}))
def test_axes_say_what_they_show(name):
    for ax in FIGURES[name]().axes:
        label = ax.get_xlabel() + ax.get_ylabel()
        shares_axis = ax.get_shared_x_axes().get_siblings(ax) != [ax]
        assert label or shares_axis or ax.get_label() == "<colorbar>", "an axis without a label"


@pytest.fixture
def shown(monkeypatch):
    """A function that shows a figure and returns the output that the notebook gets."""

    def shown(figure, alt):
        outputs = []
        monkeypatch.setattr(
            style,
            "display",
            lambda data, metadata, raw: outputs.append(
                nbformat.v4.new_output("display_data", data, metadata=metadata)
            ),
        )
        plots.show(figure, alt=alt)
        (output,) = outputs
        return output

    return shown


def test_show_displays_a_png_with_alternative_text(shown):
    output = shown(plots.history([training()]), "Loss & accuracy")
    png = base64.b64decode(output.data["image/png"])
    assert png.startswith(b"\x89PNG")
    metadata = output.metadata["image/png"]
    assert metadata["alt"] == output.data["text/plain"] == "Loss & accuracy"
    width = int.from_bytes(png[16:20], "big")
    assert metadata["width"] == width // 2  # twice the dots, for sharp text
    assert 600 < metadata["width"] < 1000


def test_alternative_text_reaches_the_html(shown):
    cell = nbformat.v4.new_code_cell("plots.show(...)")
    cell.outputs = [shown(plots.history([training()]), 'Loss falls, "flat" & settles')]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    # nbconvert's default template, lab, leaves alternative texts out.
    html, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    (picture,) = BeautifulSoup(html, "html.parser").select(".output_png img")
    assert picture["alt"] == 'Loss falls, "flat" & settles'
    assert picture["width"] == str(cell.outputs[0].metadata["image/png"]["width"])


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_a_figure_without_alternative_text(alt):
    with pytest.raises(ValueError, match="alternative text"):
        plots.show(Figure(), alt=alt)


def test_show_closes_a_figure_of_pyplot(shown):
    plt = pytest.importorskip("matplotlib.pyplot")
    figure = plt.figure()
    shown(figure, "nothing")
    assert not plt.fignum_exists(figure.number)


def test_pictures_are_the_same_every_time(shown):
    first, second = (shown(plots.comparison(a_report()), "the same").data for _ in range(2))
    assert first == second


def test_the_style_stays_inside_the_figures():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    FIGURES["lines"]()
    assert dict(mpl.rcParams) == before
    with plots.style():
        assert mpl.rcParams["axes.spines.top"] is False


def test_comparison_gives_sizes_relative_to_the_first():
    labels = [t.get_text() for t in plots.comparison(a_report()).axes[1].texts]
    assert labels[0] == "157.3"
    assert labels[2] == "44.5   ÷ 3.5"
