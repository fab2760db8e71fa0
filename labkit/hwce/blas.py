"""Sums that are rounded once, by im2col and matrix products that are proven exact.

A float sum of integers is exact, in any order, while the sum of the magnitudes stays within 2^24
(float32) or 2^53 (float64); the type is chosen by that bound. Weights are scaled by 2^-qf
beforehand, which is exact too.
"""

from __future__ import annotations

import numpy as np

from labkit.hwce import loops
from labkit.hwce.exact import exact_type, extremes
from labkit.hwce.job import Job, Kernel, Sums
from labkit.hwce.parallel import blocks, each

#: Multiply-accumulates of one product: its sums stay in the processor's cache, and OpenBLAS does
#: not start threads of its own, which would stand in the way of blocks that run side by side.
_PRODUCT = 1 << 18
#: Taps and outputs of one product.
_SIDE = 64
#: Bytes of a block's sums, and of its im2col.
_BLOCK = 1 << 20


def convolve(x: np.ndarray, kernel: Kernel, y_in: np.ndarray, job: Job) -> Sums:
    """The same bits as `engine.reference`, where there is but one step; arguments as there.

    Raises:
        OverflowError: the sums may leave what float64 represents exactly.
    """
    outputs = job.geometry.outputs
    offset = np.full(outputs, job.half)
    if job.bias_shift:  # y_in has fractional bits and takes part in the floor
        offset, y_in = offset + y_in.ravel() * 2.0**-job.bias_shift, np.zeros_like(y_in)
    dtype, register = _bounds(x, kernel, y_in, offset, job)
    key = (_group(job), job.qf, job.flip, dtype)
    weights = kernel.derived(key, lambda: _weights(kernel, job, dtype))
    offset, constant = offset.astype(dtype), y_in.shape[0] == 1 and y_in.shape[2:] == (1, 1)
    start = y_in.ravel().astype(dtype) if constant else np.zeros(outputs, dtype)
    limits = tuple(map(dtype, job.output_limits))
    y = job.empty(len(x))

    def block(cut: tuple[slice, slice]) -> tuple[int, int]:
        images, rows = cut
        target = y[images, :, rows].transpose(1, 0, 2, 3)
        sums, before, after, overflows = _product(weights, x[images], rows, job), offset, start, 0
        if not constant or (job.wraps and register >= 2**31):  # seldom: not worth compiled loops
            sums = _join(sums)[:outputs, : target[0].size] + offset[:, None]
            words = y_in if constant else y_in[images, :, rows]
            words = np.broadcast_to(words.transpose(1, 0, 2, 3), target.shape).reshape(sums.shape)
            if job.wraps:
                sums, overflows = _wrapped(sums, words, job.qf)
            sums = (np.floor(sums) + words).astype(dtype)[None, None]
            before = after = np.zeros(outputs, dtype)
        codes = np.empty((outputs, target[0].size), y.dtype)
        clipped = loops.finished(sums, before, after, limits, codes)
        target[:] = codes.reshape(target.shape)
        return clipped, overflows

    cuts = blocks(len(x), job.geometry.out, _pixels(job))
    clipped, overflows = np.sum(each(block, cuts), axis=0).tolist()
    return Sums(y, clipped, clipped, overflows)


def _bounds(x, kernel: Kernel, y_in, offset, job: Job) -> tuple[type, float]:
    """The type that is exact, and the largest |register| there can be: all sums with y_in.

    Whatever the order, a sum of products lies between the sum of all the negative ones and the sum
    of all the positive ones.
    """
    high, low = extremes(x)
    plus, minus = kernel.derived(("signs", job.flip), lambda: _signs(kernel, job))
    sums = plus @ np.stack([high, low], axis=1) + minus @ np.stack([low, high], axis=1)
    scale = 2.0**job.qf
    largest = float(sums.max()) / scale + float(np.abs(offset).max())
    word = largest + float(np.abs(y_in).max())
    register = word * scale
    # Products count in units of their last bit, 2^-qf; words are whole numbers.
    needed = max(largest * scale, word)
    if job.wraps and register > 2**53:
        needed = max(needed, register)
    return exact_type(needed), register


