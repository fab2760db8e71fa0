import numpy as np
import pytest

from labkit.hwce import loops


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_reach_is_the_extremes_of_each_channel_and_zero(dtype):
    x = np.array([[[1, -5, 3], [4, 4, 7]], [[-2, 0, 9], [2, 1, 1]]], dtype)
    lowest, highest = loops.reach(x)
    assert lowest.tolist() == [-5, 0]
    assert highest.tolist() == [9, 7]
    assert [side.tolist() for side in loops.reach(-x)] == [[-9, -7], [5, 0]]


def test_a_large_window_is_summed_nine_taps_at_a_time():
    """30 taps, in float32: 27 of them before the last nine, three of which are zeros."""
    pixels = np.arange(40, dtype=np.float32)
    at = np.zeros((1, 36), np.uintp)
    at[0, :30] = np.arange(30)
    weights = np.zeros((1, 1, 36), np.float32)
    weights[0, 0, :30] = 0.25
    start, y = np.full((1, 1, 1, 4), 3, np.float32), np.zeros((1, 1, 1, 4), np.int16)
    limits = np.float32(-200), np.float32(120)
    counts = loops.rounded(pixels, at, weights, start, np.float32(0.5), limits, limits, y, 0, 0)
    sums = [3 + np.floor(sum(range(first, first + 30)) / 4 + 0.5) for first in range(4)]
    assert sums == [112, 119, 127, 134]
    assert y.ravel().tolist() == [112, 119, 120, 120]
    assert counts == (2, 2)
