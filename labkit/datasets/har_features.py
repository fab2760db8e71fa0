"""The 561 features of the UCI HAR data set, computed from its windows.

33 signals come of a window's nine: gravity, the derivatives in time ("jerk"), magnitudes, and the
magnitudes of Fourier components; of each come statistics. Names and order are those of UCI's
`features.txt`, with its slips ("BodyBody", a closing bracket too many, each band's name three
times). What `features_info.txt` leaves open is decided here, in the functions below.

Source: D. Anguita et al.: A Public Domain Dataset for Human Activity Recognition Using Smartphones.
ESANN 2013.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from labkit.datasets import DataError

#: Of what is computed, for the cache.
VERSION = 1
RATE = 50  # Hz
LENGTH = 128  # samples of a window
ORDER = 4  # of the autoregressive model

_AXES = "XYZ"
_TIME = ("tBodyAcc", "tGravityAcc", "tBodyAccJerk", "tBodyGyro", "tBodyGyroJerk")
_FREQUENCY = ("fBodyAcc", "fBodyAccJerk", "fBodyGyro")
_FREQUENCY_MAGNITUDES = (
    *("fBodyAccMag", "fBodyBodyAccJerkMag"),
    *("fBodyBodyGyroMag", "fBodyBodyGyroJerkMag"),
)
#: First and last frequency component of each band, counted from 1.
BANDS = (
    *((k, k + 7) for k in range(1, 65, 8)),
    *((k, k + 15) for k in range(1, 65, 16)),
    *((1, 24), (25, 48)),
)
_BINS = LENGTH // 2  # frequency components, from 0 Hz on
#: Windows computed at once: what they need stays in the processor's cache.
_BLOCK = 64


def _names() -> Iterator[str]:
    before, after = ("mean", "std", "mad", "max", "min"), ("energy", "iqr", "entropy")
    for signal in (*_TIME, *_FREQUENCY):
        yield from (f"{signal}-{what}()-{axis}" for what in before for axis in _AXES)
        yield f"{signal}-sma()"
        yield from (f"{signal}-{what}()-{axis}" for what in after for axis in _AXES)
        if signal in _TIME:
            yield from (f"{signal}-arCoeff()-{a},{i + 1}" for a in _AXES for i in range(ORDER))
            yield from (f"{signal}-correlation()-{pair}" for pair in ("X,Y", "X,Z", "Y,Z"))
        else:
            yield from (f"{signal}-{w}-{a}" for w in ("maxInds", "meanFreq()") for a in _AXES)
            yield from (f"{signal}-{w}()-{a}" for a in _AXES for w in ("skewness", "kurtosis"))
            yield from (f"{signal}-bandsEnergy()-{a},{b}" for _ in _AXES for a, b in BANDS)
        if signal == _TIME[-1]:
            yield from _names_of_magnitudes((f"{of}Mag" for of in _TIME), before, after)
    yield from _names_of_magnitudes(_FREQUENCY_MAGNITUDES, before, after)
    yield "angle(tBodyAccMean,gravity)"
    yield "angle(tBodyAccJerkMean),gravityMean)"
    yield from (f"angle({of},gravityMean)" for of in ("tBodyGyroMean", "tBodyGyroJerkMean", *_AXES))


def _names_of_magnitudes(signals, before, after) -> Iterator[str]:
    for signal in signals:
        yield from (f"{signal}-{what}()" for what in (*before, "sma", *after))
        if signal.startswith("t"):
            yield from (f"{signal}-arCoeff(){i + 1}" for i in range(ORDER))
        else:
            yield from (f"{signal}-{w}" for w in ("maxInds", "meanFreq()"))
            yield from (f"{signal}-{w}()" for w in ("skewness", "kurtosis"))


#: The features' names, as `features.txt` has them: 561, of which 477 are different.
NAMES = tuple(_names())


def extract(windows: np.ndarray) -> np.ndarray:
    """Compute the features of windows, in their own units.

    Args:
        windows: (N, 128, 9): body acceleration x, y, z (g), angular velocity x, y, z (rad/s) and
            total acceleration x, y, z (g), 50 samples a second.

    Returns:
        float32 (N, 561), in the order of `NAMES`, not scaled: see `scaler`.

    Raises:
        DataError: windows of another shape.
    """
    windows = np.asarray(windows)
    if windows.ndim != 3 or windows.shape[1:] != (LENGTH, 9):
        raise DataError(f"windows are {windows.shape}, expected (N, {LENGTH}, 9).")
    features = np.empty((len(windows), len(NAMES)), np.float32)
    for start in range(0, len(windows), _BLOCK):
        block = windows[start : start + _BLOCK].transpose(0, 2, 1).astype(np.float64)
        features[start : start + _BLOCK] = np.concatenate(list(_features(block)), axis=1)
    return features


def scaler(features: np.ndarray):
    """A scikit-learn scaler that puts each of these features into [-1, 1].

    UCI's own features are in that range over all subjects together; fit it on the training part.

    Args:
        features: (N, 561).

    Returns:
        `sklearn.preprocessing.MinMaxScaler`; `transform` gives what it is given, scaled.
    """
    from sklearn import preprocessing

    return preprocessing.MinMaxScaler((-1, 1)).fit(features)


def cost():
    """What a window's features cost on a small processor, by a model: operations and memory.

    Every statistic is counted as the functions below compute it, on numbers of four bytes, one
    signal after another: n log2 n comparisons to sort n values; for a Fourier transform of n real
    ones a complex one of n / 2 by radix-2 butterflies, four multiplications and six additions
    each, and one more such stage to take its two halves apart. Square roots, logarithms and arc
    cosines are "functions", whatever they take.

    Returns:
        pandas.DataFrame: a row per step and "total"; columns additions, multiplications, divisions,
        comparisons, functions, and memory (bytes): what a step needs while it runs; the total is
        the greatest of these, with the window, what is derived of it and the features.
    """
    import pandas as pd

    operations = ["additions", "multiplications", "divisions", "comparisons", "functions"]
    rows = {}
    for name, (signals, spectra, count, values) in _COST.items():
        times = np.array([[signals], [spectra]])
        both = np.array([count(LENGTH), count(_BINS)])
        rows[name] = [*(times * both).sum(axis=0), 4 * values]
    table = pd.DataFrame.from_dict(rows, "index", int, [*operations, "memory (bytes)"])
    table.loc["total"] = [*table[operations].sum(), table["memory (bytes)"].max() + _KEPT]
    return table


def _butterflies(n: int) -> float:
    return n / 4 * (np.log2(n / 2) + 1)


#: On how many signals of 128 samples and on how many spectra of 64 components; additions,
#: multiplications, divisions, comparisons and functions on n values; values of working memory.
_COST = {
    "gravity": (3, 0, lambda n: (n, 0, 0, 0, 0), 0),
    "jerk": (6, 0, lambda n: (n - 1, n - 1, 0, 0, 0), 0),
    "magnitude": (5, 0, lambda n: (2 * n, 3 * n, 0, 0, n), 0),
    "spectrum": (
        *(13, 0),
        lambda n: (6 * _butterflies(n) + n / 2, 4 * _butterflies(n) + n, 0, 0, n / 2),
        3 * LENGTH // 2,
    ),
    "mean": (20, 13, lambda n: (n - 1, 0, 1, 0, 0), 0),
    "std": (20, 13, lambda n: (2 * n - 1, n, 1, 0, 1), 0),
    "quantiles": (20, 13, lambda n: (6, 3, 0, n * np.log2(n), 0), LENGTH),
    "mad": (20, 13, lambda n: (n + 2, 1, 0, n * np.log2(n), 0), LENGTH),
    "sma": (20, 13, lambda n: (n, 0, 1, n, 0), 0),
    "energy": (20, 13, lambda n: (n - 1, n, 1, 0, 0), 0),
    "entropy": (20, 13, lambda n: (2 * n - 2, n, n, 2 * n, n), 0),
    "arCoeff": (20, 0, lambda n: (22 * n - 45, 20 * n - 32, 5, 0, 0), 2 * LENGTH),
    "correlation": (5, 0, lambda n: (12 * n - 9, 6 * n + 3, 6, 0, 3), 0),
    "maxInds": (0, 13, lambda n: (0, 0, 0, n - 1, 0), 0),
    "meanFreq": (0, 13, lambda n: (2 * n - 2, n, 1, 0, 0), 0),
    "moments": (0, 13, lambda n: (5 * n - 4, 3 * n, 6, 0, 2), 0),
    "bandsEnergy": (0, 9, lambda n: (n, n, 0, 0, 0), 8),
    "angle": (7, 0, lambda n: (6, 10, 1, 0, 3), 0),
}
#: Bytes of the window, of three derived signals, of a magnitude and of the features.
_KEPT = 4 * (9 * LENGTH + 3 * LENGTH + LENGTH + len(NAMES))


def jerk(signal: np.ndarray) -> np.ndarray:
    """The derivative in time along the last axis, a second; the last difference is there twice."""
    difference = np.diff(signal, axis=-1) * RATE
    return np.concatenate([difference, difference[..., -1:]], axis=-1)


def spectrum(signal: np.ndarray) -> np.ndarray:
    """Magnitudes (..., 64) of the Fourier components from 0 Hz on, RATE / 128 Hz apart."""
    return np.abs(np.fft.rfft(signal, LENGTH, axis=-1))[..., :_BINS]


def entropy(signal: np.ndarray) -> np.ndarray:
    """Shannon's entropy, in nats, of the shares |x| / Σ|x| along the last axis; 0 of all zeros."""
    share = np.abs(signal)
    total = share.sum(axis=-1, keepdims=True)
    share = share / np.where(total, total, 1)
    # x log x is 0 at 0; the smallest number there is stands in for it.
    return -(share * np.log(np.maximum(share, np.finfo(float).tiny))).sum(axis=-1)


