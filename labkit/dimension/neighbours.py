"""The distances of each point to its two nearest neighbours, exact, in bounded memory."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.spatial import KDTree
from tqdm.auto import tqdm

from labkit import runtime
from labkit.errors import LabkitError

#: Points of a block; its products, 4 MB in float32, stay in the processor's cache.
_BLOCK = 1024
#: Neighbours of which the distances are computed again, without cancellation.
_CANDIDATES = 8
#: Up to so many coordinates a tree is quicker than all distances.
_TREE = 12


class DimensionError(LabkitError):
    """Points whose dimension cannot be estimated; the message says why."""


def as_points(points) -> np.ndarray:
    """Points (N, D) from an array (N, ...) of any numbers, in float32 or float64.

    Raises:
        DimensionError: no such array, or values that are not finite.
    """
    points = np.asarray(points)
    if points.ndim < 2 or points.dtype.kind not in "fiub" or not points.size:
        raise DimensionError(
            f"the points are {points.dtype} {points.shape}, expected numbers (N, ...), a point a "
            "row."
        )
    if points.dtype not in (np.float32, np.float64):
        points = points.astype(np.float32 if points.dtype.itemsize <= 2 else np.float64)
    points = points.reshape(len(points), -1)
    if not np.isfinite([points.min(), points.max()]).all():
        raise DimensionError("the points have coordinates that are not finite numbers.")
    return points


def distinct(points: np.ndarray) -> np.ndarray:
    """Indices of the points without copies of an earlier one, rising.

    Args:
        points: (N, D).
    """
    seen: dict[bytes, int] = {}
    for i, point in enumerate(points):
        digest = hashlib.blake2b(point + 0.0, digest_size=16).digest()  # -0 is 0
        seen.setdefault(digest, i)
    return np.fromiter(seen.values(), np.int64)


def two_nearest(points: np.ndarray) -> np.ndarray:
    """Distances to the nearest and the second nearest of the other points.

    All distances come from blocks of matrix products, |a|² + |b|² - 2 a·b, in float32. Between
    near neighbours that is nothing but rounding; so the distances of the nearest candidates are
    computed again from the differences, in float64. Where rounding may have hidden a nearer one
    from the candidates, the point is looked at again in float64, and if that is not enough by all
    its differences. Beside the points it takes a copy of them in float32 (for a few points another
    one in float64), and blocks of 1,024.

    Args:
        points: float (N, D), N at least 3.

    Returns:
        float64 (N, 2), rising in a row; zeros where there are copies.

    Raises:
        DimensionError: fewer than three points.
    """
    points = as_points(points)
    count, width = points.shape
    if count < 3:
        raise DimensionError(f"there are {count} points, expected 3 or more.")
    if width <= _TREE:
        return KDTree(points).query(points, 3)[0][:, 1:].astype(np.float64)
    nearest, unsure = np.zeros((count, 2)), np.arange(count)
    for dtype in (np.float32, np.float64):
        candidates, beyond = _candidates(points, unsure, dtype)
        nearest[unsure], is_sure = _exact(points, unsure, candidates, beyond)
        unsure = unsure[~is_sure]
        if not len(unsure):
            return nearest
    for i in unsure:
        nearest[i] = np.sqrt(np.partition(_squares(points, i, np.arange(count)), 2)[1:3])
    return nearest


def _candidates(points: np.ndarray, rows: np.ndarray, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbours of some points as far as a type can tell.

    Returns:
        indices (rows, k), and the squared distance beyond which every other point lies (rows,).
    """
    x = points.astype(dtype)
    x -= x.mean(axis=0, dtype=np.float64).astype(dtype)  # the shorter, the less is cancelled
    norms = np.einsum("ij,ij->i", x, x)
    count = min(_CANDIDATES, len(x) - 1)
    found = np.full((len(rows), count), -1)
    squares = np.full((len(rows), count), np.inf, dtype)
    everything = len(rows) == len(x)
    starts = range(0, len(rows), _BLOCK)
    for start in tqdm(starts, "distances", leave=False, disable=not runtime.interactive()):
        mine = slice(start, start + _BLOCK)
        block = x[rows[mine]]
        # Each pair once, where all points are looked at.
        for other in range(start if everything else 0, len(x), _BLOCK):
            theirs = np.arange(other, min(other + _BLOCK, len(x)))
            products = block @ x[other : other + _BLOCK].T
            products *= -2
            products += norms[rows[mine], None]
            products += norms[theirs]
            _insert(products, rows[mine], theirs, squares[mine], found[mine])
            if everything and other > start:
                column = slice(other, other + _BLOCK)
                _insert(products.T, theirs, rows[mine], squares[column], found[column])
    # Rounding errors of D products add up at random, of either sign.
    error = 8 * np.finfo(dtype).eps * np.sqrt(x.shape[1]) * (norms[rows] + norms.max())
    beyond = np.inf if count == len(x) - 1 else squares.max(axis=1) - error
    return found, np.broadcast_to(beyond, len(rows))


@runtime.compiled()
def _insert(block, rows, columns, squares, found):
    """Keep the least of a block of squared distances, and where they were; in no order."""
    for i in range(block.shape[0]):
        worst = 0
        for k in range(1, squares.shape[1]):
            if squares[i, k] > squares[i, worst]:
                worst = k
        limit = squares[i, worst]
        for j in range(block.shape[1]):
            if block[i, j] < limit and columns[j] != rows[i]:
                squares[i, worst] = block[i, j]
                found[i, worst] = columns[j]
                for k in range(squares.shape[1]):
                    if squares[i, k] > squares[i, worst]:
                        worst = k
                limit = squares[i, worst]


def _exact(
    points: np.ndarray, rows: np.ndarray, candidates: np.ndarray, beyond: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the two nearest candidates (rows, 2), and whether no other can be nearer."""
    squares = np.stack(
        [_squares(points, i, others) for i, others in zip(rows, candidates, strict=True)]
    )
    squares = np.partition(squares, 1, axis=1)[:, :2]
    is_sure = (squares[:, 1] < beyond) | (squares[:, 1] == 0)
    return np.sqrt(squares), is_sure


def _squares(points: np.ndarray, i: int, others: np.ndarray) -> np.ndarray:
    """Squared distances from point i to others, float64, in blocks."""
    blocks = np.array_split(others, -(-len(others) // _BLOCK))
    differences = (points[block] - points[i].astype(np.float64) for block in blocks)
    return np.concatenate([np.einsum("ij,ij->i", d, d) for d in differences])
