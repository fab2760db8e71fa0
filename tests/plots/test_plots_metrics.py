"""A metric over sparsity and size, by technique, and through the phases of a quantisation."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from plot_examples import a_report

from labkit import plots


@pytest.fixture()
def points():
    return pd.DataFrame(
        {
            "pattern": ["anywhere", "filters", "anywhere", "filters", "anywhere"],
            "sparsity (%)": [90.0, 75.0, 98.0, 95.0, 98.0],
            "accuracy (%)": [99.0, 98.0, 80.0, 60.0, 70.0],
        }
    )


def test_lines_go_through_the_means_and_dots_stay(points):
    ax = plots.over_sparsity(points).axes[0]
    by_colour = {}
    for line in ax.lines:
        by_colour.setdefault(to_rgba(line.get_color()), []).append(line.get_xydata())
    line, dots = by_colour[to_rgba(plots.COLORS[0])]
    np.testing.assert_allclose(line, [[10, 99], [2, 75]])
    np.testing.assert_allclose(dots, [[10, 99], [2, 80], [2, 70]])
    assert [text.get_text() for text in ax.texts] == ["anywhere", "filters"]


def test_sparser_is_further_right_and_labelled_as_such(points):
    ax = plots.over_sparsity(points, level=90).axes[0]
    assert ax.xaxis_inverted()
    ticks = dict(zip([t.get_text() for t in ax.get_xticklabels()], ax.get_xticks(), strict=True))
    assert ticks["95"] == pytest.approx(5)
    assert ticks["98"] == pytest.approx(2)
    assert any(np.allclose(line.get_ydata(), 90) for line in ax.lines)


def test_files_are_joined_from_the_smallest_to_the_largest():
    files = pd.DataFrame(
        {
            "pattern": ["both", "alone", "both"],
            "gzip (bytes)": [6000, 7000, 4000],
            "accuracy (%)": [97.0, 97.5, 92.0],
        }
    )
    ax = plots.over_size(files).axes[0]
    both, alone = ax.lines
    np.testing.assert_allclose(both.get_xydata(), [[4, 92], [6, 97]])
    np.testing.assert_allclose(alone.get_xydata(), [[7, 97.5]])
    assert [text.get_text() for text in ax.texts] == ["both", "alone"]


NAMES = ["conv1", "fire2", "fire3"]


def history(*pairs):
    return pd.DataFrame(pairs, columns=["before", "after"])


def test_phases_go_down_and_up_again():
    histories = {
        "train": history((0.8, 0.85), (0.6, 0.8), (0.5, 0.7)),
        "lock": history((0.8, 0.82), (0.5, 0.55), (0.2, 0.2)),
    }
    (ax,) = plots.phases(histories, NAMES, level=0.87).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == NAMES
    ways = [line for line in ax.lines if len(line.get_xdata()) == 6]
    np.testing.assert_allclose(ways[0].get_ydata(), [80, 85, 60, 80, 50, 70])
    np.testing.assert_allclose(ways[1].get_ydata(), [80, 82, 50, 55, 20, 20])
    assert any(set(line.get_ydata()) == {87} for line in ax.lines)
    assert {"train", "lock", "float"} <= {text.get_text() for text in ax.texts}
    assert ways[0].get_color() != ways[1].get_color()


def test_comparison_shows_a_metric_that_is_no_percentage_on_its_own_scale():
    report = pd.DataFrame(
        {"error (mm)": [0.31, 0.34], "± error (mm)": [0.01, 0.02], "bytes": [9000, 3000]},
        index=pd.Index(["float", "int8"], name="technique"),
    )
    left = plots.comparison(report, "error (mm)", "± error (mm)").axes[0]
    low, high = left.get_xlim()
    assert 0.2 < low < 0.3 and 0.36 < high < 0.4
    assert left.get_xlabel() == "test error (mm)"


def test_comparison_gives_sizes_relative_to_the_first():
    labels = [t.get_text() for t in plots.comparison(a_report()).axes[1].texts]
    assert labels[0] == "157.3"
    assert labels[2] == "44.5   ÷ 3.5"


def test_a_metric_of_ones_own_over_sparsity_size_and_epochs(points):
    error = "error (m)"
    other = points.rename(columns={"accuracy (%)": error}).assign(**{"gzip (bytes)": 1000.0})
    for figure in (plots.over_sparsity(other, metric=error), plots.over_size(other, metric=error)):
        assert figure.axes[0].get_ylabel() == "test error (m)"
    trained = {"loss": [2.0, 1.0], "error": [3.0, 2.0]}
    left, right = plots.history([trained], "loss (squares)", error).axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss (squares)", "training error (m)")
    assert right.lines[0].get_ydata().tolist() == [3, 2]
    percent = plots.history([{"loss": [1.0], "accuracy": [0.5]}]).axes[1]
    assert percent.lines[0].get_ydata().tolist() == [50]


def test_a_heat_map_says_every_value_and_frames_the_largest():
    table = pd.DataFrame([[1.0, 2.5], [3.25, 0.5]], index=[0.1, 1], columns=[10, 20])
    ax = plots.heat_map(table, "α", "σ", "accuracy (%)", digits=2).axes[0]
    assert [text.get_text() for text in ax.texts] == ["1.00", "2.50", "3.25", "0.50"]
    (frame,) = ax.patches
    assert frame.get_xy() == (-0.5, 0.5)
    (frame,) = plots.heat_map(table, "α", "σ", "error (m)", higher_is_better=False).axes[0].patches
    assert frame.get_xy() == (0.5, 0.5)
