"""Sums that are rounded and saturated after every job, by compiled loops.

A step adds to a word what its products give after the shift: (y << qf) + S, shifted, is y plus S
shifted. Weights are scaled by 2^-qf beforehand, which is exact in floating point; so floor() of a
sum, with half a step where the engine rounds, is what the step adds. The type is chosen by a bound
on the sums of one step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from labkit.hwce import loops
from labkit.hwce.exact import exact_type, extremes
from labkit.hwce.job import Job, Kernel, Sums
from labkit.hwce.parallel import blocks, each

#: Words of an output map that are computed together: with their sums they stay in the fastest
#: cache.
_WORDS = 1 << 11


class _Filters(NamedTuple):
    """Filters by step, and where each tap looks.

    Args:
        codes: float64 (outputs, steps, taps), the taps filled up with zeros.
        channel: of each tap (steps, taps).
        row: of the filter, alike.
        column: of the filter, alike.
        above: largest sum of an output's positive weights (steps,).
        below: the same of the negative ones, without their sign.
    """

    codes: np.ndarray
    channel: np.ndarray
    row: np.ndarray
    column: np.ndarray
    above: np.ndarray
    below: np.ndarray


def convolve(x: np.ndarray, kernel: Kernel, y_in: np.ndarray, job: Job) -> Sums:
    """The same bits as `engine.reference`, where there is more than one step; arguments as there.

    Raises:
        OverflowError: the sums may leave what float64 represents exactly.
    """
    key = (job.steps, job.flip)
    filters = kernel.derived(key, lambda: _filters(kernel, job))
    dtype = _type(x, filters, job)
    weights = kernel.derived(
        (*key, job.qf, dtype), lambda: (filters.codes * 2.0**-job.qf).astype(dtype)
    )
    half = dtype(job.half)
    limits, output_limits = (tuple(map(dtype, ends)) for ends in (job.limits, job.output_limits))
    y = job.empty(len(x))
    y_in = np.broadcast_to(y_in, y.shape)

    def block(cut: tuple[slice, slice]) -> tuple[int, int]:
        images, rows = cut
        pixels, at = _pixels(x[images], rows, filters, job, dtype)
        words = y_in[images, :, rows]
        start = np.zeros((*words.shape[:3], _pitch(job)), dtype)
        start[..., : words.shape[3]] = words
        first = images.start, rows.start
        return loops.rounded(pixels, at, weights, start, half, limits, output_limits, y, *first)

    counts = np.sum(each(block, blocks(len(x), job.geometry.out, _WORDS)), axis=0)
    return Sums(y, *counts.tolist(), overflows=0)


def _filters(kernel: Kernel, job: Job) -> _Filters:
    planes = kernel.planes(job.flip)
    taps = max(
        (step.last - step.first) * step.window.height * step.window.width for step in job.steps
    )
    taps += -taps % loops.TAPS
    codes = np.zeros((len(planes), len(job.steps), taps))
    places = np.zeros((3, len(job.steps), taps), np.int64)
    for i, (first, last, window) in enumerate(job.steps):
        part = planes[:, first:last, window.rows, window.columns]
        size = part[0].size
        codes[:, i, :size] = part.reshape(len(part), -1)
        corner = np.array([first, window.row, window.column])
        places[:, i, :size] = np.indices(part.shape[1:]).reshape(3, -1) + corner[:, None]
    above, below = (np.maximum(side, 0).sum(axis=2).max(axis=0) for side in (codes, -codes))
    return _Filters(codes, *places, above, below)


def _type(x: np.ndarray, filters: _Filters, job: Job) -> type:
    """The type that is exact for the sums of every step, and for a word that is added to one.

    Whatever the order, a sum of products lies between the sum of all the negative ones and the sum
    of all the positive ones.
    """
    high, low = (side[filters.channel].max(axis=1) for side in extremes(x))
    above, below = filters.above, filters.below
    sums = np.maximum(above * high + below * low, above * low + below * high)
    scale = 2.0**job.qf
    # Sums count in units of their last bit, 2^-qf; words are whole numbers.
    largest = float(sums.max()) + scale
    return exact_type(max(largest, largest / scale + 2.0**16))


def _pitch(job: Job) -> int:
    """Words from a row of an image to the next one: the columns, and what the last taps see."""
    return job.geometry.out[1] + (job.geometry.kernel[1] - 1) // job.geometry.stride[1]


def _pixels(x, rows: slice, filters: _Filters, job: Job, dtype: type):
    """The input (size,) of some output rows of some images, and where its taps begin.

    Rows and columns that the stride keeps apart lie apart: the neighbour of an output's pixel is
    its neighbour's pixel.
    """
    (down, across), (height, width) = job.geometry.stride, job.geometry.kernel
    count, pitch = rows.stop - rows.start, _pitch(job)
    apart = min(down, height), min(across, width)
    lines = count + (height - 1) // down
    images, channels = x.shape[:2]
    shape = (channels, *apart, lines, images, pitch)
    pixels = np.zeros(np.prod(shape) + width, dtype)
    maps = pixels[:-width].reshape(shape)
    for i, j in np.ndindex(apart):
        source = x[:, :, rows.start * down + i :: down, j::across][:, :, :lines, :pitch]
        source = source.transpose(1, 2, 0, 3)
        maps[:, i, j, : source.shape[1], :, : source.shape[3]] = source
    place = filters.channel * apart[0] + filters.row % down
    place = place * apart[1] + filters.column % across
    at = (place * lines + filters.row // down) * images * pitch + filters.column // across
    return pixels, at.astype(np.uintp)
