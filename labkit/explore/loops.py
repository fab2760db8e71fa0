"""The training of one multilayer perceptron after another, compiled, without the interpreter lock.

Samples lie side by side: a row of a buffer is one unit and holds its value for every sample of a
batch, so that all loops that matter run over samples. A batch that is not full is filled with
copies of its first sample, which change no minimum and no maximum, and have no gradient.

What is computed is what TensorFlow's fake quantisation, tfmot's quantizers and Keras's Adamax
compute, in single precision.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, uint64, uintp

from labkit import runtime

#: Kinds of ranges, as `quantizer.KINDS` numbers them; 0 is floating point.
_MOVING_AVERAGE, _LAST_VALUE, _ALL_VALUES = 1, 2, 3
#: Columns of a quantiser's settings.
_KIND, _BITS, _SYMMETRIC, _NARROW, _PER_CHANNEL = 0, 1, 2, 3, 4
#: Rows of what is recorded of a member.
BEST_EPOCH, BEST_VALIDATION, LAST_LOSS, LAST_VALIDATION = 0, 1, 2, 3
RECORDED = 4

_DECAY = float32(1 - 0.999)  # of the moving average, tfmot's
_BETA_1, _BETA_2, _EPSILON = float32(0.9), float32(0.999), float32(1e-7)  # Keras's
_ONE, _HALF, _ZERO = float32(1), float32(0.5), float32(0)


# Sums may be taken in any order, as every library does.
_compiled = runtime.compiled(fastmath=True, error_model="numpy", boundscheck=False)


@_compiled
def shuffled(seed, epoch, order):
    """Puts 0, 1, ... into a random order (Fisher and Yates), the same for a seed and an epoch.

    Source: G. Steele et al., *Fast splittable pseudorandom number generators*, 2014 (SplitMix64).
    """
    state = uint64(seed) * uint64(0xD1342543DE82EF95) + uint64(epoch)
    state = state * uint64(0x9E3779B97F4A7C15) + uint64(0x2545F4914F6CDD1D)
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        state += uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
        z ^= z >> uint64(31)
        j = np.int64(((z >> uint64(32)) * uint64(i + 1)) >> uint64(32))
        order[i], order[j] = order[j], order[i]


@_compiled
def train(members, data, held_out, state, best, record, history, epochs, settings):
    """Train members in place, from an epoch on to another.

    Args:
        members: seeds uint64 (P,), layers int64 (P, L): units of the input and of each layer, -1
            behind the last; quantisers int64 (P, 3, 5): of inputs, weights, activations; where a
            member's parameters and ranges begin, int64 (P + 1,) both.
        data: float32 (N, inputs) and (N, outputs).
        held_out: the same, of validation; both may have no rows.
        state: float32 parameters, first moments, largest gradients, and ranges (2, R).
        best: parameters and ranges after the best epoch.
        record: float64 (P, RECORDED).
        history: float32 (P, E, 2), loss and validation of each epoch; E may be 0.
        epochs: first and last but one, from 0.
        settings: batch, learning rates float32 (P,), weight decay.
    """
    seeds, layers, quantizers, starts, range_starts = members
    x, y = data
    parameters, moments, largest, ranges = state
    best_parameters, best_ranges = best
    first, last = epochs
    batch, rates, decay = settings
    width = -(-batch // 16) * 16
    h, q, g, wanted, rounded, limits, weight_limits = _buffers(layers, starts, width)
    gradient = np.empty_like(rounded)
    order, in_order = np.empty(len(x), np.int64), np.arange(len(held_out[0]))
    steps = -(-len(x) // batch)
    for p in range(len(seeds)):
        sizes, quantizer = layers[p, : _depth(layers[p])], quantizers[p]
        own = slice(starts[p], starts[p + 1])
        own_ranges = slice(range_starts[p], range_starts[p + 1])
        w, m, v, r = parameters[own], moments[own], largest[own], ranges[:, own_ranges]
        for epoch in range(first, last):
            shuffled(seeds[p], epoch, order)
            loss = 0.0
            for step in range(steps):
                n = min(batch, len(x) - step * batch)
                _gather(x, order, step * batch, n, h, width)
                _gather(y, order, step * batch, n, wanted, width)
                _observe_weights(w, sizes, r, quantizer[1])
                _forward(w, sizes, r, quantizer, True, h, q, width, rounded, limits, weight_limits)
                loss += _output_gradient(sizes, q, wanted, n, g, width) * n
                _backward(
                    w, sizes, h, q, g, width, rounded, limits, weight_limits, quantizer, gradient
                )
                _adamax(w, m, v, gradient, sizes, epoch * steps + step + 1, rates[p], decay)
            loss /= len(x)
            validation = _loss(
                *(w, sizes, r, quantizer, held_out, in_order, h, q, width, rounded, limits),
                *(weight_limits, wanted, g),
            )
            if history.shape[1]:
                history[p, epoch, 0], history[p, epoch, 1] = loss, validation
            record[p, LAST_LOSS], record[p, LAST_VALIDATION] = loss, validation
            judged = validation if len(held_out[0]) else loss
            if judged < record[p, BEST_VALIDATION]:
                record[p, BEST_EPOCH], record[p, BEST_VALIDATION] = epoch + 1, judged
                best_parameters[own] = w
                best_ranges[:, own_ranges] = r


@_compiled
def predict(members, x, parameters, ranges, outputs):
    """Outputs of every member, with the ranges that it has learnt.

    Args:
        members: as `train` has them.
        x: float32 (N, inputs).
        parameters, ranges: as `train` has them.
        outputs: float32 (P, N, outputs), receives them.
    """
    seeds, layers, quantizers, starts, range_starts = members
    width = 64
    h, q, _, _, rounded, limits, weight_limits = _buffers(layers, starts, width)
    order = np.arange(len(x))
    for p in range(len(seeds)):
        sizes = layers[p, : _depth(layers[p])]
        w = parameters[starts[p] : starts[p + 1]]
        r = ranges[:, range_starts[p] : range_starts[p + 1]]
        last = sizes[:-1].sum()
        for start in range(0, len(x), width):
            n = min(width, len(x) - start)
            _gather(x, order, start, n, h, width)
            _forward(w, sizes, r, quantizers[p], False, h, q, width, rounded, limits, weight_limits)
            for o in range(sizes[-1]):
                for i in range(n):
                    outputs[p, start + i, o] = q[(last + o) * width + i]


@_compiled
def _depth(layers):
    """Layers of a member, the inputs being one."""
    depth = 0
    while depth < layers.size and layers[depth] > 0:
        depth += 1
    return depth


@_compiled
def _buffers(layers, starts, width):
    """Room for the largest of the members."""
    units = outputs = most = 0
    for p in range(len(layers)):
        depth = _depth(layers[p])
        units = max(units, layers[p, :depth].sum())
        outputs = max(outputs, layers[p, depth - 1])
        most = max(most, starts[p + 1] - starts[p])
    h = np.zeros(units * width, np.float32)
    return (
        h,
        np.zeros_like(h),
        np.zeros_like(h),
        np.zeros(outputs * width, np.float32),
        np.empty(most, np.float32),
        np.empty((layers.shape[1], 3), np.float32),
        np.empty((3, units), np.float32),
    )


@_compiled
def _gather(values, order, start, n, rows, width):
    """Samples in this order as columns; the first one in the place of those that are missing."""
    for i in range(width):
        sample = order[start + i] if i < n else order[start]
        for d in range(values.shape[1]):
            rows[d * width + i] = values[sample, d]


@_compiled
def _new_range(low, high, lowest, highest, quantizer):
    """A range after values from `lowest` to `highest` were seen, as tfmot's quantizers have it."""
    if quantizer[_SYMMETRIC]:
        if quantizer[_NARROW]:
            lowest, highest = min(lowest, -highest), max(highest, -lowest)
        else:
            whole = 2.0 ** quantizer[_BITS]
            ratio = float32(-(whole - 2) / whole)
            lowest = min(lowest, highest / ratio)
            highest = max(highest, lowest * ratio)
    else:
        lowest, highest = min(lowest, _ZERO), max(highest, _ZERO)
    if quantizer[_KIND] == _MOVING_AVERAGE:
        return low - (low - lowest) * _DECAY, high - (high - highest) * _DECAY
    if quantizer[_KIND] == _ALL_VALUES:
        return min(low, min(lowest, _ZERO)), max(high, max(highest, _ZERO))
    return lowest, highest


