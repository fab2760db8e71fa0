"""Quantisers of weights, by hand."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from labkit.compress import forwards
from labkit.compress.kernels import CompressionError


def test_dorefa_by_hand():
    weights = tf.constant([0.5, -1.0, 0.0, 0.25])
    squashed = np.tanh([0.5, -1.0, 0.0, 0.25]) / np.tanh(1.0)
    prepared, slope = forwards.dorefa(2).prepare(weights)
    np.testing.assert_allclose(prepared, squashed / 2 + 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        slope, (1 - np.tanh([0.5, -1.0, 0.0, 0.25]) ** 2) / np.tanh(1.0), rtol=1e-6
    )
    # 3 W̃ = 2.41, 0, 1.5, 1.98: a half goes to the even one.
    np.testing.assert_allclose(
        forwards.dorefa(2).quantise(weights), [1 / 3, -1, 1 / 3, 1 / 3], rtol=1e-6
    )
    np.testing.assert_array_equal(forwards.dorefa(1).quantise(weights), [1, -1, -1, 1])


def test_bwn_by_hand():
    forward = forwards.bwn()
    weights = tf.constant([0.5, -1.0, 0.0, 0.3])
    np.testing.assert_allclose(forward.quantise(weights), [0.45, -0.45, 0.45, 0.45], rtol=1e-6)
    prepared, slope = forward.prepare(weights)
    np.testing.assert_array_equal(prepared, weights)
    np.testing.assert_array_equal(slope, np.ones(4))


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_so_many_values_of_so_many_bits(bits):
    weights = tf.linspace(-1.0, 1.0, 5001)
    values = np.unique(forwards.dorefa(bits).quantise(weights))
    np.testing.assert_allclose(values, np.linspace(-1, 1, 2**bits), atol=1e-6)


def test_full_range_of_one_bit_is_xnor_net_of_centred_weights():
    weights = np.array([[0.5, -0.1], [-0.7, 0.4]], np.float32)
    centred = weights - weights.mean()
    quantised = forwards.full_range(1).quantise(tf.constant(weights))
    np.testing.assert_allclose(quantised, np.abs(centred).mean() * np.sign(centred), rtol=1e-6)
    # A channel, the last axis, each: means are -0.1 and 0.15.
    quantised = forwards.full_range(1, per_channel=True).quantise(tf.constant(weights))
    np.testing.assert_allclose(quantised, [[0.6, -0.25], [-0.6, 0.25]], rtol=1e-6)


def test_full_range_of_two_bits_by_hand():
    weights = tf.constant([-1.4, -0.5, -0.1, 0.1, 0.6, 1.3])  # of mean 0
    codes = forwards.full_range_codes(weights, 2, "unit")
    # Four values, -1, -1/3, 1/3 and 1: the codes are their threefold, and 2/3 is between the two.
    np.testing.assert_array_equal(codes.values, [-3, -1, -1, 1, 1, 3])
    alpha = (4.2 + 0.5 + 0.1 + 0.1 + 0.6 + 3.9) / (9 + 1 + 1 + 1 + 1 + 9)
    np.testing.assert_allclose(codes.step, [alpha], rtol=1e-6)
    # 2/3 of 1.494 deviations, 0.843, is 0.840: the same codes here, and others of small weights.
    np.testing.assert_array_equal(forwards.full_range_codes(weights, 2).values, codes.values)
    small = forwards.full_range_codes(weights / 10, 2, "unit").values
    np.testing.assert_array_equal(small, np.sign(weights))
    fitted = forwards.full_range_codes(weights / 10, 2)
    np.testing.assert_array_equal(fitted.values, codes.values)
    np.testing.assert_allclose(fitted.step, codes.step / 10, rtol=1e-5)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("per_channel", [False, True])
def test_no_scale_is_better_and_the_outermost_value_fits_a_normal_distribution(bits, per_channel):
    normal = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    weights = tf.constant(normal[:, None] * [0.02, 0.04, 0.08] + 0.1, tf.float32)
    codes = forwards.full_range_codes(weights, bits, per_channel=per_channel)
    found = set(np.unique(np.abs(codes.values)))
    assert found <= set(range(1, 2**bits, 2))
    assert len(found) > 0.9 * 2 ** (bits - 1)
    centred = weights - tf.reduce_mean(weights, 0 if per_channel else None, keepdims=True)

    def error(step):
        return float(tf.reduce_sum((centred - codes.values * step) ** 2))

    assert error(codes.step) < min(error(codes.step * 0.98), error(codes.step * 1.02))
    if per_channel and 1 < bits < 7:  # the least distortion of a normal distribution, Max's table
        distortion = error(codes.step) / float(tf.reduce_sum(centred**2))
        assert distortion == pytest.approx(
            {2: 0.11885, 3: 0.03744, 4: 0.01154, 5: 3.495e-3, 6: 1.040e-3}[bits],
            rel=0.02,
        )


@pytest.mark.parametrize(("bits", "span"), [(0, "unit"), (9, "fitted"), (2, "wide")])
def test_widths_and_spans_that_there_are_not(bits, span):
    with pytest.raises(CompressionError, match=f"bits are {bits} and the span '{span}'"):
        forwards.full_range(bits, span)
