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

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from labkit.hwce.job import Job, Kernel, Sums
from labkit.hwce.parallel import each
from labkit.hwce.tiling import Pass

#: Up to here a floating-point type holds every integer.
EXACT = {np.float32: 2**24, np.float64: 2**53}
#: Multiply-accumulates of one product: its words stay in the processor's cache, and OpenBLAS does
#: not start threads of its own, which would stand in the way of blocks that run side by side.
_PRODUCT = 1 << 18
#: Taps and outputs of one product where all channels are summed before the rounding.
_SIDE = 64
#: Bytes of a block's words, and of its im2col.
_BLOCK_WORDS = 1 << 18
_BLOCK_COLUMNS = 1 << 18


class _Filters(NamedTuple):
    """The steps that share a window of the kernel: weights (steps, outputs, taps) · 2^-qf."""

    window: Pass
    weights: np.ndarray


def convolve(x: np.ndarray, kernel: Kernel, y_in: np.ndarray, job: Job) -> Sums:
    """The same bits as `engine.reference`; arguments as there.

    Raises:
        OverflowError: the sums may leave what float64 represents exactly.
    """
    x = np.ascontiguousarray(x)
    outputs, once, group = job.geometry.outputs, len(job.steps) == 1, _group(job)
    if x.shape[1] % group:  # the last group of channels is smaller than the others
        x = np.pad(x, ((0, 0), (0, -x.shape[1] % group), (0, 0), (0, 0)))
    half = 0.5 if job.half_up and job.qf > 0 else 0.0
    offset = np.full((outputs, 1), half)
    if job.bias_shift:  # y_in has fractional bits and takes part in the floor
        offset, y_in = offset + y_in.reshape(-1, 1) * 2.0**-job.bias_shift, np.zeros_like(y_in)
    bounds = _bounds(x, kernel, y_in, offset, job)
    constant = not once and half > 0
    filters = kernel.derived(
        (job.windows, group, job.qf, job.flip, constant, bounds.dtype),
        lambda: _filters(kernel, constant, job, bounds.dtype),
    )
    clips = not once and bounds.word > min(job.limits[1], -job.limits[0])
    narrow = (once or job.output_limits != job.limits) and (
        bounds.word > min(job.output_limits[1], -job.output_limits[0])
    )
    wraps = job.wraps and bounds.register >= 2**31
    wide = job.output_limits[1] > 32767
    y = np.empty((len(x), outputs, *job.geometry.out), np.int32 if wide else np.int16)

    def block(cut: tuple[slice, slice]) -> tuple[int, int, int]:
        images, rows = cut
        target = y[images, :, rows].transpose(1, 0, 2, 3)
        pairs = [(f.weights, _im2col(x[images], rows, f, constant, job)) for f in filters]
        start = _cut(y_in, images, rows, target.shape).astype(bounds.dtype)
        overflows = saturations = 0
        clipped = False
        if once:
            words = _product(pairs)[:outputs]
            if offset.any():
                words += offset
            if wraps:
                words, overflows = _wrapped(words, start, job.qf)
            if job.qf:
                np.floor(words, out=words)
            if start.any():
                words += start
        elif clips:
            words, saturations, clipped = _clipped(pairs, job.qf, start, *job.limits)
        else:
            words = _join(_running(pairs, job.qf, start)[0], pairs[0][1].shape[-1])
        if narrow and not _within(words, *job.output_limits):
            final = np.clip(words, *job.output_limits)
            outside = final != words
            saturations += int(np.count_nonzero(outside))
            words, clipped = final, clipped | outside
        target[:] = words.reshape(target.shape)
        return saturations, int(np.count_nonzero(clipped)), overflows

    counts = np.sum(each(block, _blocks(len(x), filters, job)), axis=0)
    return Sums(y, *counts.tolist())


class _Bounds(NamedTuple):
    """The floating-point type that is exact, and the largest |word| and |register| there can be.

    Args:
        dtype: of products and words.
        word: after the shift.
        register: before it, with y_in.
    """

    dtype: type
    word: float
    register: float


