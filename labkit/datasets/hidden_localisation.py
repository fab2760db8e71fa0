"""Walks that nobody has seen, on which a grader measures networks for indoor localisation.

Synthetic walks are of another day in the room of the labs: what the person does, the air and the
noise are drawn from a secret seed, while plates and places stay where they were, since a network
knows the room that it was trained in. The recording of the thesis is not public; where somebody has
it, its test part is shown as electronics a little noisier would have recorded it.

Model files read windows of 10 s, standardised as `load(...).standardised()` has them; a file of one
sample reads the last one of each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from labkit.datasets import DataError, Dataset, localisation
from labkit.datasets import localisation_simulator as simulator

find, load = localisation.SOURCE.found, localisation.SOURCE.load

#: What the samples are.
SAMPLES = "windows"
#: A model file reads them as they are.
SCALE = 1
#: What becomes of each real window.
CHANGES = "each sample with noise of a twentieth of its sensor's deviation"
#: A file that takes one sample reads the last one of each window.
LATEST = True

_NOISE = 0.05
_SEED = 0  # of the labs' data set, whose room it is
_WALK = 325  # samples of a walk, as the public one has


def real(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` windows of the real test part: float32 (N, 30, 4), and places (N, 2), m.

    Args:
        count: of windows; fewer are the beginning of more.
        seed: of the noise; the same integers, the same windows.

    Raises:
        DataError: the recording is missing or damaged.
    """
    data = load("real")
    noise = np.random.default_rng(seed).normal(0, _NOISE, data.x_test.shape)
    noisy = data.x_test + noise * data.x_train.std(axis=0)
    return _windows(replace(data, x_test=noisy.astype(np.float32)), count)


def synthetic(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """`count` windows of walks drawn from the seed: float32 (count, 30, 4), and places (count, 2).

    Several walks of the public one's length, and not one long: each has a drift of its own.

    Args:
        count: of windows; fewer are the beginning of more.
        seed: of the walks, non-negative integers.
    """
    lab, room = load("synthetic", seed=_SEED), simulator.Room()
    goals, parts = simulator.destinations(room, _SEED), []
    for start in range(0, count, _WALK - localisation.WINDOW + 1):
        x, y = simulator.record(room, _WALK, goals, [*seed, start])
        parts.append(_windows(replace(lab, x_test=x, y_test=y), count - start))
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x, y


def public(count: int, of_real: bool) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` windows of the test part that everybody has, as in `real` or `synthetic`."""
    return _windows(load("real" if of_real else "synthetic", seed=_SEED), count)


def own(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anybody's standardised windows and places.

    Args:
        x: float32 (N, 30, 4), each sensor standardised as the training part is.
        y: float32 (N, 2), m.

    Raises:
        DataError: sensors in hertz, or places that are not in a room of 3 m.
    """
    largest = float(np.abs(x).max())
    if largest > 100:
        raise DataError(f"x reaches {largest:g}, expected windows of standardised sensors.")
    if float(np.abs(y).max()) > localisation.FURTHEST:
        raise DataError(f"y reaches {np.abs(y).max():g}, expected metres in a room of 3 m.")
    return x, y


def _windows(data: Dataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` windows of the test part, standardised by the training part, and places."""
    found = localisation.windows(data.standardised())
    return found.x_test[:count], found.y_test[:count]