@_compiled
def _nudged(low, high, quantizer):
    """The range moved so that zero is one of its values, and the step between two values.

    A step of zero says that all values become zero.

    Source: TensorFlow, `fake_quant_ops_functor.h`.
    """
    if low == _ZERO and high == _ZERO:
        return _ZERO, _ZERO, _ZERO
    least = float32(quantizer[_NARROW])
    most = float32(2.0 ** quantizer[_BITS] - 1)
    step = (high - low) / (most - least)
    zero = least - low / step
    zero = min(max(np.floor(zero + _HALF), least), most)
    return (least - zero) * step, (most - zero) * step, step


@_compiled
def _round(values, low, high, step, rounded):
    """Values rounded to steps within a range."""
    if step == _ZERO:
        rounded[:] = _ZERO
        return
    inverse = _ONE / step
    zero = np.floor(-low * inverse + _HALF)
    for i in range(values.size):
        inside = min(max(values[i], low), high) - low
        rounded[i] = np.floor(inside * inverse - zero + _HALF) * step


@_compiled
def _round_column(values, start, stop, stride, low, high, step, rounded):
    """As `_round`, of values that lie `stride` apart."""
    if step == _ZERO:
        rounded[start:stop:stride] = _ZERO
        return
    inverse = _ONE / step
    zero = np.floor(-low * inverse + _HALF)
    for i in range(start, stop, stride):
        inside = min(max(values[i], low), high) - low
        rounded[i] = np.floor(inside * inverse - zero + _HALF) * step


