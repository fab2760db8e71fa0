"""What classes are taken for."""

import numpy as np

from labkit import plots


def test_confusion_shows_percent_of_the_class_shown():
    figure = plots.confusion(np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1]), ("A", "B"))
    cells = {t.get_position(): t.get_text() for t in figure.axes[0].texts}
    assert cells == {(0, 0): "75", (1, 0): "25", (1, 1): "100"}
