"""A front of many models."""

import numpy as np
import pandas as pd
from plot_examples import many_models, texts

from labkit import measure, plots


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