@_compiled
def _reach(values):
    """The smallest and the largest value.

    Compared as integers, which vector units do sixteen at a time: the bits of positive numbers are
    in their order, those of negative ones in the opposite order until all but the sign are flipped.
    """
    bits = values.view(np.int32)
    low = high = int32(bits[0] ^ ((bits[0] >> 31) & 0x7FFFFFFF))
    for i in range(bits.size):
        key = int32(bits[i] ^ ((bits[i] >> 31) & 0x7FFFFFFF))
        low, high = min(low, key), max(high, key)
    both = np.empty(2, np.int32)
    both[0], both[1] = low ^ ((low >> 31) & 0x7FFFFFFF), high ^ ((high >> 31) & 0x7FFFFFFF)
    found = both.view(np.float32)
    return found[0], found[1]


@_compiled
def _observe_weights(w, sizes, r, quantizer):
    """Move the ranges of the kernels to what they are now."""
    if quantizer[_KIND] == 0:
        return
    start, place = 0, 1
    for layer in range(1, len(sizes)):
        fan_in, units = sizes[layer - 1], sizes[layer]
        count = fan_in * units
        if quantizer[_PER_CHANNEL]:
            for u in range(units):
                lowest = highest = w[start + u]
                for k in range(1, fan_in):
                    value = w[start + k * units + u]
                    lowest, highest = min(lowest, value), max(highest, value)
                r[0, place + u], r[1, place + u] = _new_range(
                    r[0, place + u], r[1, place + u], lowest, highest, quantizer
                )
        else:
            lowest, highest = _reach(w[start : start + count])
            r[0, place], r[1, place] = _new_range(
                r[0, place], r[1, place], lowest, highest, quantizer
            )
        start += count + units
        place += units + 1


@_compiled
def _round_weights(w, sizes, r, quantizer, rounded, limits):
    """Kernels as the layers multiply with them; `limits` receives the nudged range of each unit."""
    if quantizer[_KIND] == 0:
        rounded[: w.size] = w
        return
    start, place, row = 0, 1, sizes[0]
    for layer in range(1, len(sizes)):
        fan_in, units = sizes[layer - 1], sizes[layer]
        count = fan_in * units
        if quantizer[_PER_CHANNEL]:
            for u in range(units):
                low, high, step = _nudged(r[0, place + u], r[1, place + u], quantizer)
                limits[0, row + u], limits[1, row + u], limits[2, row + u] = low, high, step
                _round_column(w, start + u, start + count, units, low, high, step, rounded)
        else:
            low, high, step = _nudged(r[0, place], r[1, place], quantizer)
            for u in range(units):
                limits[0, row + u], limits[1, row + u], limits[2, row + u] = low, high, step
            _round(w[start : start + count], low, high, step, rounded[start:])
        start += count + units
        place += units + 1
        row += units


