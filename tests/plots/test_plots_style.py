"""The figures: alternative text on the way to HTML, and no text on top of another."""

import base64
import importlib
import itertools

import nbformat
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbconvert import HTMLExporter
from plot_examples import FIGURES, a_report, texts, training

from labkit import plots

style = importlib.import_module("labkit.plots.style")  # the name is a function's, too


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_lies_on_another(name):
    placed = texts(FIGURES[name]())
    assert placed
    for (one, a), (other, b) in itertools.combinations(placed, 2):
        if one.isdigit() and other.isdigit():
            continue  # numbers lie on points, which may be close
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
