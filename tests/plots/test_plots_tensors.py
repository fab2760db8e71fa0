"""Figures of weights: where centroids begin and end, and which weights stay."""

import numpy as np
from plot_examples import texts, values, weights

from labkit import plots


def test_a_row_of_dots_a_codebook():
    weights = np.random.default_rng(0).normal(size=500)
    books = {
        "linear": (np.array([-2.0, 0, 2]), np.array([-1.0, 0, 1])),
        "density": (np.array([-0.5, 0, 0.5]), np.array([-0.9, 0, 0.9])),
    }
    figure = plots.centroids(weights, books)
    top, bottom = figure.axes
    assert top.get_yscale() == "log" and sum(p.get_height() for p in top.patches) == 500
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["linear", "density"]
    starts, ends = bottom.lines[0], bottom.lines[1]
    np.testing.assert_array_equal(starts.get_xdata(), [-2, 0, 2])
    np.testing.assert_array_equal(ends.get_xdata(), [-1, 0, 1])
    assert starts.get_markerfacecolor() == "none"


def test_masks_show_what_stays_where_it_is():
    mask = np.array([[True, False], [True, True], [False, False]])
    figure = plots.mask_patterns({"one": mask, "all": np.ones((3, 2), bool)})
    one, everything = figure.axes
    shown = one.collections[0].get_array().reshape(3, 2)
    np.testing.assert_array_equal(shown, mask)
    assert one.yaxis_inverted()  # the first input on top
    assert one.get_title("left") == "one: 50% stay"
    assert everything.get_title("left") == "all: 100% stay"


def test_weight_histogram_counts_codes():
    weights = np.array([-127, -127, 0, 1, 1, 50]) * 0.01
    text = plots.weight_histogram(weights, 0.01).axes[0].texts[0].get_text()
    assert text.startswith("4 of 255 codes are used")
    histogram = plots.weight_histogram(weights, 0.01).axes[0].patches
    assert sum(bar.get_height() for bar in histogram) == 6


def test_levels_says_how_many_values():
    shown = " ".join(text for text, _ in texts(plots.quantizer_values(values())))
    assert "15 values" in shown and "3 values" in shown


def test_rounded_values_counts_values_and_error():
    w, rounded = weights()
    shown = [text for text, _ in texts(plots.rounded_values(w, rounded, "weight"))]
    error = np.square(rounded["a"] - w).sum() / np.square(w).sum()
    expected = f"a\n{len(np.unique(rounded['a']))} values, error {error:.0%}"
    assert expected in shown
