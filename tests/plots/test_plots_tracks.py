import itertools

import numpy as np
from plot_examples import a_path, a_room, some_designs

from labkit import plots


def test_tracks_have_a_panel_a_coordinate_over_seconds():
    paths = {"the person": a_path(), "MLP": a_path(1)}
    axes = plots.tracks(paths, rate=3).axes
    assert [ax.get_ylabel() for ax in axes] == ["x (m)", "y (m)"]
    for k, ax in enumerate(axes):
        for line, path in zip(ax.lines, paths.values(), strict=True):
            np.testing.assert_allclose(line.get_ydata(), path[:, k])
            assert line.get_xdata()[-1] == 149 / 3
        assert [text.get_text() for text in ax.texts] == list(paths)


def test_the_true_path_is_broad():
    truth, estimate = plots.tracks({"a": a_path(), "b": a_path(1)}, 3).axes[0].lines
    assert truth.get_linewidth() > 3 * estimate.get_linewidth()


def test_a_room_is_square_and_its_plates_are_numbered():
    ax = a_room().axes[0]
    assert ax.get_aspect() == 1
    assert [text.get_text() for text in ax.texts] == [f"plate {i}" for i in (1, 2, 3, 4)]


def test_designs_name_the_front_and_the_marked_ones():
    ax = some_designs().axes[0]
    names = [text.get_text() for text in ax.texts]
    assert {"2-2", "4-4", "4-8", "8-8"} <= set(names)
    assert len(names) == len(set(names))
    level = ax.lines[1]
    assert set(level.get_ydata()) == {0.33}


def test_no_name_of_a_design_lies_on_another():
    figure = some_designs()
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    boxes = [box for box in boxes if box.width > 1]  # of names within the axes
    assert len(boxes) > 10
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert min(box.y0 for box in boxes) > figure.axes[0].get_window_extent().y0
