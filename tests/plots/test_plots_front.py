"""What quantisers give, energy, and a front of many models."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit import measure, plots

RNG = np.random.default_rng(0)


def many_models(labs=7, each=6):
    """Files of several labs, most of them between 98 and 100 %."""
    random = np.random.default_rng(0)
    rows = [
        {
            "lab": f"{lab:02d}",
            "technique": f"technique {lab}.{i} of a long name",
            "model": "baseline",
            "accuracy (%)": 100 - 10 ** random.uniform(-2, 1.5),
            "bytes": 10 ** random.uniform(3.7, 5.3),
            "data": "real",
            "profile": "full",
        }
        for lab in range(1, labs + 1)
        for i in range(each)
    ]
    return pd.DataFrame(rows)


def texts(figure):
    """Visible texts with their boxes in dots."""
    FigureCanvasAgg(figure).draw()
    found = [t for ax in figure.axes for t in (*ax.texts, ax._left_title) if t.get_text() != "●"]
    found += [t for ax in figure.axes if ax.axison for t in (ax.xaxis.label, ax.yaxis.label)]
    return [(t.get_text(), t.get_window_extent()) for t in found if t.get_text().strip()]


def values():
    return {"four bits": np.arange(-7, 8) / 8, "ternary": np.array([-1, 0, 1])}


def weights():
    w = RNG.normal(0, 0.3, (500,))
    return w, {name: np.round(w * n) / n for name, n in [("a", 2), ("b", 4), ("c", 8), ("d", 16)]}


def nanojoules():
    return pd.DataFrame(
        {"operations": [600.0, 200, 100], "memory": [80.0, 70, 65]},
        index=["8-bit", "4-bit", "ternary"],
    )


def two_groups():
    table = pd.concat([many_models(3, 3), many_models(3, 3).assign(data="synthetic")])
    return table.reset_index(drop=True)


FIGURES = {
    "levels": lambda: plots.levels(values()),
    "rounded": lambda: plots.rounded_values(*weights(), label="weight"),
    "energy": lambda: plots.energy(nanojoules()),
    "front": lambda: plots.front(many_models(), measure.front(many_models())),
    "front of two groups": lambda: plots.front(two_groups(), measure.front(two_groups())),
}


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


def test_front_names_the_front_alone_in_order_of_size():
    report = many_models()
    best = measure.front(report)
    figure = plots.front(report, best)
    shown = [text for text, _ in texts(figure)]
    named = [text for text in shown if text.startswith("technique")]
    assert named == list(best["technique"])
    assert [f"lab {i:02d}" for i in range(1, 8)] == [t for t in shown if t.startswith("lab")]


def test_front_shows_every_file_and_the_column_asked_for():
    report = many_models().assign(**{"gzip (bytes)": lambda t: t["bytes"] / 2})
    figure = plots.front(report, measure.front(report, "gzip (bytes)"), "gzip (bytes)")
    ax = figure.axes[0]
    dots = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(dots), np.sort(report["gzip (bytes)"] / 1000))
    assert ax.get_xlabel() == "size after gzip (kB)"


def test_front_puts_the_better_file_higher_and_survives_100_percent():
    report = many_models().head(3).assign(**{"accuracy (%)": [100.0, 99.0, 50.0]})
    figure = plots.front(report, report)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top > 0
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert "99" in labels and "50" in labels


def test_levels_says_how_many_values():
    shown = " ".join(text for text, _ in texts(plots.levels(values())))
    assert "15 values" in shown and "3 values" in shown


def test_rounded_values_counts_values_and_error():
    w, rounded = weights()
    shown = [text for text, _ in texts(plots.rounded_values(w, rounded, "weight"))]
    error = np.square(rounded["a"] - w).sum() / np.square(w).sum()
    expected = f"a\n{len(np.unique(rounded['a']))} values, error {error:.0%}"
    assert expected in shown


def test_energy_adds_up():
    shown = [text for text, _ in texts(plots.energy(nanojoules()))]
    assert {"680", "270", "165"} <= set(shown)


def test_every_lab_of_the_course_has_a_colour_of_its_own():
    one = many_models().iloc[0]
    report = pd.DataFrame(
        [
            {**one, "lab": f"{i:02d}", "accuracy (%)": 90 + i / 2, "bytes": 1000 * (i + 1)}
            for i in range(12)
        ]
    )
    figure = plots.front(report, measure.front(report))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len({line.get_color() for line in dots}) == len(dots) == 12


def test_front_of_an_error_is_linear_with_the_least_error_on_top():
    report = many_models(2, 3).rename(columns={"accuracy (%)": "mean squared error (mm²)"})
    figure = plots.front(
        report, report.head(2), metric="mean squared error (mm²)", higher_is_better=False
    )
    ax = figure.axes[0]
    assert ax.get_yscale() == "linear" and ax.yaxis_inverted()
    assert ax.get_ylabel() == "test mean squared error (mm²)"
    dots = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(dots), np.sort(report["mean squared error (mm²)"]))


def test_front_of_a_score_is_linear_with_the_best_score_on_top():
    report = many_models(2, 3).rename(columns={"accuracy (%)": "F1"})
    ax = plots.front(report, report.head(2), metric="F1").axes[0]
    assert ax.get_yscale() == "linear" and not ax.yaxis_inverted()
