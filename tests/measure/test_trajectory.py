"""Paths: differences by hand, filters that smooth and do not look ahead."""

import numpy as np
import pytest

from labkit import measure
from labkit.measure import trajectory
from labkit.measure.trajectory import TrajectoryError


@pytest.fixture(scope="module")
def walk():
    """A curve at half a metre a second, three samples a second, and what a noisy sensor says."""
    time = np.arange(300) / 3
    true = np.stack([1.5 + np.cos(0.5 * time), 1.5 + np.sin(0.5 * time)], axis=1)
    return true, true + np.random.default_rng(0).normal(0, 0.3, true.shape)


def test_differences_by_hand():
    path = np.array([[0.0, 0], [3, 4], [6, 8], [6, 8]])
    assert trajectory.differences(path) == pytest.approx(10 / 3)
    assert trajectory.differences(path, 2) == 2.5
    assert trajectory.FIRST_DIFFERENCE.compute(None, path) == pytest.approx(10 / 3)
    assert trajectory.SECOND_DIFFERENCE.compute(None, path) == 2.5


def test_moving_average_by_hand():
    path = np.array([[1.0], [3], [8], [4]])
    assert trajectory.moving_average(path, 2)[:, 0].tolist() == [1, 2, 5.5, 6]
    assert trajectory.moving_average(path, 9)[:, 0].tolist() == [1, 2, 4, 4]
    assert trajectory.moving_average(path, 1).tolist() == path.tolist()


def test_filters_come_nearer_and_are_smoother(walk):
    true, seen = walk
    error = measure.AVERAGE_DISTANCE_ERROR.compute
    for found in (trajectory.kalman(seen, 0.3, 0.4), trajectory.moving_average(seen, 3)):
        assert error(true, found) < 0.75 * error(true, seen)
        assert trajectory.differences(found, 2) < 0.5 * trajectory.differences(seen, 2)
    best = trajectory.kalman(seen, 0.3, 0.4)
    assert error(true, best) < error(true, trajectory.moving_average(seen, 3))


def test_the_filter_does_not_look_ahead_and_knows_its_limits(walk):
    _, seen = walk
    whole = trajectory.kalman(seen, 0.3, 0.4)
    np.testing.assert_allclose(trajectory.kalman(seen[:50], 0.3, 0.4), whole[:50])
    np.testing.assert_allclose(trajectory.kalman(seen, 1e-6, 10.0), seen, atol=1e-6)
    line = np.outer(np.arange(60), [0.1, -0.2])
    np.testing.assert_allclose(trajectory.kalman(line, 0.1, 1.0)[30:], line[30:], atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectory.differences([1.0, 2]), r"the path is \(2,\)"),
        (lambda: trajectory.differences([[1.0]]), "1 samples, expected more than 1"),
        (lambda: trajectory.moving_average([[1.0]], 0), "length is 0"),
        (lambda: trajectory.kalman([[1.0]], 0, 1), "noise is 0"),
    ],
)
def test_what_there_is_not(call, message):
    with pytest.raises(TrajectoryError, match=message):
        call()
