"""Quantisers of weights that a network is trained with: latent weights in, quantised ones out.

What stands in for their derivative is another matter: straight through, or learned by
`labkit.compress.meta_quant`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from labkit.compress.kernels import CompressionError

#: Where 2^b evenly spaced values lie best for normally distributed weights: the outermost one, in
#: standard deviations. Source: J. Max, *Quantizing for minimum distortion*, IRE Transactions on
#: Information Theory, 1960, table II, whose numbers end at 5 bits; by its condition for more.
OUTERMOST = {2: 1.494, 3: 2.051, 4: 2.514, 5: 2.916, 6: 3.278, 7: 3.611, 8: 3.922}
#: How far the values of `full_range` reach: see there.
SPANS = ("fitted", "unit")


@dataclass(frozen=True)
class Forward:
    """A quantiser of weights.

    Attributes:
        bits: of a quantised weight, beside one scale per layer where it has one.
        prepare: A: of latent weights, (W̃, ∂Ŵ/∂W if rounding were the identity).
        quantise: Q: of latent weights W, the quantised ones Ŵ.
    """

    bits: int
    prepare: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    quantise: Callable[[tf.Tensor], tf.Tensor]


def dorefa(bits: int = 1) -> Forward:
    """DoReFa: W̃ = tanh W / (2 max|tanh W|) + ½, and Ŵ = 2 round((2^k - 1) W̃) / (2^k - 1) - 1.

    2^k values, evenly from -1 to 1; of one bit they are -1 and 1, without a scale.

    Args:
        bits: k, from 1 to 8.

    Raises:
        CompressionError: other bits.

    Source: Zhou et al., *DoReFa-Net*, arXiv:1606.06160, equation 9, for one bit too.
    """
    if bits not in range(1, 9):
        raise CompressionError(f"DoReFa has 1 to 8 bits, not {bits!r}.")
    steps = 2.0**bits - 1

    def prepare(weights):
        squashed = tf.tanh(weights)
        largest = tf.maximum(tf.reduce_max(tf.abs(squashed)), 1e-12)
        return squashed / (2 * largest) + 0.5, (1 - squashed**2) / largest

    return Forward(bits, prepare, lambda w: 2 * tf.round(steps * prepare(w)[0]) / steps - 1)


def bwn(bits: int = 1) -> Forward:
    """Binary weights with a scale: W̃ = W, and Ŵ = mean|W| · sign W, where zero counts as positive.

    The published code multiplies the baseline's derivative by mean|W|, and not the meta networks':
    its baseline has a smaller learning rate. Here both are without.

    Raises:
        CompressionError: bits other than 1.

    Source: Rastegari et al., *XNOR-Net*, ECCV 2016, section 3.1, with one scale per layer.
    """
    if bits != 1:
        raise CompressionError(f"BWN has 1 bit, not {bits!r}: take 'dorefa' for more.")

    def quantise(weights):
        scale = tf.reduce_mean(tf.abs(weights))
        return tf.where(weights >= 0, scale, -scale)

    return Forward(1, lambda w: (w, tf.ones_like(w)), quantise)


class Codes(NamedTuple):
    """Weights on a grid without a zero: codes times step.

    Attributes:
        values: odd integers from -(2^b - 1) to 2^b - 1, in floating point, the weights' shape.
        step: positive: one, or one per output channel (the last axis).
        relative: W̃, the weights in units of the largest value, before they are clipped.
    """

    values: tf.Tensor
    step: tf.Tensor
    relative: tf.Tensor


def full_range_codes(
    weights: tf.Tensor, bits: int, span: str = "fitted", per_channel: bool = False
) -> Codes:
    """Weights less their mean, clipped, and rounded to 2^b evenly spaced values without a zero.

    The mean does not come back: of many bits it is most of the error, until training has made up
    for it.

    The scale is the one that leaves the least squared error, α = WᵀQ / QᵀQ for values Q from -1 to
    1: of one bit XNOR-Net's mean |W|. The thesis takes mean |W| for all widths.

    Args:
        weights: float32, output channels last.
        bits: b, from 1 to 8.
        span: where weights are clipped: "unit", at ±1, as in the thesis, so that a weight of two
            bits is one of four values only if it is beyond 2/3; or "fitted", where 2^b values lie
            best for normally distributed weights. Of one bit they are the same.
        per_channel: a mean and a scale for each output channel, not for all weights.

    Source: Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices*
    (IIT Madras, 2022), section 3.3; Rastegari et al., *XNOR-Net*, ECCV 2016, section 3.1.
    """
    axes = list(range(weights.shape.rank - 1)) if per_channel else None

    def mean(x):
        return tf.reduce_mean(x, axes, keepdims=True)

    centred = weights - mean(weights)
    reach = tf.ones_like(mean(weights))
    if span == "fitted" and bits > 1:
        reach = OUTERMOST[bits] * tf.maximum(tf.sqrt(mean(centred**2)), 1e-12)
    relative, largest = centred / reach, 2.0**bits - 1
    clipped = tf.clip_by_value(relative, -1, 1)
    if bits == 1:
        values = tf.where(clipped >= 0, 1.0, -1.0)
    else:
        values = 2 * tf.round(largest * (clipped + 1) / 2) - largest
    step = tf.maximum(mean(centred * values) / mean(values**2), 1e-12)
    return Codes(values, step, relative)


def full_range(bits: int = 1, span: str = "fitted", per_channel: bool = False) -> Forward:
    """`full_range_codes` times their step.

    Raises:
        CompressionError: other bits or another span.
    """
    check_full_range(bits, span)

    def prepare(weights):
        codes = full_range_codes(weights, bits, span, per_channel)
        return codes.relative, tf.ones_like(weights)

    def quantise(weights):
        codes = full_range_codes(weights, bits, span, per_channel)
        return codes.values * codes.step

    return Forward(bits, prepare, quantise)


def check_full_range(bits: int, span: str = "fitted") -> None:
    """Raise a CompressionError where `full_range` has no such bits or span."""
    if bits not in range(1, 9) or span not in SPANS:
        raise CompressionError(
            f"bits are {bits!r} and the span {span!r}, expected 1 to 8, and one of "
            f"{', '.join(SPANS)}."
        )


FORWARDS: dict[str, Callable[[int], Forward]] = {
    "dorefa": dorefa,
    "bwn": bwn,
    "full_range": full_range,
}
