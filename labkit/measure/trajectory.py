"""Paths that somebody is said to have walked: how smooth they are, and what smooths them cheaply.

A network that rounds its outputs jumps from code to code: its mean error may fall while nobody
could have walked so. First and second differences tell. A filter of a few operations per sample is
the control: what a network that sees ten seconds gains has to be compared with a filter behind one
that sees a single sample.
"""

from __future__ import annotations

import numpy as np

from labkit.errors import LabkitError
from labkit.measure.metrics import Metric


class TrajectoryError(LabkitError):
    """A path or a filter that there is not."""


def differences(path: np.ndarray, order: int = 1) -> float:
    """Mean Euclidean length of the first or second differences of a path.

    Args:
        path: float (N, coordinates), in the order of time.
        order: 1 for how far it goes from sample to sample, 2 for how much that changes.

    Returns:
        in the path's unit: of velocity times the sampling interval, or acceleration times its
        square.

    Source: thesis, chapter 5, judges paths by both.
    """
    path = _path(path)
    if len(path) <= order:
        raise TrajectoryError(f"the path has {len(path)} samples, expected more than {order}.")
    return float(np.linalg.norm(np.diff(path, order, axis=0), axis=1).mean())


#: How far estimated places lie apart from sample to sample, on average.
FIRST_DIFFERENCE = Metric("first difference", "m", False, lambda _, found: differences(found))
#: How much the way from sample to sample changes, on average.
SECOND_DIFFERENCE = Metric("second difference", "m", False, lambda _, found: differences(found, 2))


def moving_average(path: np.ndarray, length: int) -> np.ndarray:
    """The mean of each sample and those before it, at most `length` of them.

    Args:
        path: float (N, coordinates), in the order of time.
        length: samples.
    """
    path = _path(path)
    if length < 1:
        raise TrajectoryError(f"length is {length}, expected 1 or more.")
    sums = np.concatenate([np.zeros((1, path.shape[1])), np.cumsum(path, axis=0)])
    last = np.arange(1, len(path) + 1)
    first = np.maximum(last - length, 0)
    return (sums[last] - sums[first]) / (last - first)[:, None]


def kalman(path: np.ndarray, noise: float, acceleration: float, rate: float = 3.0) -> np.ndarray:
    """A Kalman filter of somebody who keeps a velocity but for random accelerations.

    It knows the past alone, and takes some twenty multiplications per sample.

    Args:
        path: float (N, coordinates), measured places in the order of time.
        noise: standard deviation of a measured coordinate, in the path's unit.
        acceleration: standard deviation, in that unit a second².
        rate: samples a second.

    Source: Y. Bar-Shalom, X. Li, T. Kirubarajan, *Estimation with Applications to Tracking and
    Navigation* (2001), section 6.3.2, discrete white-noise acceleration.
    """
    path = _path(path)
    for name, value in (("noise", noise), ("acceleration", acceleration), ("rate", rate)):
        if not value > 0:
            raise TrajectoryError(f"{name} is {value}, expected more than 0.")
    interval = 1 / rate
    move = np.array([[1, interval], [0, 1]])
    push = np.array([[interval**2 / 2], [interval]])
    drift = acceleration**2 * push @ push.T
    state = np.stack([path[0], np.zeros(path.shape[1])])  # place and velocity
    spread = np.diag([noise**2, (10 * acceleration * interval) ** 2])
    found = np.empty_like(path)
    for i, measured in enumerate(path):
        if i:
            state, spread = move @ state, move @ spread @ move.T + drift
        gain = spread[:, 0] / (spread[0, 0] + noise**2)
        state = state + gain[:, None] * (measured - state[0])
        spread = spread - np.outer(gain, spread[0])
        found[i] = state[0]
    return found


def _path(path: np.ndarray) -> np.ndarray:
    path = np.asarray(path, np.float64)
    if path.ndim != 2 or not len(path):
        raise TrajectoryError(f"the path is {path.shape}, expected (N, coordinates).")
    return path
