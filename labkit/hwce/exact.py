"""Which floating-point type holds sums of integers exactly."""

from __future__ import annotations

import numpy as np

from labkit.hwce import loops

#: Up to here a floating-point type holds every integer.
EXACT = {np.float32: 2**24, np.float64: 2**53}


def exact_type(largest: float) -> type:
    """The smallest type that holds every integer of a magnitude.

    Raises:
        OverflowError: there is none.
    """
    for dtype, limit in EXACT.items():
        if largest <= limit:
            return dtype
    raise OverflowError(
        f"a sum may reach {largest:.3g}, beyond 2^53, where float64 is no longer exact: fewer "
        "input channels, smaller codes, or backend='reference'."
    )


def extremes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the codes (N, channels, rows, columns) of each channel reach above and below zero."""
    lowest, highest = loops.reach(x.reshape(*x.shape[:2], -1))
    return highest.astype(np.float64), -lowest.astype(np.float64)
