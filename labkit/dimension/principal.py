"""The dimension by principal components: how many explain a share of the variance."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from labkit.dimension.neighbours import DimensionError, as_points

_BLOCK = 4096


class Covariance:
    """The covariance of points that come in blocks, in float64; they need not fit into memory.

    Args:
        width: coordinates of a point.

    Example:
        >>> covariance = Covariance(64)
        >>> for batch in batches:  # what a convolution of 64 channels makes of some images
        ...     covariance.add(batch.reshape(-1, 64))
        >>> covariance.components(0.99)
    """

    def __init__(self, width: int):
        self._count = 0
        self._mean = np.zeros(width)
        self._scatter = np.zeros((width, width))

    def add(self, points: np.ndarray) -> None:
        """Take in points (N, width)."""
        points = as_points(points)
        for start in range(0, len(points), _BLOCK):
            self._add(points[start : start + _BLOCK].astype(np.float64))

    def _add(self, block: np.ndarray) -> None:
        # T. Chan, G. Golub & R. LeVeque, 1979: of two parts' means and scatters, those of both.
        mean = block.mean(axis=0)
        block = block - mean
        shift, whole = mean - self._mean, self._count + len(block)
        self._scatter += block.T @ block
        self._scatter += np.outer(shift, shift) * (self._count * len(block) / whole)
        self._mean += shift * (len(block) / whole)
        self._count = whole

    def explained(self) -> np.ndarray:
        """Share of the variance that each principal component explains, falling, float64.

        Raises:
            DimensionError: fewer than two points, or all of them the same.
        """
        if self._count < 2:
            raise DimensionError(f"there are {self._count} points, expected 2 or more.")
        return _shares(self._scatter)

    def components(self, share: float = 0.99) -> int:
        """As `components` has it, of the points so far."""
        return _needed(self.explained(), share)


def explained(points: np.ndarray) -> np.ndarray:
    """Share of the variance that each principal component explains, falling.

    Args:
        points: (N, ...), any numbers, a point per row: flattened.

    Returns:
        float64 (min(N, D),).

    Raises:
        DimensionError: fewer than two points, all of them the same, or values that are not finite.
    """
    points = as_points(points)
    count, width = points.shape
    if count >= width:
        covariance = Covariance(width)
        covariance.add(points)
        return covariance.explained()
    if count < 2:
        raise DimensionError(f"there are {count} points, expected 2 or more.")
    # Fewer points than coordinates: the same eigenvalues from the points' products.
    gram, mean = np.zeros((count, count)), points.mean(axis=0, dtype=np.float64)
    for start in range(0, width, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = points[:, part] - mean[part]
        gram += block @ block.T
    return _shares(gram)


def components(points: np.ndarray, share: float = 0.99) -> int:
    """How many principal components explain a share of the variance.

    Args:
        points: (N, ...), any numbers, a point per row: flattened.
        share: of the variance, above 0 and up to 1.

    Raises:
        DimensionError: as `explained`, or another share.

    Source: Chakraborty et al., *Constructing energy-efficient mixed-precision neural networks
    through principal component analysis for edge intelligence*, Nature Machine Intelligence 2,
    2020: 99 %.
    """
    return _needed(explained(points), share)


def _shares(scatter: np.ndarray) -> np.ndarray:
    values = np.clip(linalg.eigvalsh(scatter)[::-1], 0, None)
    total = np.trace(scatter)
    if not total > 0:
        raise DimensionError("all points are the same: there is no variance to be explained.")
    return values / values.sum()


def _needed(shares: np.ndarray, share: float) -> int:
    if not 0 < share <= 1:
        raise DimensionError(f"the share is {share}, expected a part above 0 and up to 1.")
    # What rounding takes from a sum of many must not ask for one component more.
    return int(np.searchsorted(np.cumsum(shares), share - 1e-12) + 1)