def burg(signal: np.ndarray, order: int = ORDER) -> np.ndarray:
    """Coefficients of an autoregressive model by Burg's method.

    Args:
        signal: (..., n); its mean is taken away.
        order: of the model.

    Returns:
        (..., order): a in x[t] + a[0] x[t-1] + … = noise; zeros of a constant signal.

    Source: J. P. Burg: Maximum Entropy Spectral Analysis. 1967.
    """
    forward = signal - signal.mean(axis=-1, keepdims=True)
    backward, forward = forward[..., :-1], forward[..., 1:]
    coefficients = np.ones((*signal.shape[:-1], 1))
    for _ in range(order):
        power = (forward * forward + backward * backward).sum(axis=-1, keepdims=True)
        product = (forward * backward).sum(axis=-1, keepdims=True)
        reflection = -2 * product / np.where(power > 0, power, 1)
        coefficients = np.concatenate([coefficients, np.zeros_like(reflection)], axis=-1)
        coefficients = coefficients + reflection * coefficients[..., ::-1]
        forward, backward = (
            (forward + reflection * backward)[..., 1:],
            (backward + reflection * forward)[..., :-1],
        )
    return coefficients[..., 1:]


def correlation(triad: np.ndarray) -> np.ndarray:
    """Pearson's coefficients (N, 3) of x and y, x and z, y and z of (N, 3, n); 0 of a constant."""
    centred = triad - triad.mean(axis=-1, keepdims=True)
    first, second = (0, 0, 1), (1, 2, 2)
    power = (centred * centred).sum(axis=-1)
    scale = np.sqrt(power[:, first] * power[:, second])
    products = (centred[:, first] * centred[:, second]).sum(axis=-1)
    return products / np.where(scale > 0, scale, 1)


