"""Fronts of explored designs: what nothing beats, what suits the hardware, how good a front is.

`measure.front` draws the front of measured files; both rest on `measure.pareto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from labkit.explore.members import ExploreError
from labkit.measure.pareto import beaten

#: Weight and activation bits that fill a word of 16 or 32 bits without a remainder.
#: Source: thesis, section 3.2.
HARDWARE = ((4, 4), (4, 8), (4, 16))


def front(table: pd.DataFrame, objectives: Sequence[str] | Mapping[str, bool]) -> pd.DataFrame:
    """The rows that no other beats, in the order of the first objective.

    Args:
        table: a row per design.
        objectives: columns of which less is better; or columns with True where more is.

    Raises:
        ExploreError: a column that is not there.
    """
    kept = table[beaten(costs(table, objectives)) == 0]
    return kept.sort_values(next(iter(objectives)), kind="stable")


def hardware_friendly(table: pd.DataFrame) -> pd.DataFrame:
    """The designs, a row each, whose "weight bits" and "activation bits" are one of `HARDWARE`."""
    bits = zip(table["weight bits"], table["activation bits"], strict=True)
    return table[[pair in HARDWARE for pair in bits]]


def hypervolume(
    table: pd.DataFrame,
    objectives: Sequence[str] | Mapping[str, bool],
    reference: Sequence[float],
) -> float:
    """How much of the space up to a reference point the front beats: one number for a whole front.

    Args:
        table: a row per design.
        objectives: as `front` has them.
        reference: a value of each objective; designs that are not better in all do not count.

    Source: E. Zitzler, L. Thiele, *Multiobjective optimization using evolutionary algorithms*,
    PPSN 1998; by slices, as J. Knowles (2006) and others.
    """
    names = list(objectives)
    signs = _signs(objectives)
    if len(reference) != len(names):
        raise ExploreError(f"reference has {len(reference)} values for {len(names)} objectives.")
    corner = np.asarray(reference, np.float64) * signs
    points = costs(table, objectives)
    points = points[(points < corner).all(axis=1)]
    return _volume(points[beaten(points) == 0], corner)


def costs(table: pd.DataFrame, objectives: Sequence[str] | Mapping[str, bool]) -> np.ndarray:
    """The objectives as numbers of which less is better, float64 (N, objectives)."""
    if missing := [name for name in objectives if name not in table]:
        raise ExploreError(f"there is no column {missing[0]!r}; there are {', '.join(table)}.")
    return table[list(objectives)].to_numpy(np.float64) * _signs(objectives)


def _signs(objectives: Sequence[str] | Mapping[str, bool]) -> np.ndarray:
    higher = objectives if isinstance(objectives, Mapping) else dict.fromkeys(objectives, False)
    return np.array([-1.0 if higher[name] else 1.0 for name in objectives])


def _volume(points: np.ndarray, corner: np.ndarray) -> float:
    """Slices along the last objective, each a front of one objective less."""
    if not len(points):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    order = points[points[:, -1].argsort(kind="stable")]
    levels = np.append(order[:, -1], corner[-1])
    total = 0.0
    for i, thickness in enumerate(np.diff(levels)):
        if thickness > 0:
            total += thickness * _volume(order[: i + 1, :-1], corner[:-1])
    return float(total)
