"""How many bits a weight needs to say which level it has, and what the levels themselves cost.

Few distinct values prove nothing where a channel has few weights: sixteen floats take sixteen
different ones. What counts is the shortest way to write a tensor, its codebook and steps included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.measure.coding import index_width
from labkit.measure.graph import Tensor
from labkit.measure.inspection import channels

#: Levels of a grid, at most.
_RANGE = 256
#: Of a real number: a step, a shared value.
_REAL_BITS = 32


@dataclass(frozen=True)
class Levels:
    """The shortest way to write a tensor's weights.

    Attributes:
        index_bits: of the number of a weight's level; of the weight itself where none is shorter.
        bits: of all weights, with what says where the levels lie.
    """

    index_bits: int
    bits: int


def levels(tensor: Tensor, operator: str, role: str = "weight") -> Levels:
    """The shortest way to write the weights of a tensor, one by one.

    They are written as they are, or as numbers of levels: a codebook for the whole tensor, or one
    for each output channel (Han, Mao & Dally, ICLR 2016, section 3); real values that the channels
    share, each rounded to its own scale; or for each channel a grid, which is multiples of a step
    or a step's powers of two.

    Args:
        operator: that takes the tensor.
        role: as in `Inspection.weights`.
    """
    groups = channels(tensor, operator, role)
    count, width = sum(group.size for group in groups), tensor.bits
    options = [Levels(width, 8 * tensor.bytes), _codebooks([tensor.codes], width)]
    if len(groups) > 1:
        options.append(_codebooks(groups, width))
        shared = _shared(tensor, groups)
        options.append(
            Levels(index_width(shared), count * index_width(shared) + shared * _REAL_BITS)
        )
        options += _grids(tensor, groups)
    return min(options, key=lambda option: option.bits)


def _codebooks(groups: list[np.ndarray], width: int) -> Levels:
    """Each group with a codebook of its own."""
    sizes = [len(np.unique(group)) for group in groups]
    bits = sum(
        group.size * index_width(size) + size * width
        for group, size in zip(groups, sizes, strict=True)
    )
    return Levels(max(1, *map(index_width, sizes)), bits)


def _shared(tensor: Tensor, groups: list[np.ndarray]) -> int:
    """The fewest real values such that every weight is one of them, rounded to its channel's scale.

    Each weight leaves an interval of half a step to both sides; the fewest points that touch all of
    them are found from left to right.
    """
    is_scaled = tensor.is_per_channel and len(tensor.scales) == len(groups)
    if not is_scaled or not (np.isfinite(tensor.scales) & (tensor.scales > 0)).all():
        return len(np.unique(tensor.codes))
    zeros = np.broadcast_to(tensor.zero_points, len(groups))
    low, high = [], []
    for group, scale, zero in zip(groups, tensor.scales, zeros, strict=True):
        codes = np.unique(group).astype(np.float64) - zero
        low.append(scale * (codes - 0.499))
        high.append(scale * (codes + 0.499))
    low, high = np.concatenate(low), np.concatenate(high)
    order = np.argsort(high)
    points, last = 0, -np.inf
    for left, right in zip(low[order].tolist(), high[order].tolist(), strict=True):
        if left > last:
            points, last = points + 1, right
    return points


def _grids(tensor: Tensor, groups: list[np.ndarray]) -> list[Levels]:
    """Each channel on multiples of a step, or on powers of two; none where one of them is not."""
    zeros = np.broadcast_to(tensor.zero_points, len(groups))
    is_float = "float" in tensor.type
    step = _REAL_BITS if is_float else tensor.bits
    found = []
    for fit in (_multiples, _powers):
        width, bits = 1, 0
        for group, zero in zip(groups, zeros, strict=True):
            values = np.unique(group).astype(np.float64) - (0 if is_float else zero)
            span = fit(values, _tolerance(tensor, values)) if len(values) <= _RANGE else None
            if span is None:
                break
            width = max(width, index_width(len(values)))
            bits += (
                group.size * index_width(len(values)) + span + step
            )  # span: which levels there are
        else:
            found.append(Levels(width, bits))
    return found


def _tolerance(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """How far a stored value may lie from its level: its rounding, and that of the largest."""
    if "float" not in tensor.type:
        return np.ones(len(values))
    precision = 2.0**-7 if tensor.type == "bfloat16" else 2.0**-10
    return np.abs(values) * (2.0**-21 if tensor.bits >= 32 else 2 * precision)


def _multiples(values: np.ndarray, tolerance: np.ndarray) -> int | None:
    """Levels of the coarsest grid through zero on which all values lie; None if there is none."""
    largest = np.abs(values).max(initial=0)
    if not largest or not np.isfinite(largest):
        return 1 if not largest else None
    steps = largest / np.arange(1, _RANGE // 2 + 1)[:, None]
    numbers = np.round(values / steps)
    fits = (np.abs(values - numbers * steps) <= tolerance).all(axis=1)
    if not fits.any():
        return None
    chosen = numbers[np.argmax(fits)]
    return int(chosen.max() - chosen.min()) + 1


def _powers(values: np.ndarray, tolerance: np.ndarray) -> int | None:
    """Levels of the powers of two, of both signs, that hold all values; None if they do not."""
    is_some = values != 0
    sizes = np.abs(values[is_some])
    if not len(sizes) or not np.isfinite(sizes).all():
        return None if len(sizes) else 1
    exponents = np.round(np.log2(sizes / sizes.max()))
    fits = np.abs(sizes - sizes.max() * 2.0**exponents) <= tolerance[is_some]
    span = 2 * int(1 - exponents.min()) + 1
    return span if fits.all() and span <= _RANGE else None
