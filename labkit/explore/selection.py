"""The winner's curse: the best of many runs is better by luck alone than the best of few.

The thesis compares the best of 225 designs with ten to ninety runs each against one float network.
Here the best of k runs is compared with the best of k: as many for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.explore.members import ExploreError

_AT_ONCE = 512  # resamples in memory


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval.

    Attributes:
        value: from the runs themselves.
        low, high: ends of the bootstrap's percentile interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example "0.412 (0.405 to 0.420)"."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def best_of(
    runs: np.ndarray,
    k: int,
    *,
    higher_is_better: bool = False,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """What the best of k runs is on average.

    Args:
        runs: results of a design's runs, (n,), for example a metric of several seeds.
        k: runs of which the best is taken; more than n says nothing that the n runs do not know:
            the estimate then only goes towards the best of them.
        higher_is_better: the direction.
        level: of the interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        the mean of the least of k draws (with replacement) from the runs, which is exact:
        Σ x₍ᵢ₎ ((1 - (i-1)/n)ᵏ - (1 - i/n)ᵏ), and its interval when the runs are drawn anew.

    Raises:
        ExploreError: no runs, or numbers out of range.

    Source: B. Efron, R. Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13; J. Dodge
    et al., *Show Your Work*, EMNLP 2019, for the expected best of k.
    """
    runs = _checked(runs, k, level)
    sign = -1.0 if higher_is_better else 1.0
    drawn = sign * _resampled(sign * runs, k, resamples, np.random.default_rng(seed))
    return _estimate(sign * _expected(np.sort(sign * runs), k), drawn, level)


def compare(
    runs: np.ndarray,
    reference: np.ndarray,
    k: int,
    *,
    higher_is_better: bool = False,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """How much larger the best of k runs is than the best of k of a reference.

    An interval that holds zero says that the difference may be luck.

    Args:
        runs, reference: results of the runs of both, (n,) and (m,).
        k, higher_is_better, level, resamples, seed: as `best_of` has them.
    """
    runs, reference = _checked(runs, k, level), _checked(reference, k, level)
    sign = -1.0 if higher_is_better else 1.0
    rng = np.random.default_rng(seed)
    both = [_resampled(sign * values, k, resamples, rng) for values in (runs, reference)]
    value = _expected(np.sort(sign * runs), k) - _expected(np.sort(sign * reference), k)
    return _estimate(sign * value, sign * (both[0] - both[1]), level)


def winner(
    runs: np.ndarray, *, higher_is_better: bool = False, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """What the best of several designs is worth when its luck is taken away.

    A design is chosen by its runs drawn with replacement, and judged by those that were not drawn:
    what chose it does not judge it.

    Args:
        runs: results, (designs, n), a row the runs of a design, two at least.
        higher_is_better: the direction.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        the mean result of the chosen design over all resamples, and the middle 95 % of them.

    Source: Efron and Tibshirani, chapter 17, for judging by what was not drawn.
    """
    runs = np.asarray(runs, np.float64)
    if runs.ndim != 2 or runs.shape[1] < 2 or not np.isfinite(runs).all():
        raise ExploreError(f"runs are {runs.shape}, expected (designs, 2 or more), finite numbers.")
    designs, n = runs.shape
    rng = np.random.default_rng(seed)
    sign = -1.0 if higher_is_better else 1.0
    judged = []
    for _ in range(resamples):
        drawn = rng.integers(n, size=(designs, n))
        means = np.take_along_axis(sign * runs, drawn, axis=1).mean(axis=1)
        best = means.argmin()
        left = np.setdiff1d(np.arange(n), drawn[best])
        if len(left):
            judged.append(runs[best, left].mean())
    return _estimate(float(np.mean(judged)), np.array(judged), 0.95)


def _checked(runs: np.ndarray, k: int, level: float) -> np.ndarray:
    runs = np.asarray(runs, np.float64)
    if runs.ndim != 1 or not len(runs) or not np.isfinite(runs).all():
        raise ExploreError(f"runs are {runs.shape}, expected (n,) finite numbers.")
    if k < 1:
        raise ExploreError(f"k is {k}, expected 1 or more.")
    if not 0 < level < 1:
        raise ExploreError(f"level is {level}, expected a part between 0 and 1.")
    return runs


def _expected(ordered: np.ndarray, k: int) -> np.ndarray:
    """The mean of the least of k draws from (..., n) runs, the least run first."""
    n = ordered.shape[-1]
    above = (1 - np.arange(n + 1) / n) ** k
    return ordered @ (above[:-1] - above[1:])


def _resampled(runs: np.ndarray, k: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """That mean of runs drawn anew, (resamples,)."""
    found = []
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = runs[rng.integers(len(runs), size=(count, len(runs)))]
        found.append(_expected(np.sort(drawn, axis=1), k))
    return np.concatenate(found)


def _estimate(value: float, drawn: np.ndarray, level: float) -> Estimate:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high))