def mean_frequency(magnitudes: np.ndarray) -> np.ndarray:
    """The components' mean number (0 for 0 Hz), weighted with their magnitudes (..., 64)."""
    total = magnitudes.sum(axis=-1)
    return magnitudes @ np.arange(magnitudes.shape[-1]) / np.where(total > 0, total, 1)


def moments(magnitudes: np.ndarray) -> np.ndarray:
    """Skewness and kurtosis (..., 2) of the magnitudes' distribution; a normal one has 0 and 3."""
    centred = magnitudes - magnitudes.mean(axis=-1, keepdims=True)
    squares = centred * centred
    variance = squares.mean(axis=-1)
    variance = np.where(variance > 0, variance, 1)
    third, fourth = (squares * centred).mean(axis=-1), (squares * squares).mean(axis=-1)
    return np.stack([third / variance**1.5, fourth / variance**2], axis=-1)


def band_energies(magnitudes: np.ndarray) -> np.ndarray:
    """Sums (..., 14) of the squared magnitudes in `BANDS`."""
    eighths = (magnitudes * magnitudes).reshape(*magnitudes.shape[:-1], 8, 8).sum(axis=-1)
    sums = [eighths[..., (a - 1) // 8 : b // 8].sum(axis=-1) for a, b in BANDS]
    return np.stack(sums, axis=-1)


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angle in radians between vectors (..., 3); a right one where there is no vector."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1)
    return np.arccos(np.clip(cosine, -1, 1))


def _features(window: np.ndarray) -> Iterator[np.ndarray]:
    """The features of windows (N, 9, 128), (N, k) at a time, in their order."""
    body, gyro, total = window[:, :3], window[:, 3:6], window[:, 6:]
    triads = (body, total - body, jerk(body), gyro, jerk(gyro))
    body, gravity, body_jerk, gyro, gyro_jerk = triads
    magnitudes = [np.sqrt((triad * triad).sum(axis=1, keepdims=True)) for triad in triads]
    for triad in triads:
        yield from _statistics(triad)
        yield _flat(burg(triad))
        yield correlation(triad)
    for magnitude in magnitudes:
        yield from _statistics(magnitude)
        yield _flat(burg(magnitude))
    for triad in (body, body_jerk, gyro):
        components = spectrum(triad)
        yield from _statistics(components)
        yield from _of_spectrum(components)
        yield _flat(band_energies(components))
    for magnitude in (magnitudes[0], *magnitudes[2:]):
        components = spectrum(magnitude)
        yield from _statistics(components)
        yield from _of_spectrum(components)
    down = gravity.mean(axis=-1)
    vectors = [triad.mean(axis=-1) for triad in (body, body_jerk, gyro, gyro_jerk)]
    yield np.stack([angle(vector, down) for vector in (*vectors, *np.eye(3))], axis=-1)


def _statistics(signal: np.ndarray) -> Iterator[np.ndarray]:
    """What all signals (N, axes, n) have: (N, axes) a statistic, one for all axes of the area."""
    ordered = np.sort(signal, axis=-1)
    median, low, high = (_quantile(ordered, share) for share in (0.5, 0.25, 0.75))
    yield signal.mean(axis=-1)
    yield signal.std(axis=-1)
    yield _quantile(np.sort(np.abs(signal - median[..., None]), axis=-1), 0.5)
    yield ordered[..., -1]
    yield ordered[..., 0]
    yield np.abs(signal).mean(axis=-1).mean(axis=-1, keepdims=True)  # signal magnitude area
    yield (signal * signal).mean(axis=-1)
    yield high - low
    yield entropy(signal)


def _of_spectrum(magnitudes: np.ndarray) -> Iterator[np.ndarray]:
    yield magnitudes.argmax(axis=-1)
    yield mean_frequency(magnitudes)
    yield _flat(moments(magnitudes))


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """A quantile along the last axis of sorted values, interpolated between neighbours."""
    place = share * (ordered.shape[-1] - 1)
    below = int(place)
    return ordered[..., below] + (place - below) * (ordered[..., below + 1] - ordered[..., below])


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)
