import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.hwce import tiling
from labkit.hwce.config import FULMINE, GAP8, IDEAL, NEURAGHE
from labkit.hwce.formats import EmulatedPrecisionWarning


@pytest.mark.parametrize(
    ("kernel", "config", "native", "passes"),
    [
        ((3, 3), FULMINE, (5, 5), 1),
        ((3, 3), GAP8, (3, 3), 1),
        ((2, 3), GAP8, (3, 3), 1),
        ((5, 5), FULMINE, (5, 5), 1),
        ((5, 5), GAP8, (5, 5), 1),
        ((7, 4), GAP8, (7, 4), 1),
        ((7, 7), GAP8, (7, 4), 2),
        ((7, 7), FULMINE, (5, 5), 4),
        ((11, 11), GAP8, (5, 5), 9),
        ((11, 11), FULMINE, (5, 5), 9),
        ((1, 1), GAP8.with_(pointwise="engine"), (3, 3), 1),
        ((4, 4), NEURAGHE, (5, 5), 1),
    ],
)
def test_native_filters_and_passes(kernel, config, native, passes):
    parts = tiling.decompose(*kernel, config)
    assert (parts.unit, parts.native, len(parts.passes)) == ("engine", native, passes)


def test_pointwise_filters_run_on_the_cores_unless_told_otherwise():
    assert tiling.decompose(1, 1, GAP8).unit == "cores"
    with pytest.raises(ValueError, match="at least 1x1"):
        tiling.decompose(0, 3, GAP8)


@given(st.integers(1, 16), st.integers(1, 16), st.sampled_from([FULMINE, GAP8, NEURAGHE, IDEAL]))
def test_passes_cover_every_tap_once_and_fit_the_native_filter(height, width, config):
    parts = tiling.decompose(height, width, config)
    covered = np.zeros((height, width), int)
    for window in parts.passes:
        covered[window.rows, window.columns] += 1
        if parts.unit == "engine":
            assert window.height <= parts.native[0] and window.width <= parts.native[1]
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("native", "bits", "maps", "words"),
    [
        ((5, 5), 16, 1, 26),
        ((5, 5), 8, 2, 26),
        ((5, 5), 4, 4, 26),
        ((3, 3), 16, 1, 10),
        ((3, 3), 16, 2, 18),
        ((3, 3), 16, 3, 28),
        ((3, 3), 8, 2, 10),
        ((7, 4), 16, 1, 28),
        ((7, 4), 4, 4, 28),
    ],
)
def test_weight_blocks_have_the_documented_sizes(native, bits, maps, words):
    assert tiling.block_half_words(native, bits, maps) == words


def test_lanes():
    assert [tiling.lanes((5, 5), bits, FULMINE) for bits in (16, 8, 4)] == [1, 2, 4]
    assert [tiling.lanes((3, 3), bits, GAP8) for bits in (16, 8, 4)] == [3, 2, 4]
    with pytest.warns(EmulatedPrecisionWarning):
        assert tiling.lanes((5, 5), 6, GAP8) == 2  # as with 8 bits


def test_stripes_by_hand():
    def cut(width, native):
        return [(s.first, s.width, s.outputs) for s in tiling.stripes(width, native, GAP8)]

    assert cut(32, (5, 5)) == [(0, 32, 28)]
    assert cut(60, (5, 5)) == [(0, 32, 28), (28, 32, 28)]
    assert cut(32, (3, 3)) == [(0, 30, 28), (28, 4, 2)]  # two columns are left for a narrow one
    assert cut(5, (5, 5)) == [(0, 5, 1)]
    with pytest.raises(ValueError, match="narrower"):
        cut(4, (5, 5))
    with pytest.raises(ValueError, match="cannot hold"):
        tiling.stripes(40, (5, 5), GAP8.with_(line_buffer=4))


@given(st.integers(7, 300), st.sampled_from([(3, 3), (5, 5), (7, 4)]))
def test_stripes_cover_every_output_once(width, native):
    at = 0
    for stripe in tiling.stripes(width, native, GAP8):
        assert stripe.first == at and stripe.width <= 32
        assert stripe.outputs == stripe.width - (native[1] - 1)
        at += stripe.outputs
    assert at == width - (native[1] - 1)


def tile(lines=56, l1=64 * 1024, at_once=(1, 2), weights=1000):
    config = GAP8.with_(l1_bytes=l1)
    return tiling.tile(lines, 58, 56, 3, 16, 64, at_once, weights, config)


def test_a_tile_by_hand():
    t = tile()
    # A row: 4 · (58 + 2 · 56) = 680; twice 2 · 58 · 2 rows of halo = 464 (4 bytes per pixel, twice
    # 2); weights: 2 · ceil(1000 · 2 / 1024) = 4.
    assert (t.rows, t.tiles, t.bytes) == (56, 1, 56 * 680 + 464 + 4)
    # Inputs once for each of 32 groups, weights once, outputs once.
    assert t.traffic_bytes == 2 * 58 * 58 * 16 * 32 + 1000 + 2 * 56 * 56 * 64


def test_two_tiles_by_hand():
    """28 rows of 680 bytes and 468 more: the halo is read, and the weights are fetched, twice."""
    t = tile(l1=28 * 680 + 468)
    assert (t.rows, t.tiles) == (28, 2)
    assert t.traffic_bytes == 2 * 58 * (56 + 2 * 2) * 16 * 32 + 2 * 1000 + 2 * 56 * 56 * 64


def test_less_l1_means_more_tiles_and_more_traffic():
    small, large = tile(l1=8 * 1024), tile()
    assert small.fits and small.bytes <= 8 * 1024
    assert small.tiles == -(-56 // small.rows) > large.tiles
    assert small.traffic_bytes > large.traffic_bytes
    assert not tile(l1=512).fits
