"""The view of a window on its way through the engine: settings, figure, what a page shows."""

import base64
import importlib
import itertools
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from labkit import hwce, plots, widgets
from labkit.hwce.formats import QFormat

style = importlib.import_module("labkit.plots.style")  # the name is a function's, too

FLOOR, HALF_UP, IDEAL = "fulmine (floor)", "gap8 (half up)", "ideal"


def a_window(rows=3, columns=3, channels=6, kernel=(8, 0), scale=0.3, seed=0):
    random = np.random.default_rng(seed)
    x = random.integers(-9000, 9000, (rows, columns, channels))
    formats = hwce.LayerPlan(QFormat(*kernel), QFormat(16, 1), QFormat(16, 3))
    return hwce.Window(x, random.normal(0, scale, x.shape), 0.4, formats, "nearest", "conv1, here")


def saturating():
    formats = hwce.LayerPlan(QFormat(16, 15), QFormat(16, 15), QFormat(16, 15))
    x = np.array([[[30000, 30000, -30000]]])
    return hwce.Window(x, np.ones(x.shape), 0.0, formats)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    """A picture of few dots takes a fraction of the time."""
    monkeypatch.setattr(style, "DPI", 30)


@pytest.fixture
def view():
    return widgets.EngineWindow(a_window())


@pytest.fixture
def displayed(monkeypatch):
    """Outputs that the notebook gets, as a list that grows."""
    outputs = []

    def display(data, metadata, raw):
        outputs.append(nbformat.v4.new_output("display_data", data, metadata=metadata))

    monkeypatch.setattr(style, "display", display)
    monkeypatch.setattr(widgets, "display", display)
    return outputs


