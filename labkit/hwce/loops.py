"""Loops over codes and words, compiled for the processor when they first run.

NumPy writes every intermediate array to memory; these keep a word in a register while all its
products are summed, rounded and saturated. Compiled code is kept on disk for the next process, and
runs without the interpreter lock.
"""

from __future__ import annotations

import numpy as np
from numba import uintp

from labkit import runtime

#: Taps of one pass over the pixels in `rounded`: filters are filled with zeros up to a multiple.
TAPS = 9


# Products may be added without a rounding of their own; all sums here are exact anyway.
_compiled = runtime.compiled(fastmath={"contract"}, error_model="numpy")


@_compiled
def rounded(x, at, weights, start, half, limits, output_limits, y, image, row):
    """Sums of products that are rounded and saturated after every step.

    The words of an output map are numbered row by row, the images side by side in a row, and a row
    of an image as wide as that of x. What lies right of the last column is computed and dropped.

    Args:
        x: floating point (size,): the input maps, one after the other; as many rows and columns as
            the outputs need, and zeros at the end for the last words that are dropped.
        at: uintp (steps, taps): where each tap finds its pixel of the first output.
        weights: of x's type (outputs, steps, taps), times 2^-qf; taps are a multiple of `TAPS`.
        start: of x's type (images, outputs, rows, pitch): y_in, as wide as a row of x.
        half: of x's type: what is added to a sum before it is truncated.
        limits: smallest and largest word, of x's type.
        output_limits: smallest and largest output, of x's type.
        y: integer (N, outputs, OH, OW): receives the outputs.
        image: of y, which comes first.
        row: of y, which comes first.

    Returns:
        words that were clipped, and outputs that were clipped at least once on their way.
    """
    (images, outputs, rows, pitch), columns = start.shape, y.shape[3]
    _, steps, taps = weights.shape
    filters = weights.reshape(outputs * steps, taps)
    pixels = rows * images * pitch
    low, high = limits
    words = np.empty(pixels, x.dtype)
    clips = np.empty(pixels, np.int32)
    sums = np.full(pixels, half, x.dtype)
    clipped = saturated = 0
    for k in range(outputs):
        clips[:] = 0
        for r in range(rows):
            for n in range(images):
                p = (r * images + n) * pitch
                words[p : p + pitch] = start[n, k, r]
        for step in range(steps):
            if taps > TAPS:
                sums[:] = half
                for t in range(0, taps - TAPS, TAPS):
                    a, w = _nine(at, step, t), _nine(filters, k * steps + step, t)
                    for p in range(pixels):
                        sums[p] += _products(x, a, w, uintp(p))
            a, w = _nine(at, step, taps - TAPS), _nine(filters, k * steps + step, taps - TAPS)
            for p in range(pixels):
                word = words[p] + np.floor(sums[p] + _products(x, a, w, uintp(p)))
                words[p] = min(max(word, low), high)
                clips[p] += np.int32(words[p] != word)
        for r in range(rows):
            for n in range(images):
                p = (r * images + n) * pitch
                last, times = words[p : p + columns], clips[p : p + columns]
                codes, total, ever = y[image + n, k, row + r], np.int32(0), np.int32(0)
                for c in range(columns):
                    code = min(max(last[c], output_limits[0]), output_limits[1])
                    count = times[c] + np.int32(code != last[c])
                    total = np.int32(total + count)
                    ever = np.int32(ever + np.int32(count > 0))
                    codes[c] = np.int32(code)
                clipped += total
                saturated += ever
    return clipped, saturated


@_compiled
def _nine(a, row, first):
    """`TAPS` numbers of a row, which stay in registers."""
    return (
        a[row, first],
        a[row, first + 1],
        a[row, first + 2],
        a[row, first + 3],
        a[row, first + 4],
        a[row, first + 5],
        a[row, first + 6],
        a[row, first + 7],
        a[row, first + 8],
    )


@_compiled
def _products(x, at, w, p):
    """The sum under `TAPS` taps for the word p."""
    return (
        w[0] * x[at[0] + p]
        + w[1] * x[at[1] + p]
        + w[2] * x[at[2] + p]
        + w[3] * x[at[3] + p]
        + w[4] * x[at[4] + p]
        + w[5] * x[at[5] + p]
        + w[6] * x[at[6] + p]
        + w[7] * x[at[7] + p]
        + w[8] * x[at[8] + p]
    )


@_compiled
def finished(sums, offset, start, limits, y):
    """Sums that are rounded once, saturated.

    Args:
        sums: floating point (pieces of outputs, pieces of pixels, outputs, pixels), times 2^-qf;
            there may be more of both than y has.
        offset: of the same type (outputs,): added before a sum is truncated.
        start: of the same type (outputs,): added afterwards.
        limits: smallest and largest output, of the same type.
        y: integer (outputs, pixels): receives the outputs.

    Returns:
        outputs that were clipped.
    """
    _, pieces, together, width = sums.shape
    low, high = limits
    clipped = 0
    for k in range(len(y)):
        before, after = offset[k], start[k]
        for piece in range(pieces):
            row, count = sums[k // together, piece, k % together], np.int32(0)
            codes = y[k, piece * width : (piece + 1) * width]
            for p in range(codes.size):
                word = np.floor(row[p] + before) + after
                inside = min(max(word, low), high)
                count = np.int32(count + np.int32(inside != word))
                codes[p] = np.int32(inside)
            clipped += count
    return clipped


@_compiled
def shifted(codes, shift, half_up, limits, y):
    """Codes (n,) shifted right, rounded and clipped into y (n,); see `formats.requantize`."""
    low, high = limits
    for i in range(codes.size):
        code = codes[i] >> shift
        if half_up:
            code += (codes[i] >> (shift - 1)) & 1  # the bit below: no sum that could overflow
        y[i] = min(max(code, low), high)


@_compiled
def reach(x):
    """Smallest and largest code, or zero, of every channel of x (N, channels, size)."""
    lowest, highest = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    for n in range(x.shape[0]):
        for b in range(x.shape[1]):
            low, high = lowest[b], highest[b]
            for i in range(x.shape[2]):
                low, high = min(low, x[n, b, i]), max(high, x[n, b, i])
            lowest[b], highest[b] = low, high
    return lowest, highest
