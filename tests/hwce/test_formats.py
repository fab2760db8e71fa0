import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labkit.hwce import formats
from labkit.hwce.formats import EmulatedPrecisionWarning, QFormat

widths = st.integers(2, 16)
exponents = st.integers(-8, 8)
reals = st.floats(-1e4, 1e4, width=32)


def test_step_and_range_by_hand():
    q = QFormat(bits=8, msb=0)
    assert (q.fraction_bits, q.step, q.min_code, q.max_code) == (7, 1 / 128, -128, 127)
    assert QFormat(16, 3).step == 2.0**-12
    assert QFormat(4, -2).fraction_bits == 5


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # Steps of 1/4 in ±1: -1.3, -0.3, -0.125, 0, 0.1, 0.125, 0.3, 1.0, 9
        ("floor", [-4, -2, -1, 0, 0, 0, 1, 3, 3]),
        ("nearest", [-4, -1, 0, 0, 0, 1, 1, 3, 3]),
        ("thesis", [-4, -2, -1, 0, 0, 0, 1, 4, 4]),
    ],
)
def test_codes_by_hand(mode, expected):
    x = [-1.3, -0.3, -0.125, 0.0, 0.1, 0.125, 0.3, 1.0, 9.0]
    assert QFormat(3, 0).codes(x, mode).tolist() == expected
    assert QFormat(3, 0).quantize(x, mode).tolist() == [code / 4 for code in expected]


def test_the_thesis_has_one_level_too_many_and_the_others_do_not():
    x = np.linspace(-2, 2, 10_001)
    assert len(np.unique(QFormat(4, 0).quantize(x, "thesis"))) == 17
    assert len(np.unique(QFormat(4, 0).quantize(x, "floor"))) == 16
    assert len(np.unique(QFormat(4, 0).quantize(x, "nearest"))) == 16


def test_floor_is_low_by_half_a_step_on_average_and_nearest_is_not():
    q = QFormat(8, 0)
    x = np.random.default_rng(0).uniform(-0.9, 0.9, 200_000)
    assert np.mean(q.quantize(x, "floor") - x) == pytest.approx(-q.step / 2, rel=0.02)
    assert abs(np.mean(q.quantize(x, "nearest") - x)) < 0.01 * q.step


@given(reals, widths, exponents)
def test_rounding_against_exact_fractions(x, bits, msb):
    from fractions import Fraction
    from math import floor

    q = QFormat(bits, msb)
    exact = Fraction(x) / Fraction(2) ** (msb + 1 - bits)
    for mode, whole in (("floor", floor(exact)), ("nearest", floor(exact + Fraction(1, 2)))):
        assert q.codes(x, mode) == min(max(whole, q.min_code), q.max_code)
    amplitude = 2 ** (bits - 1)
    assert q.codes(x, "thesis") == floor(min(max(exact, -amplitude), amplitude))


@given(reals, widths, exponents, st.sampled_from(formats.MODES))
def test_quantising_twice_changes_nothing(x, bits, msb, mode):
    q = QFormat(bits, msb)
    once = q.quantize(x, mode)
    assert q.quantize(once, mode) == once


def test_infinity_is_clipped_and_nan_is_an_error():
    assert QFormat(8, 0).codes([np.inf, -np.inf]).tolist() == [127, -128]
    with pytest.raises(ValueError, match="NaN"):
        QFormat(8, 0).codes([np.nan])


@pytest.mark.parametrize("bad", [(1, 0), (33, 0), (8.0, 0), (8, 0.5), (True, 0), (8, 65)])
def test_bad_formats(bad):
    with pytest.raises(ValueError, match="expected"):
        QFormat(*bad)


def test_unknown_mode():
    with pytest.raises(ValueError, match="thesis, floor, nearest"):
        QFormat(8, 0).codes([0.0], "round")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0], 0), ([1.01], 1), ([-4.0, 0.0], 2), ([0.25], -2), ([0.2], -2), ([0.0], 0)],
)
def test_msb_covers_the_largest(values, expected):
    assert formats.msb_for(np.array(values)) == expected


def test_msb_of_least_error_weighs_clipping_against_the_step():
    # 99 small values and one outlier; two bits, steps of 2^msb / 2. At msb 3 the small values are
    # rounded to nothing, which costs 99 + 16; at msb 1, values -2, -1, 0, 1, clipping costs 49.
    x = np.array([-1.0] * 99 + [8.0])
    assert formats.msb_for(x) == 3
    assert formats.msb_of_least_error(x, 2) == 1
    # Bits enough: clipping 8 to 8 - 2^-12 at msb 3 costs less than any coarser step.
    assert formats.msb_of_least_error(x, 16) == 3
    every = {m: np.square(formats.QFormat(4, m).quantize(x) - x).mean() for m in range(-2, 6)}
    assert formats.msb_of_least_error(x, 4) == min(every, key=every.get)


@pytest.mark.parametrize("loud", range(6))
def test_msb_of_least_error_sees_every_channel(loud):
    """Of 1.2 million values one in six counts; the step of six would meet one channel only."""
    x = np.random.default_rng(0).uniform(-1, 1, (200_000, 6)).astype(np.float32)
    quiet = formats.msb_of_least_error(x, 8)
    x[:, loud] *= 64
    assert (quiet, formats.msb_of_least_error(x, 8)) == (0, 6)


def test_msb_for_a_percentile():
    x = np.concatenate([np.full(995, 0.9), np.full(5, 60.0)])
    assert (formats.msb_for(x), formats.msb_for(x, 99)) == (6, 0)
    with pytest.raises(ValueError, match="percentile"):
        formats.msb_for(x, 0)
    with pytest.raises(ValueError, match="empty"):
        formats.msb_for([])


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-20, 40), widths, st.booleans())
def test_requantize_against_integers(code, shift, bits, half_up):
    half = (1 << (shift - 1)) if half_up and shift > 0 else 0
    exact = (code + half) >> shift if shift >= 0 else code << -shift
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    expected = min(max(exact, low), high)
    assert formats.requantize(np.array([code]), shift, bits, half_up).tolist() == [expected]


@given(st.integers(-(2**15), 2**15 - 1), st.integers(-20, 40), st.booleans())
@example(-(2**15), 16, True)
def test_requantize_in_16_bits_is_requantize_in_64(code, shift, half_up):
    wide = formats.requantize(np.array([code]), shift, 8, half_up)
    assert formats.requantize(np.array([code], np.int16), shift, 8, half_up) == wide


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_requantize_many_codes_in_any_order_of_memory(axes):
    """More codes than a piece, planes in memory, cut out of others."""
    codes = np.random.default_rng(0).integers(-(2**15), 2**15, (3, 5, 70, 80)).astype(np.int16)
    for view in (codes.transpose(axes), codes.transpose(axes)[1:, ::2]):
        exact = np.clip((view.astype(np.int64) + 4) >> 3, -128, 127)
        np.testing.assert_array_equal(formats.requantize(view, 3, 8), exact)
    assert formats.requantize(codes.transpose(axes), 3, 8).strides == codes.transpose(axes).strides


def test_six_bits_live_in_eight_and_say_so():
    with pytest.warns(EmulatedPrecisionWarning, match="6-bit"):
        assert formats.container_bits(6) == 8
    for bits in (4, 8, 16):
        assert formats.container_bits(bits) == bits
