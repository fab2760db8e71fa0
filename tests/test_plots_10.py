"""Figures of lab 10: a network that is quantised level by level."""

import numpy as np
import pandas as pd

from labkit import plots

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