@_compiled
def _round_rows(h, q, r, place, quantizer, observe, limits, layer):
    """Activations of a layer, rounded; its range moves to what they are now if `observe`."""
    if quantizer[_KIND] == 0:
        q[:] = h
        return
    if observe:
        lowest, highest = _reach(h)
        r[0, place], r[1, place] = _new_range(r[0, place], r[1, place], lowest, highest, quantizer)
    low, high, step = _nudged(r[0, place], r[1, place], quantizer)
    limits[layer, 0], limits[layer, 1], limits[layer, 2] = low, high, step
    _round(h, low, high, step, q)


@_compiled
def _forward(w, sizes, r, quantizers, observe, h, q, width, rounded, limits, weight_limits):
    """Activations before (h) and after (q) rounding, the rows of one layer behind another's."""
    _round_weights(w, sizes, r, quantizers[1], rounded, weight_limits)
    end = sizes[0] * width
    _round_rows(h[:end], q[:end], r, 0, quantizers[0], observe, limits, 0)
    start, place, row = 0, 1, sizes[0]
    for layer in range(1, len(sizes)):
        fan_in, units = sizes[layer - 1], sizes[layer]
        bias = start + fan_in * units
        for u in range(units):
            before, to = (row - fan_in) * width, (row + u) * width
            _weighted(rounded, start + u, units, q, before, fan_in, w[bias + u], h, to, width)
        first, last = row * width, (row + units) * width
        values = h[first:last]
        if layer < len(sizes) - 1:
            for i in range(values.size):
                values[i] = max(values[i], _ZERO)
        place += units
        _round_rows(values, q[first:last], r, place, quantizers[2], observe, limits, layer)
        start = bias + units
        place += 1
        row += units


@_compiled
def _weighted(w, at, stride, rows, first, count, bias, sums, to, width):
    """A row that is a bias and `count` rows, each times a weight; the weights lie `stride` apart.

    Indices are unsigned: of others the compiler has to think that they may count from the end.
    """
    n, t, s = uintp(width), uintp(to), uintp(stride)
    f, o = uintp(first), uintp(at)
    a, b, c = f + n, f + n + n, f + n + n + n
    head = count % 4
    if head == 0:
        head = 4
        w0, w1, w2, w3 = w[o], w[o + s], w[o + s + s], w[o + s + s + s]
        for i in range(n):
            sums[t + i] = (
                bias + w0 * rows[f + i] + w1 * rows[a + i] + w2 * rows[b + i] + w3 * rows[c + i]
            )
    elif head == 1:
        w0 = w[o]
        for i in range(n):
            sums[t + i] = bias + w0 * rows[f + i]
    elif head == 2:
        w0, w1 = w[o], w[o + s]
        for i in range(n):
            sums[t + i] = bias + w0 * rows[f + i] + w1 * rows[a + i]
    else:
        w0, w1, w2 = w[o], w[o + s], w[o + s + s]
        for i in range(n):
            sums[t + i] = bias + w0 * rows[f + i] + w1 * rows[a + i] + w2 * rows[b + i]
    for k in range(head, count, 4):
        o, f = uintp(at + k * stride), uintp(first + k * width)
        w0, w1, w2, w3 = w[o], w[o + s], w[o + s + s], w[o + s + s + s]
        a, b, c = f + n, f + n + n, f + n + n + n
        for i in range(n):
            sums[t + i] += w0 * rows[f + i] + w1 * rows[a + i] + w2 * rows[b + i] + w3 * rows[c + i]


@_compiled
def _output_gradient(sizes, q, wanted, n, g, width):
    """The mean squared error of n samples; g receives its gradient by the rounded outputs."""
    units = sizes[-1]
    row = sizes[:-1].sum()
    factor = float32(2.0 / (n * units))
    total = 0.0
    for u in range(units):
        at = (row + u) * width
        found, target, slope = q[at : at + width], wanted[u * width :], g[at : at + width]
        squares = _ZERO
        for i in range(n):
            difference = found[i] - target[i]
            squares += difference * difference
            slope[i] = factor * difference
        slope[n:] = _ZERO
        total += squares
    return total / (n * units)


