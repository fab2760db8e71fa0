"""Which of several designs nothing else beats, whatever is traded against what."""

from __future__ import annotations

import numpy as np


def beaten(costs: np.ndarray) -> np.ndarray:
    """How many others are no worse in anything and better in something, int64 (N,).

    Args:
        costs: float (N, objectives), of each less being better. A NaN beats nothing and is beaten.

    Returns:
        0 for those on the front. Of equal ones none beats the other.
    """
    costs = np.asarray(costs, np.float64)
    known = ~np.isnan(costs).any(axis=1)
    counts = np.full(len(costs), known.sum(), np.int64)
    inside = costs[known]
    found = np.empty(len(inside), np.int64)
    for i, cost in enumerate(inside):  # a row at a time: N² of all would not fit for many
        found[i] = ((inside <= cost).all(axis=1) & (inside < cost).any(axis=1)).sum()
    counts[known] = found
    return counts
