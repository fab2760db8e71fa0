"""TwoNN: the dimension from the ratio of each point's distances to its two nearest neighbours.

Where the density hardly changes from a point to its second neighbour, the ratio μ = r₂ / r₁ has the
distribution F(μ) = 1 - μ^-d on [1, ∞), whatever the density: d is the slope of -log(1 - F) over
log μ.

Source: E. Facco, M. d'Errico, A. Rodriguez & A. Laio, *Estimating the intrinsic dimension of
datasets by a minimal neighborhood information*, Scientific Reports 7:12140, 2017.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.dimension.neighbours import DimensionError, as_points, distinct, two_nearest

#: What TwoNN's linear fit reads of 5,000 points of independent Gaussians, by their true number:
#: means of three draws, measured. The nearest neighbours of points in many dimensions are far
#: away, where the density is no longer constant.
BIAS = {5: 5.1, 10: 9.6, 20: 17.8, 50: 33.9, 100: 51.3, 1024: 191.0, 4096: 389.0}
#: Above this a reading is too low by more than a tenth, so that it comes with a warning.
_TRUSTED = 18.0


class DimensionWarning(UserWarning):
    """An estimate that is known to be biased, or that few points bear."""


def _linear(logs: np.ndarray, kept: int) -> float:
    """Slope of the line through the origin, by least squares (Facco et al., the algorithm)."""
    kept = min(kept, len(logs) - 1)  # the last one's F is 1
    x = logs[:kept]
    y = -np.log1p(-np.arange(1, kept + 1) / len(logs))
    return float(x @ y / (x @ x))


def _maximum_likelihood(logs: np.ndarray, kept: int) -> float:
    """(N - 1) / Σ log μ, which is unbiased, of all ratios."""
    return float((len(logs) - 1) / logs.sum())


def _censored(logs: np.ndarray, kept: int) -> float:
    """As the maximum likelihood, of the largest ratios that they are large and no more."""
    total = logs[:kept].sum() + (len(logs) - kept) * logs[kept - 1]
    return float((kept - 1) / total)


ESTIMATORS: dict[str, Callable[[np.ndarray, int], float]] = {
    "linear": _linear,
    "mle": _maximum_likelihood,
    "censored": _censored,
}


@dataclass(frozen=True)
class Estimate:
    """A dimension by TwoNN.

    Attributes:
        dimension: d.
        ratios: μ of each point, rising, float64.
        duplicates: copies of other points, which were left out.
        estimator: one of `ESTIMATORS`.
        discard: part of the ratios, the largest, that the estimator leaves out or censors.
    """

    dimension: float
    ratios: np.ndarray
    duplicates: int = 0
    estimator: str = "linear"
    discard: float = 0.1

    def __float__(self) -> float:
        """The dimension."""
        return self.dimension

    def interval(
        self, level: float = 0.95, resamples: int = 500, seed: int = 0
    ) -> tuple[float, float]:
        """Confidence by the bootstrap: where the estimates of resampled ratios lie.

        Ratios are drawn, not points: a point drawn twice would be its own neighbour. Neighbours
        share their neighbours, which this does not see; nor does it see a bias.

        Args:
            level: part of the estimates that lies within.
            resamples: that are drawn.
            seed: of the drawing.
        """
        random, count = np.random.default_rng(seed), len(self.ratios)
        found = [
            estimate(self.ratios[random.integers(0, count, count)], self.estimator, self.discard)
            for _ in range(resamples)
        ]
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """log μ and -log(1 - F) of every point but the last: a line of slope d, if TwoNN is right.

        Points that bend away from the line to the right are outliers, what `discard` is for.
        """
        shares = np.arange(1, len(self.ratios)) / len(self.ratios)
        return np.log(self.ratios[:-1]), -np.log1p(-shares)


def estimate(ratios: np.ndarray, estimator: str = "linear", discard: float = 0.1) -> float:
    """The dimension from ratios μ = r₂ / r₁.

    Args:
        ratios: (N,), 1 or more, in any order.
        estimator: "linear" (the paper's fit), "mle" (all ratios count), or "censored" (maximum
            likelihood, the largest ratios being known to be large, and no more).
        discard: part of the ratios, the largest, that "linear" leaves out and "censored" censors.

    Raises:
        DimensionError: an unknown estimator, another part, ratios below 1 or too few of them, or
            nothing but ties.

    Source: Facco et al.; censoring of the second type in any text on life data.
    """
    ratios = np.sort(np.asarray(ratios, np.float64))
    if estimator not in ESTIMATORS or not 0 <= discard < 1:
        raise DimensionError(
            f"the estimator is {estimator!r} and discards {discard}, expected one of "
            f"{', '.join(ESTIMATORS)}, and a part from 0 to below 1."
        )
    kept = int(len(ratios) * (1 - discard) + 1e-9)
    if kept < 2 or not (ratios[0] >= 1 and np.isfinite(ratios[-1])):
        raise DimensionError(
            f"{len(ratios)} ratios, of which {discard} are discarded: expected two or more that "
            "are left, finite and none below 1."
        )
    logs = np.log(ratios)
    if not logs[kept - 1]:
        raise DimensionError(
            "each point is as far from its second neighbour as from its first: the points lie on a "
            "grid, where ratios say nothing of the dimension."
        )
    return ESTIMATORS[estimator](logs, kept)


def two_nn(points: np.ndarray, estimator: str = "linear", discard: float = 0.1) -> Estimate:
    """The intrinsic dimension of points, by TwoNN.

    Of copies one is left: their distance is zero, and ratios need one above it. A point beside
    its near copy has a very large ratio, and a few of them draw `mle` towards zero; `linear` and
    `censored` bear a few, as long as they are far fewer than are discarded.

    Args:
        points: (N, ...), any numbers, a point per row: flattened.
        estimator: one of `ESTIMATORS`, see `estimate`.
        discard: see `estimate`.

    Raises:
        DimensionError: fewer than three distinct points, values that are not finite, or points on
            a grid.

    Warns:
        DimensionWarning: the reading is so high that it is known to be too low, see `BIAS`.

    Example:
        >>> found = two_nn(np.random.default_rng(0).uniform(size=(2000, 3)))
        >>> found.dimension, found.interval()
    """
    points = as_points(points)
    kept = distinct(points)
    if len(kept) < 3:
        raise DimensionError(
            f"there are {len(kept)} distinct points of {len(points)}, expected 3 or more."
        )
    whole = len(kept) == len(points)
    distances = two_nearest(points if whole else points[kept])
    ratios = np.sort(distances[:, 1] / distances[:, 0])
    found = estimate(ratios, estimator, discard)
    if found > _TRUSTED:
        warnings.warn(_biased(found, len(kept)), DimensionWarning, stacklevel=2)
    return Estimate(found, ratios, len(points) - len(kept), estimator, discard)


def _biased(found: float, count: int) -> str:
    true = min(BIAS, key=lambda true: abs(np.log(BIAS[true] / found)))
    return (
        f"TwoNN reads {found:.1f} from {count:,} points, and in so many dimensions it reads too "
        f"low: 5,000 points of Gaussian noise of {true} dimensions read as {BIAS[true]:.0f}. "
        "Compare readings of equal numbers of points; do not take one for the dimension."
    )


def decimation(
    points: np.ndarray,
    halvings: int = 4,
    estimator: str = "linear",
    discard: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """TwoNN on all points and on random parts of them: how far it depends on the scale.

    A half of the points, a quarter and so on, each as often as it goes into the whole: their
    spread is a confidence without assumptions, and a mean that moves with the number of points says
    that neighbours are too far apart, or that there is noise on a small scale.

    Args:
        points: (N, ...).
        halvings: how often the points are halved.
        estimator: one of `ESTIMATORS`.
        discard: see `estimate`.
        seed: of the parts.

    Returns:
        a row per size, falling: "points", "parts", "dimension", the mean over the parts, and
        "spread", their standard deviation (of one part NaN).

    Raises:
        DimensionError: as `two_nn`, of the smallest parts too.

    Source: Facco et al., the section on multiscale analysis; the block analysis there.
    """
    points = as_points(points)
    points = points[distinct(points)]
    order, rows = np.random.default_rng(seed).permutation(len(points)), []
    for parts in (2**i for i in range(halvings + 1)):
        found = []
        for part in np.array_split(order, parts):
            if len(part) < 3:
                raise DimensionError(
                    f"{parts} parts of {len(points):,} points have fewer than 3: halve less often."
                )
            distances = two_nearest(points[part])
            found.append(estimate(distances[:, 1] / distances[:, 0], estimator, discard))
        spread = np.std(found, ddof=1) if parts > 1 else np.nan
        rows.append((len(points) // parts, parts, np.mean(found), spread))
    return pd.DataFrame(rows, columns=["points", "parts", "dimension", "spread"])
