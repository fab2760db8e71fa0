"""The figures: alternative text on the way to HTML, and no text on top of another."""

import base64
import importlib
import itertools

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.backends import backend_agg as agg
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


def heights_of(ends, names, limits=(0, 100)):
    """Where the names stand, as parts of the axes, in their order."""
    ax = Figure().subplots()
    ax.set_ylim(limits)
    style.name_ends(ax, ends, names)
    return [text.xy[1] for text in ax.texts]


def test_names_stand_at_the_ends_of_their_lines():
    assert heights_of([90, 20, 55], "abc") == pytest.approx([0.9, 0.2, 0.55])


def test_names_of_close_ends_move_apart_around_them():
    assert heights_of([50, 50, 50], "abc") == pytest.approx([0.57, 0.5, 0.43])
    apart = heights_of([60, 50, 52], ["two lines of text, which", "one", "another"])
    assert apart[1] < apart[2] < apart[0]
    assert apart[2] - apart[1] == pytest.approx(0.07)
    assert apart[0] - apart[2] == pytest.approx(0.105)


@pytest.mark.parametrize("others", [[], [0.0], [50.0]])
def test_names_stay_within_the_axes_and_where_they_belong(others):
    *high, low = heights_of([100, 100, 99, 98, *others, 3], "abcd" + "e" * len(others) + "f")
    assert max(high) == pytest.approx(1) and low >= 0
    assert low < 0.08  # the stack at the top does not push it down


def test_a_table_that_counts_down_is_drawn_from_left_to_right():
    down = pd.DataFrame({"rounded": [92.0, 47.0, 7.0], "trained": [99.0, 99.0, 90.0]}, [4, 3, 2])
    ax = plots.lines(down, "bits", "accuracy (%)").axes[0]
    assert ax.xaxis_inverted()
    low, high = ax.get_ylim()
    placed = {text.get_text(): text.xy[1] for text in ax.texts}
    assert placed["rounded"] == pytest.approx((7 - low) / (high - low), abs=1e-6)  # at two bits
    assert not plots.lines(down.sort_index(), "bits", "accuracy (%)").axes[0].xaxis_inverted()


def test_trainings_of_one_name_share_a_colour():
    curves = [training() for _ in range(3)]
    figure = plots.history(curves, names=["4-bit", "4-bit", "ternary"])
    for ax in figure.axes:
        one, other, third = (line.get_color() for line in ax.lines)
        assert one == other != third
    assert [text.get_text() for text in figure.axes[1].texts] == ["4-bit", "ternary"]
    assert [text.get_color() for text in figure.axes[1].texts] == [one, third]


def test_the_names_of_many_layers_slant_beside_each_other():
    layers = [f"fire{i // 3}/e{i % 3}x1" for i in range(25)] + ["conv10"]
    figure = plots.lines(pd.DataFrame({"float": range(26)}, layers), "convolution", "zeros (%)")
    agg.FigureCanvasAgg(figure).draw()
    names = figure.axes[0].get_xticklabels()
    assert [name.get_text() for name in names] == layers
    across = np.diff([name.get_transform().transform(name.get_position())[0] for name in names])
    for name in names:
        assert name.get_rotation() == 45 and name.get_rotation_mode() == "anchor"
        assert name.get_horizontalalignment() == "right"
    # Parallel lines of text: they lie apart by the ticks' distance times the sine of the slant.
    height = names[0].get_fontsize() * figure.dpi / 72
    assert across.min() * np.sin(np.pi / 4) > 0.9 * height
