"""Windows of movement that nobody has seen, on which a grader measures networks for UCI HAR.

Synthetic windows are of people made up with a secret seed. The real data set is public, its test
windows too: they are shown as another phone, worn a little askew, would have felt them. None is a
public one then, but each is still nearest to its own: a table of all test windows would read them,
and it is the limit of a file's size that keeps such a table out.

Model files read windows as `uci_har.scaled` gives them, and so they are offered.
"""

from __future__ import annotations

import numpy as np

from labkit.datasets import DataError, har_simulator, uci_har
from labkit.datasets.hidden_images import far_seed

find, load = uci_har.SOURCE.found, uci_har.SOURCE.load

#: What the samples are.
SAMPLES = "windows"
#: A model file reads them as they are.
SCALE = 1
#: What becomes of each real window.
CHANGES = "each as another phone, worn a little askew, would have felt it"

_ACTIVITIES = len(uci_har.CLASS_NAMES)
_PEOPLE = {part: len(people) for part, people in har_simulator.SUBJECTS.items()}


def real(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` real test windows, perturbed: float32 (N, 128, 9), and classes, int64 (N,).

    Args:
        seed: integers; the same ones, the same windows.

    Raises:
        DataError: the real data is missing or damaged.
    """
    x, y = load("real").of_test(count, seed)
    windows = perturbed(x, np.random.default_rng(seed))
    return uci_har.scaled(windows), y


def synthetic(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """`count` windows of people drawn from the seed: float32 (count, 128, 9), and classes, int64.

    Every activity comes as often as the others. The people are up to thirty, those whom the
    simulator has for training too: between one secret and another, the accuracy of a network then
    varies by 0.9 points, with the nine for testing alone by 1.5 (1,500 windows, 8 networks).

    Args:
        seed: at least four integers 0..255.
    """
    number = far_seed(seed)
    share = _PEOPLE["train"] / sum(_PEOPLE.values())
    first = min(count, _ACTIVITIES * round(share * count / _ACTIVITIES))
    counts = {"train": first, "test": count - first}
    drawn = [har_simulator.draw(part, n, number)[:2] for part, n in counts.items() if n]
    windows, classes = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    return uci_har.scaled(windows), classes


def public(count: int, of_real: bool) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` test windows that everybody has, as in `real` or `synthetic`."""
    if not of_real:
        drawn = uci_har.synthesize(1, count, seed=0)
        return uci_har.scaled(drawn.x_test), drawn.y_test
    x, y = load("real").of_test(count)
    return uci_har.scaled(x), y


def own(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anybody's windows and classes, as those of `real` and `synthetic` are offered.

    Args:
        x: float32 (N, 128, 9) in g and rad/s, as `uci_har.load` gives them.
        y: int64 (N,), from 0 to 5.

    Raises:
        DataError: other units, or other classes.
    """
    gravity = float(np.median(np.linalg.norm(x[..., 6:], axis=-1)))
    if not 0.7 < gravity < 1.4:
        raise DataError(
            f"the total acceleration, the last three of x, is {gravity:.2f} at the median, "
            "expected about 1: windows in g and rad/s, as uci_har.load gives them."
        )
    if not 0 <= y.min() <= y.max() < _ACTIVITIES:
        raise DataError(
            f"y has classes from {y.min()} to {y.max()}, expected 0 to {_ACTIVITIES - 1}."
        )
    return uci_har.scaled(x), y


def perturbed(windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Windows as another phone, worn askew by up to 5°, feels them; float32.

    Each phone's accelerometer and gyroscope have a gain that is wrong by up to 5 %, and noise of
    0.005 g and 0.01 rad/s. What the accelerometer feels is in the total acceleration as in the one
    without gravity. On the real test windows this moved the accuracy of twelve trained networks by
    -0.3 to +0.4 points, in the mean of five seeds.

    Args:
        windows: float (N, 128, 9) in g and rad/s, as `uci_har.load` gives them.
    """
    from scipy.spatial.transform import Rotation

    count, time, _ = windows.shape
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(axis * np.radians(rng.uniform(0, 5, (count, 1)))).as_matrix()
    gain = rng.uniform(0.95, 1.05, (2, count, 1, 1))
    noise = rng.normal(size=(2, count, time, 3)) * np.reshape((0.005, 0.01), (2, 1, 1, 1))
    sensors = np.split(windows, 3, axis=2)
    kinds = (0, 1, 0)  # of accelerometer and gyroscope
    felt = [
        sensor @ np.swapaxes(turn, 1, 2) * gain[kind] + noise[kind]
        for sensor, kind in zip(sensors, kinds, strict=True)
    ]
    return np.concatenate(felt, axis=2).astype(np.float32)
