"""The engine's bits from floating-point matrix products that are proven exact.

Products of codes are summed by im2col and GEMM. A float sum of integers is exact, in any order,
while the sum of the magnitudes stays within 2^24 (float32) or 2^53 (float64); the type is chosen
by that bound. Weights are scaled by 2^-qf beforehand, which is exact too, and half a step rides
along as one more tap, so that floor() of a product is the rounded sum of one job.

Rounded sums simply add up unless a word saturates: (y << qf) + S, shifted, is y plus S shifted.
So the running sums are taken without saturation, with their extremes; only pixels whose extremes
leave the word are computed again, with saturation after every job.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np

from labkit.hwce.job import Job, Sums
from labkit.hwce.tiling import Pass

#: Up to here a floating-point type holds every integer.
EXACT = {np.float32: 2**24, np.float64: 2**53}
#: Multiply-accumulates of one product: its words stay in the processor's cache, and OpenBLAS does
#: not start threads of its own, which would stand in the way of blocks that run side by side.
_PRODUCT = 1 << 18
#: Taps and outputs of one product where all channels are summed before the rounding.
_SIDE = 64
#: Numbers of a block's im2col.
_BLOCK_COLUMNS = 1 << 19


class _Filters(NamedTuple):
    """The steps that share a window of the kernel: weights (steps, outputs, taps) · 2^-qf."""

    window: Pass
    weights: np.ndarray


def convolve(x: np.ndarray, w: np.ndarray, y_in: np.ndarray, job: Job) -> Sums:
    """The same bits as `engine.reference`; arguments as there.

    Raises:
        OverflowError: the sums may leave what float64 represents exactly.
    """
    offset = np.full(len(w), 0.5 if job.half_up and job.qf > 0 else 0.0)
    if job.bias_shift:  # a single step, whose y_in has fractional bits and takes part in the floor
        offset, y_in = offset + y_in.reshape(-1) * 2.0**-job.bias_shift, np.zeros_like(y_in)
    dtype, word, register = _bounds(x, w, y_in, offset, job)
    filters = _filters(w, offset, job, dtype)
    low, high = job.limits
    clips = len(job.steps) > 1 and word > min(high, -low)
    wraps = job.wraps and register >= 2**31
    surplus = len(filters[0].weights) * job.channels_at_once - x.shape[1]
    if surplus:  # the last group of channels is smaller than the others
        x = np.pad(x, ((0, 0), (0, surplus), (0, 0), (0, 0)))
    wide = job.output_limits[1] > 32767
    y = np.empty((len(x), len(w), *job.geometry.out), np.int32 if wide else np.int16)

    def block(images: slice, rows: slice) -> tuple[int, int, int]:
        target = y[images, :, rows].transpose(1, 0, 2, 3)
        pairs = [(f.weights, _im2col(x[images], rows, f, bool(offset.any()), job)) for f in filters]
        start = _cut(y_in, images, rows, target.shape).astype(dtype)
        overflows = saturations = 0
        clipped = False
        if len(job.steps) == 1:
            words = _product(pairs)[: len(start)]
            if wraps:
                words, overflows = _wrapped(words, start, job.qf)
            words = np.floor(words) + start
        elif clips:
            words, saturations, clipped = _clipped(pairs, start, low, high)
        else:
            words = _running(pairs, start)[0]
        final = np.clip(words, *job.output_limits)
        outside = final != words
        target[:] = final.reshape(target.shape)
        saturations += int(np.count_nonzero(outside))
        return saturations, int(np.count_nonzero(outside | clipped)), overflows

    blocks = _blocks(len(x), filters, job)
    run = map if len(blocks) == 1 else _pool().map
    counts = np.sum(list(run(lambda cut: block(*cut), blocks)), axis=0)
    return Sums(y, *counts.tolist())


def _bounds(x, w, y_in, offset, job: Job) -> tuple[type, float, float]:
    """The floating-point type that is exact, and the largest |word| and |register| there can be.

    The sum of a step is at most Σ|w| · max|x|; words add what the steps add, each rounded by less
    than one.
    """
    peak = np.maximum(x.max(axis=(0, 2, 3)), -x.min(axis=(0, 2, 3)).astype(np.int64))
    weight = np.abs(w.astype(np.float64))
    words = np.abs(y_in).max(axis=(0, 2, 3)).astype(np.float64)
    start = float(words.max())
    largest = 0.0
    for first, last, window in job.steps:
        taps = weight[:, first:last, window.rows, window.columns].sum(axis=(2, 3))
        sums = taps @ peak[first:last] * 2.0**-job.qf + np.abs(offset)
        largest = max(largest, float(sums.max()))
        words = words + np.ceil(sums)
    products, word = largest * 2.0**job.qf, float(words.max())  # in units of a product's last bit
    register = products + start * 2.0**job.qf
    for dtype, exact in EXACT.items():
        if max(products, word) <= exact and not (job.wraps and register > 2**53):
            return dtype, word, register
    raise OverflowError(
        f"a sum may reach {max(products, word, register):.3g}, beyond 2^53, where float64 is no "
        "longer exact: fewer input channels, smaller codes, or backend='reference'."
    )


def _filters(w: np.ndarray, offset: np.ndarray, job: Job, dtype: type) -> list[_Filters]:
    """Weights by window; each window has one step for every group of input channels."""
    groups = [(first, last) for first, last, window in job.steps if window == job.steps[0].window]
    # Zeros that make all pieces of the outputs as large: see `_product`.
    idle = -len(w) % _pieces(len(w)) if len(job.steps) == 1 else 0
    filters = []
    for window in dict.fromkeys(step.window for step in job.steps):
        taps = job.channels_at_once * window.height * window.width
        weights = np.zeros((len(groups), len(w) + idle, taps + int(offset.any())), dtype)
        for step, (first, last) in zip(weights, groups, strict=True):
            part = w[:, first:last, window.rows, window.columns].reshape(len(w), -1)
            step[: len(w), : part.shape[1]] = part * 2.0**-job.qf
        if offset.any():
            weights[:, : len(w), -1] = offset
        filters.append(_Filters(window, weights))
    return filters


def _im2col(x, rows: slice, filters: _Filters, constant: bool, job: Job) -> np.ndarray:
    """Columns (steps, taps, pixels) for some output rows of some images; a row of ones last."""
    window, (steps, _, taps) = filters.window, filters.weights.shape
    (down, across), (_, width) = job.geometry.stride, job.geometry.out
    images, count = len(x), rows.stop - rows.start
    columns = np.empty((steps, taps, images * count * width), filters.weights.dtype)
    columns[:, taps - constant :] = 1
    source = x.transpose(1, 0, 2, 3).reshape(steps, -1, images, *x.shape[2:])
    shape = (*source.shape[:2], window.height, window.width, images, count, width)
    cells = columns[:, : taps - constant].reshape(shape)  # a view: axes are only split
    for i in range(window.height):
        top = window.row + i + rows.start * down
        lines = slice(top, top + (count - 1) * down + 1, down)
        for j in range(window.width):
            left = window.column + j
            cells[:, :, i, j] = source[..., lines, left : left + (width - 1) * across + 1 : across]
    return columns


def _cut(y_in: np.ndarray, images: slice, rows: slice, shape: tuple[int, ...]) -> np.ndarray:
    """y_in of a block: (outputs, 1), or (outputs, pixels) where it is a whole map."""
    if y_in.shape[2:] == (1, 1) and len(y_in) == 1:
        return y_in.reshape(-1, 1)
    whole = np.broadcast_to(y_in[images, :, rows].transpose(1, 0, 2, 3), shape)
    return whole.reshape(len(whole), -1)


def _terms(pairs, scratch: np.ndarray) -> Iterator[np.ndarray]:
    """The rounded sums of each step, in the order of the jobs, all in `scratch`."""
    for step in range(len(pairs[0][0])):
        for weights, columns in pairs:
            np.matmul(weights[step], columns[step], out=scratch)
            yield np.floor(scratch, out=scratch)


def _running(pairs, start: np.ndarray, extremes: bool = False) -> tuple[np.ndarray, ...]:
    """The words after the last job without saturation; with their extremes on the way."""
    words = np.empty((len(start), pairs[0][1].shape[-1]), start.dtype)
    words[:] = start
    least, most = (words.copy(), words.copy()) if extremes else (words, words)
    for term in _terms(pairs, np.empty_like(words)):
        words += term
        if extremes:
            np.minimum(least, words, out=least)
            np.maximum(most, words, out=most)
    return words, least, most


def _clipped(pairs, start, low: int, high: int) -> tuple[np.ndarray, int, np.ndarray]:
    """The words with saturation after every job, how many saturated, and which outputs did."""
    words, least, most = _running(pairs, start, extremes=True)
    clipped = (least < low) | (most > high)
    pixels = np.flatnonzero(clipped.any(axis=0))
    if not pixels.size:
        return words, 0, clipped
    pairs = [(weights, columns[..., pixels]) for weights, columns in pairs]
    again = np.empty((len(words), pixels.size), words.dtype)
    again[:] = start if start.shape[1] == 1 else start[:, pixels]
    inside, saturations = np.empty_like(again), 0
    for term in _terms(pairs, np.empty_like(again)):
        again += term
        np.clip(again, low, high, out=inside)
        saturations += int(np.count_nonzero(inside != again))
        again, inside = inside, again
    words[:, pixels] = again
    # An output saturates at all just where its unsaturated words leave the range.
    return words, saturations, clipped


def _product(pairs) -> np.ndarray:
    """The one sum of a single step (outputs, pixels), by small products: see `_PRODUCT`."""
    [(weights, columns)] = pairs
    [weights], [columns] = weights, columns
    stack = weights.reshape(_pieces(len(weights)), -1, weights.shape[1])
    total = stack[..., :_SIDE] @ columns[:_SIDE]
    for first in range(_SIDE, len(columns), _SIDE):
        part = slice(first, first + _SIDE)
        total += stack[..., part] @ columns[part]
    return total.reshape(len(weights), -1)


def _pieces(outputs: int) -> int:
    return -(-outputs // _SIDE)


def _wrapped(sums: np.ndarray, start: np.ndarray, qf: int) -> tuple[np.ndarray, int]:
    """S · 2^-qf of a 32-bit register that holds y_in, too; and how many did not fit into it."""
    # y_in << qf may need more digits than the products alone.
    register = (sums.astype(np.float64) + start) * 2.0**qf
    wrapped = (register + 2.0**31) % 2.0**32 - 2.0**31
    return wrapped * 2.0**-qf - start, int(np.count_nonzero(wrapped != register))


def _blocks(images: int, filters: list[_Filters], job: Job) -> list[tuple[slice, slice]]:
    """Slices of images and output rows whose pixels make a block."""
    steps, outputs, _ = filters[0].weights.shape
    taps = [f.weights.shape[2] for f in filters]
    pixels = _BLOCK_COLUMNS // (sum(taps) * steps)
    if len(job.steps) > 1:
        pixels = min(pixels, max(_PRODUCT // max(taps), 4096) // outputs)
    else:
        pixels = min(pixels, _PRODUCT // (min(outputs, _SIDE) * min(taps[0], _SIDE)))
    height, width = job.geometry.out
    rows = min(height, max(1, pixels // width))
    together = max(1, pixels // (height * width))
    return [
        (slice(n, min(n + together, images)), slice(r, min(r + rows, height)))
        for n in range(0, images, together)
        for r in range(0, height, rows)
    ]


@cache
def _pool() -> ThreadPoolExecutor:
    """A thread for every processor: NumPy lets go of the interpreter lock."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS, nor on Windows
        processors = os.cpu_count() or 1
    return ThreadPoolExecutor(processors, thread_name_prefix="hwce")