def _signs(kernel: Kernel, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the positive and the negative weights, without their sign (outputs, channels)."""
    planes = kernel.planes(job.flip).astype(np.float64)
    return tuple(np.maximum(side, 0).sum(axis=(2, 3)) for side in (planes, -planes))


def _group(job: Job) -> int:
    """Input channels of one product."""
    rows, columns = job.geometry.kernel
    return min(job.geometry.channels, max(1, _SIDE // (rows * columns)))


def _weights(kernel: Kernel, job: Job, dtype: type) -> np.ndarray:
    """Weights (groups, pieces of outputs, 1, outputs, taps) · 2^-qf.

    Zeros make all groups of channels, and all pieces of the outputs, as large.
    """
    w, group = kernel.planes(job.flip), _group(job)
    pieces = -(-len(w) // _SIDE)
    idle = ((0, -len(w) % pieces), (0, -w.shape[1] % group), (0, 0), (0, 0))
    w = (np.pad(w, idle) * 2.0**-job.qf).astype(dtype)
    w = w.reshape(pieces, w.shape[0] // pieces, -1, group * w.shape[2] * w.shape[3])
    return np.ascontiguousarray(w.transpose(2, 0, 1, 3))[:, :, None]


def _product(weights: np.ndarray, x: np.ndarray, rows: slice, job: Job) -> np.ndarray:
    """The sums (pieces of outputs, pieces of pixels, outputs, pixels), by small products."""
    outputs, taps = weights.shape[3:]
    columns = _im2col(x, rows, len(weights), taps, job, weights.dtype)
    columns = _split(columns, max(_PRODUCT // (outputs * taps), 16))
    total = np.matmul(weights[0], columns[0])
    part = np.empty_like(total)
    for filters, inputs in zip(weights[1:], columns[1:], strict=True):
        total += np.matmul(filters, inputs, out=part)
    return total


def _im2col(x, rows: slice, groups: int, taps: int, job: Job, dtype: type) -> np.ndarray:
    """Columns (groups, taps, pixels) for some output rows of some images."""
    (down, across), (height, width) = job.geometry.stride, job.geometry.kernel
    count, across_all = rows.stop - rows.start, job.geometry.out[1]
    images, channels = x.shape[:2]
    columns = np.zeros((groups * taps, images * count * across_all), dtype)
    cells = columns[: channels * height * width]  # beyond are the channels that fill the last group
    cells = cells.reshape(channels, height, width, images, count, across_all)
    top = rows.start * down
    source = x[:, :, top : top + (count - 1) * down + height].transpose(1, 0, 2, 3)
    for i in range(height):
        lines = slice(i, i + (count - 1) * down + 1, down)
        for j in range(width):
            cells[:, i, j] = source[..., lines, j : j + (across_all - 1) * across + 1 : across]
    return columns.reshape(groups, taps, -1)


def _split(columns: np.ndarray, most: int) -> np.ndarray:
    """Columns (groups, n, pixels) as (groups, pieces, n, width), with a width of at most `most`.

    The last piece is filled with zeros where no number of pieces fits.
    """
    groups, n, pixels = columns.shape
    least = -(-pixels // most)
    pieces = next((p for p in range(least, 2 * least) if pixels % p == 0), least)
    if pixels % pieces:
        columns = np.pad(columns, ((0, 0), (0, 0), (0, -pixels % pieces)))
    return columns.reshape(groups, n, pieces, -1).swapaxes(1, 2)


def _join(sums: np.ndarray) -> np.ndarray:
    """Sums of all pieces as (outputs, pixels)."""
    outputs = sums.shape[0] * sums.shape[2]
    return sums.swapaxes(1, 2).reshape(outputs, -1)


def _wrapped(sums: np.ndarray, start: np.ndarray, qf: int) -> tuple[np.ndarray, int]:
    """S · 2^-qf of a 32-bit register that holds y_in, too; and how many did not fit into it."""
    # y_in << qf may need more digits than the products alone.
    register = (sums.astype(np.float64) + start) * 2.0**qf
    wrapped = (register + 2.0**31) % 2.0**32 - 2.0**31
    return wrapped * 2.0**-qf - start, int(np.count_nonzero(wrapped != register))


def _pixels(job: Job) -> int:
    """Pixels of a block."""
    taps = job.geometry.channels * job.geometry.kernel[0] * job.geometry.kernel[1]
    return _BLOCK // (4 * max(taps, job.geometry.outputs))