def texts(figure):
    """Texts that a figure shows, with their boxes in dots; those of the cells by themselves."""
    FigureCanvasAgg(figure).draw()
    found = [t for ax in figure.findobj(lambda a: hasattr(a, "texts")) for t in ax.texts]
    found += [ax._left_title for ax in figure.axes]
    found += [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
    found = {id(t): t for t in found}.values()
    return [(t.get_text(), t.get_window_extent()) for t in found if t.get_text().strip()]


def calculation(figure):
    """What the panel right of the matrices says: line → number; and its bits, kept and cut off."""
    *rows, kept, _, cut, _ = (t.get_text() for t in figure.axes[2].texts)
    numbers = [whole + fraction for whole, fraction in zip(rows[1::4], rows[2::4], strict=True)]
    plain = [n.replace("−", "-").replace("\u2009", "") for n in numbers]
    return dict(zip(rows[::4], plain, strict=True)), kept.replace(" ", ""), cut.replace(" ", "")


@pytest.mark.parametrize(
    ("window", "engine", "bits", "job"),
    [
        (a_window(), FLOOR, 8, 6),
        (a_window(5, 5), HALF_UP, 4, 1),
        (a_window(7, 7), IDEAL, 16, 3),
        (a_window(1, 1, 40), IDEAL, 16, 40),
        (saturating(), HALF_UP, 16, 2),
        (saturating(), IDEAL, 16, 2),
    ],
    ids=["3x3", "5x5", "7x7", "1x1", "saturated", "beyond a word"],
)
def test_no_text_lies_on_another(window, engine, bits, job):
    placed = texts(widgets.EngineWindow(window).figure(engine, bits, job))
    assert len(placed) > 20
    for (one, a), (other, b) in itertools.combinations(placed, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1.5 or height < 1.5, f"{one!r} and {other!r} overlap"


def test_the_calculation_is_that_of_the_engine(view):
    window, config = view.window, hwce.GAP8
    step = hwce.trace(window.x_codes, window.w_codes, window.bias, config, qf=window.qf)[3]
    shown, kept, cut = calculation(view.figure(HALF_UP, 8, 4))
    qf = window.qf
    total = (step.y_in << qf) + step.products + (1 << (qf - 1))
    assert int(shown["y_in, the word so far"]) == step.y_in
    assert int(shown[f"y_in << {qf}"]) == step.y_in << qf
    assert int(shown["+ S, the products"]) == step.products
    assert int(shown[f"+ rounding bit, 1 << {qf - 1}"]) == 1 << (qf - 1)
    assert int(shown["= T"]) == total
    assert int(shown[f"T >> {qf}"]) == int(shown["saturated to 16 bits: y"]) == step.y
    exact = view.table(HALF_UP, 8)["exact"][4]
    assert float(shown["exact sum so far"]) == pytest.approx(exact, abs=0.005)
    assert float(shown["error, in steps"]) == pytest.approx(step.y - exact, abs=0.005)
    assert len(kept) == 16 and len(cut) == qf
    assert int(kept + cut, 2) == total % 2 ** (16 + qf)
    assert calculation(view.figure(FLOOR, 8, 4))[0]["+ rounding bit"] == "none"


def test_clipping_is_said():
    view = widgets.EngineWindow(saturating())
    assert "clipped" in [t.get_text() for t in view.figure(HALF_UP, 16, 2).axes[2].texts]
    assert "is clipped to 32,767" in view.alt(HALF_UP, 16, 2)
    assert "bits of T, more than a word has" in [
        t.get_text() for t in view.figure(HALF_UP, 16, 2).axes[2].texts
    ]
    assert "clipped" not in [t.get_text() for t in view.figure(IDEAL, 16, 2).axes[2].texts]


def test_pixels_and_weights_are_those_of_the_job(view):
    left, middle = view.figure(FLOOR, 4, 2).axes[:2]
    np.testing.assert_array_equal(left.images[0].get_array(), view.window.x_codes[..., 1])
    codes = view.window.with_weight_bits(4).w_codes
    np.testing.assert_array_equal(middle.images[0].get_array(), codes[..., 1])
    turned = widgets.EngineWindow(view.window, [hwce.GAP8.with_(flip=True)])
    middle = turned.figure(HALF_UP, 4, 2).axes[1]
    np.testing.assert_array_equal(middle.images[0].get_array(), codes[::-1, ::-1, 1])


def test_controls_redraw_the_picture(view):
    pytest.importorskip("ipywidgets")
    engine, bits, job, picture = view.controls().children
    assert (engine.value, bits.value, job.value) == view.shown == (FLOOR, 8, 6)
    assert engine.options == (FLOOR, HALF_UP, IDEAL)
    for control, value, said in (
        (engine, HALF_UP, "gap8 (half up) with 8-bit"),
        (bits, 4, "gap8 (half up) with 4-bit"),
        (job, 2, "job 2 of 6"),
        (engine, IDEAL, "ideal with 4-bit"),
    ):
        before = picture.value
        control.value = value
        image = BeautifulSoup(picture.value, "html.parser").img
        assert picture.value != before and said in image["alt"]
        assert base64.b64decode(image["src"].split(",")[1]).startswith(b"\x89PNG")
    assert image["alt"] == view.alt(IDEAL, 4, 2)


def test_engines_with_fewer_jobs():
    """NEURAghe sums four channels in a job: the slider ends where the chosen engine's jobs do."""
    pytest.importorskip("ipywidgets")
    view = widgets.EngineWindow(a_window(), [hwce.GAP8, hwce.NEURAGHE])
    engine, _, job, picture = view.controls().children
    assert (job.value, job.max) == (6, 6)
    engine.value = "neuraghe (floor)"
    assert (job.value, job.max) == (2, 2) and "job 2 of 2" in picture.value
    engine.value = HALF_UP
    assert job.max == 6


def test_without_a_reader_it_is_the_figure(displayed, view):
    widgets.engine_window(view.window)
    (output,) = displayed
    assert set(output.data) == {"image/png", "text/plain"}
    assert output.metadata["image/png"]["alt"] == view.alt(*view.shown)


def test_without_ipywidgets_it_is_the_figure(displayed, view, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr(widgets.runtime, "interactive", lambda: True)
    monkeypatch.setattr(widgets, "get_ipython", lambda: type("Shell", (), {"kernel": 1}))
    widgets.engine_window(view.window)
    assert set(displayed[0].data) == {"image/png", "text/plain"}


def test_with_a_reader_it_is_both_and_a_page_shows_the_figure(displayed, view, monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(widgets.runtime, "interactive", lambda: True)
    monkeypatch.setattr(widgets, "get_ipython", lambda: type("Shell", (), {"kernel": 1}))
    widgets.engine_window(view.window)
    (output,) = displayed
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    cell = nbformat.v4.new_code_cell("...", outputs=[output])
    page = HTMLExporter(template_name="classic")
    html, _ = page.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (picture,) = BeautifulSoup(html, "html.parser").select(".output_png img")
    assert picture["alt"] == view.alt(*view.shown)


def test_executed_by_a_tool_a_notebook_holds_the_figure_alone(monkeypatch):
    monkeypatch.delenv("LABKIT_QUIET", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    code = """
import numpy as np
from labkit import hwce, widgets
q = hwce.QFormat(8, 0)
w = hwce.Window(np.ones((3, 3, 2), int), np.ones((3, 3, 2)) / 3, 0.0, hwce.LayerPlan(q, q, q))
widgets.engine_window(w)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == {"image/png", "text/plain"} and "alt" in output.metadata["image/png"]
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"configs": ()}, "nothing to choose"),
        ({"bits": ()}, "nothing to choose"),
        ({"job": 0}, "job is 0, expected 1 to 6"),
        ({"job": 7}, "job is 7"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        widgets.EngineWindow(a_window(), **arguments)


def drawn(weight_bits, kind):
    return plots.heat_map(pd.DataFrame([[weight_bits]]), "x", "y", "z"), f"{weight_bits} {kind}"


def test_a_choice_without_a_reader_is_the_figure(displayed):
    widgets.choose(drawn, {"weight_bits": 4, "kind": "a"}, weight_bits=range(2, 9), kind=("a", "b"))
    (output,) = displayed
    assert set(output.data) == {"image/png", "text/plain"}
    assert output.metadata["image/png"]["alt"] == "4 a"


def test_sliders_redraw_a_choice():
    pytest.importorskip("ipywidgets")
    box = widgets._sliders(
        drawn, {"weight_bits": 4, "kind": "a"}, {"weight_bits": range(2, 9), "kind": ("a", "b")}
    )
    bits, kind, picture = box.children
    assert bits.description == "weight bits" and 'alt="4 a"' in picture.value
    bits.value = 7
    kind.value = "b"
    assert 'alt="7 b"' in picture.value


def test_a_choice_that_is_not_there():
    with pytest.raises(ValueError, match="weight_bits is 1, expected one of"):
        widgets.choose(drawn, {"weight_bits": 1}, weight_bits=(2, 3))