@_compiled
def _backward(w, sizes, h, q, g, width, rounded, limits, weight_limits, quantizers, gradient):
    """The gradient by all parameters, straight through the rounding within the ranges."""
    row, stop = sizes.sum(), w.size
    for layer in range(len(sizes) - 1, 0, -1):
        fan_in, units = sizes[layer - 1], sizes[layer]
        row -= units
        start, bias = stop - units * (fan_in + 1), stop - units
        first, last = row * width, (row + units) * width
        values, slopes = h[first:last], g[first:last]
        if quantizers[2, _KIND] and limits[layer, 2] != _ZERO:
            low, high = limits[layer, 0], limits[layer, 1]
            for i in range(values.size):
                slopes[i] = slopes[i] if low <= values[i] <= high else _ZERO
        if layer < len(sizes) - 1:
            for i in range(values.size):
                slopes[i] = slopes[i] if values[i] > _ZERO else _ZERO
        before = first - fan_in * width
        for u in range(units):
            at = first + u * width
            gradient[bias + u] = _products(
                q, before, fan_in, g, at, gradient, start + u, units, width
            )
        if quantizers[1, _KIND]:
            _mask(gradient[start:bias], w[start:bias], weight_limits[:, row : row + units])
        if layer > 1:
            for k in range(fan_in):
                at, to = start + k * units, before + k * width
                _weighted(rounded, at, 1, g, first, units, _ZERO, g, to, width)
        stop = start


@_compiled
def _mask(gradient, w, limits):
    """No gradient for weights outside the range of their unit; all where all become zero."""
    low, high, step = limits[0], limits[1], limits[2]
    units = low.size
    for k in range(0, w.size, units):
        slopes, values = gradient[k : k + units], w[k : k + units]
        for u in range(units):
            passes = (low[u] <= values[u] <= high[u]) | (step[u] == _ZERO)
            slopes[u] = slopes[u] if passes else _ZERO


@_compiled
def _products(rows, first, count, g, at, results, to, stride, width):
    """Products of `count` rows with one of g, summed up; the results lie `stride` apart.

    Returns:
        the sum of that row.
    """
    n, o = uintp(width), uintp(at)
    whole = count - count % 4
    for k in range(0, whole, 4):
        a = uintp(first + k * width)
        b, c, d = a + n, a + n + n, a + n + n + n
        s, t, u, v = _ZERO, _ZERO, _ZERO, _ZERO
        for i in range(n):
            slope = g[o + i]
            s += slope * rows[a + i]
            t += slope * rows[b + i]
            u += slope * rows[c + i]
            v += slope * rows[d + i]
        r = to + k * stride
        results[r], results[r + stride] = s, t
        results[r + 2 * stride], results[r + 3 * stride] = u, v
    for k in range(whole, count):
        a, s = uintp(first + k * width), _ZERO
        for i in range(n):
            s += g[o + i] * rows[a + i]
        results[to + k * stride] = s
    total = _ZERO
    for i in range(n):
        total += g[o + i]
    return total


@_compiled
def _adamax(w, m, v, gradient, sizes, step, rate, decay):
    """One step of Keras's Adamax; kernels are pulled to zero by `decay` times themselves."""
    if decay > _ZERO:
        start = 0
        for layer in range(1, len(sizes)):
            count = sizes[layer - 1] * sizes[layer]
            for i in range(start, start + count):
                gradient[i] += decay * w[i]
            start += count + sizes[layer]
    factor = _ONE - _BETA_1 ** float32(step)
    for i in range(w.size):
        m[i] += (gradient[i] - m[i]) * (_ONE - _BETA_1)
        v[i] = max(_BETA_2 * v[i], abs(gradient[i]))
        w[i] -= (rate * m[i]) / (factor * (v[i] + _EPSILON))


@_compiled
def _loss(
    w, sizes, r, quantizers, data, order, h, q, width, rounded, limits, weight_limits, wanted, g
):
    """The mean squared error on other samples, with the ranges as they are."""
    x, y = data
    total = 0.0
    for start in range(0, len(x), width):
        n = min(width, len(x) - start)
        _gather(x, order, start, n, h, width)
        _gather(y, order, start, n, wanted, width)
        _forward(w, sizes, r, quantizers, False, h, q, width, rounded, limits, weight_limits)
        total += _output_gradient(sizes, q, wanted, n, g, width) * n
    return total / max(len(x), 1)