def _group(job: Job) -> int:
    """Input channels of one product: those of a job, or some of them where all are one sum."""
    if len(job.steps) > 1:
        return job.channels_at_once
    rows, columns = job.geometry.kernel
    return min(job.geometry.channels, max(1, _SIDE // (rows * columns)))


def _grouped(kernel: Kernel, job: Job) -> list[np.ndarray]:
    """Codes of each window (outputs, groups, channels, rows, columns), the last group filled."""
    w, group = kernel.planes(job.flip), _group(job)
    w = np.pad(w, ((0, 0), (0, -w.shape[1] % group), (0, 0), (0, 0)))
    w = w.reshape(len(w), -1, group, *w.shape[2:])
    return [w[..., window.rows, window.columns] for window in job.windows]


def _sides(kernel: Kernel, job: Job) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sums of the positive and the negative weights (outputs, groups, channels) of each window."""
    parts = [part.astype(np.float64) for part in _grouped(kernel, job)]
    return [(np.maximum(p, 0).sum(axis=(3, 4)), np.maximum(-p, 0).sum(axis=(3, 4))) for p in parts]


def _bounds(x, kernel: Kernel, y_in, offset, job: Job) -> _Bounds:
    """Bounds from the weights and the smallest and largest code of every channel.

    Whatever the order, a running sum of products lies between the sum of all the negative ones
    and the sum of all the positive ones; a word adds what the steps add, each rounded by less than
    one.
    """
    planes = x.reshape(*x.shape[:2], -1)
    highest = np.maximum(planes.max(axis=2).max(axis=0), 0).astype(np.float64)
    lowest = np.maximum(-planes.min(axis=2).min(axis=0).astype(np.float64), 0)
    highest, lowest = (side.reshape(-1, _group(job)) for side in (highest, lowest))
    scale, once = 2.0**job.qf, len(job.steps) == 1
    start, shift = float(np.abs(y_in).max()), float(np.abs(offset).max())
    largest, word = 0.0, np.full(len(offset), start)
    key = (job.windows, _group(job), job.flip)
    for plus, minus in kernel.derived(key, lambda: _sides(kernel, job)):
        up, down = plus * highest + minus * lowest, plus * lowest + minus * highest
        sums = np.maximum(up.sum(axis=2), down.sum(axis=2)) / scale  # (outputs, groups)
        if once:
            word = word + sums.sum(axis=1) + shift
        else:
            word = word + np.ceil(sums + shift).sum(axis=1)
            largest = max(largest, float(sums.max()) + shift)
    word = float(word.max())
    largest = word - start if once else largest
    # Products count in units of their last bit, 2^-qf; words are whole numbers.
    needed, register = max(largest * scale, word), word * scale
    for dtype, exact in EXACT.items():
        if needed <= exact and not (job.wraps and register > 2**53):
            return _Bounds(dtype, word, register)
    raise OverflowError(
        f"a sum may reach {max(needed, register):.3g}, beyond 2^53, where float64 is no longer "
        "exact: fewer input channels, smaller codes, or backend='reference'."
    )


def _filters(kernel: Kernel, constant: bool, job: Job, dtype: type) -> list[_Filters]:
    """Weights by window; `constant` adds half a step as the last tap."""
    filters = []
    for window, part in zip(job.windows, _grouped(kernel, job), strict=True):
        outputs, groups = part.shape[:2]
        # Zeros that make all pieces of the outputs as large: see `_product`.
        idle = -outputs % _pieces(outputs) if len(job.steps) == 1 else 0
        part = part.reshape(outputs, groups, -1).transpose(1, 0, 2)
        weights = np.zeros((groups, outputs + idle, part.shape[2] + constant), dtype)
        weights[:, :outputs, : part.shape[2]] = part * 2.0**-job.qf
        if constant:
            weights[..., -1] = 0.5
        filters.append(_Filters(window, weights))
    return filters


def _im2col(x, rows: slice, filters: _Filters, constant: bool, job: Job) -> np.ndarray:
    """Columns (steps, taps, pixels) for some output rows of some images; a row of ones last."""
    window, (steps, _, taps) = filters.window, filters.weights.shape
    (down, across), (_, width) = job.geometry.stride, job.geometry.out
    images, count, dtype = len(x), rows.stop - rows.start, filters.weights.dtype
    columns = np.empty((steps, taps, images * count * width), dtype)
    columns[:, taps - constant :] = 1
    top = window.row + rows.start * down
    source = x[:, :, top : top + (count - 1) * down + window.height].transpose(1, 0, 2, 3)
    if window.height * window.width > 1:
        source = source.astype(dtype)  # once, and not again for every tap
    source = source.reshape(steps, -1, *source.shape[1:])
    shape = (*source.shape[:2], window.height, window.width, images, count, width)
    cells = columns[:, : taps - constant].reshape(shape)  # a view: axes are only split
    for i in range(window.height):
        lines = slice(i, i + (count - 1) * down + 1, down)
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


def _split(columns: np.ndarray, most: int) -> np.ndarray:
    """Columns (..., n, pixels) as (..., pieces, n, width), with a width of at most `most`.

    The last piece is filled with zeros where no number of pieces fits.
    """
    *others, n, pixels = columns.shape
    least = -(-pixels // most)
    pieces = next((p for p in range(least, 2 * least) if pixels % p == 0), least)
    width = -(-pixels // pieces)
    if pixels % pieces:
        filled = np.zeros((*others, n, pieces * width), columns.dtype)
        filled[..., :pixels] = columns
        columns = filled
    return columns.reshape(*others, n, pieces, width).swapaxes(-3, -2)


def _join(pieces: np.ndarray, pixels: int) -> np.ndarray:
    """The inverse of `_split`: (pieces, n, width) to (n, pixels)."""
    return pieces.swapaxes(0, 1).reshape(pieces.shape[1], -1)[:, :pixels]


def _within(words: np.ndarray, low: int, high: int) -> bool:
    return words.min() >= low and words.max() <= high


def _terms(pairs, qf: int, scratch: np.ndarray) -> Iterator[np.ndarray]:
    """The rounded sums of each step, in the order of the jobs, all in `scratch`."""
    for step in range(len(pairs[0][0])):
        for weights, columns in pairs:
            np.matmul(weights[step], columns[step], out=scratch)
            yield np.floor(scratch, out=scratch) if qf else scratch


def _running(pairs, qf: int, start: np.ndarray, extremes: bool = False) -> tuple[np.ndarray, ...]:
    """The words after the last job without saturation; with their extremes on the way."""
    outputs = len(start)
    taps = max(weights.shape[2] for weights, _ in pairs)
    most = max(_PRODUCT // (outputs * taps), 16)
    pairs = [(weights, _split(columns, most)) for weights, columns in pairs]
    _, pieces, _, width = pairs[0][1].shape
    words = np.empty((pieces, outputs, width), start.dtype)
    words[:] = start if start.shape[1] == 1 else _split(start, most)
    least, most = (words.copy(), words.copy()) if extremes else (words, words)
    for term in _terms(pairs, qf, np.empty_like(words)):
        words += term
        if extremes:
            np.minimum(least, words, out=least)
            np.maximum(most, words, out=most)
    return words, least, most


def _clipped(
    pairs, qf: int, start, low: int, high: int
) -> tuple[np.ndarray, int, np.ndarray | bool]:
    """The words with saturation after every job, how many saturated, and which outputs did."""
    words, least, most = _running(pairs, qf, start, extremes=True)
    every = pairs[0][1].shape[-1]
    if least.min() >= low and most.max() <= high:
        return _join(words, every), 0, False
    words, clipped = _join(words, every), _join((least < low) | (most > high), every)
    rows, pixels = (np.flatnonzero(clipped.any(axis=axis)) for axis in (1, 0))
    pairs = [(weights[:, rows], columns[..., pixels]) for weights, columns in pairs]
    again = np.empty((rows.size, pixels.size), words.dtype)
    again[:] = start[rows] if start.shape[1] == 1 else start[np.ix_(rows, pixels)]
    inside, saturations = np.empty_like(again), 0
    for term in _terms(pairs, qf, np.empty_like(again)):
        again += term
        np.clip(again, low, high, out=inside)
        saturations += int(np.count_nonzero(inside != again))
        again, inside = inside, again
    words[np.ix_(rows, pixels)] = again
    # An output saturates at all just where its unsaturated words leave the range.
    return words, saturations, clipped


def _product(pairs) -> np.ndarray:
    """The one sum of a single step (outputs, pixels), by small products: see `_PRODUCT`."""
    [(weights, columns)] = pairs
    groups, outputs, taps = weights.shape
    pixels = columns.shape[2]
    # (pieces of outputs, 1, outputs, taps) @ (pieces of pixels, taps, pixels), group by group
    stack = weights.reshape(groups, _pieces(outputs), 1, -1, taps)
    columns = _split(columns, max(_PRODUCT // (stack.shape[3] * taps), 16))
    total = np.matmul(stack[0], columns[0])
    part = np.empty_like(total)
    for filters, inputs in zip(stack[1:], columns[1:], strict=True):
        total += np.matmul(filters, inputs, out=part)
    return total.swapaxes(1, 2).reshape(outputs, -1)[:, :pixels]


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
    numbers = steps * sum(f.weights.shape[2] for f in filters)
    size = filters[0].weights.itemsize
    room = 1 if len(job.steps) > 1 else 4  # a single sum passes over them but once
    pixels = room * min(_BLOCK_COLUMNS // (size * numbers), _BLOCK_WORDS // (size * outputs))
    height, width = job.geometry.out
    rows = min(height, max(1, pixels // width))
    together = max(1, pixels // (height * width))
    return [
        (slice(n, min(n + together, images)), slice(r, min(r + rows, height)))
        for n in range(0, images, together)
        for r in range(0, height, rows)
    ]
