import math

import numpy as np
import pytest

from labkit import hwce
from labkit.hwce import cost, tiling
from labkit.hwce.config import FULMINE, GAP8, IDEAL
from labkit.hwce.job import Geometry


def work(shape=(32, 32, 3), outputs=8, kernel=(5, 5), config=GAP8, **arguments):
    stride, padding = (arguments.pop(k, v) for k, v in (("stride", 1), ("padding", "valid")))
    geometry = Geometry.of(shape, outputs, kernel, stride, padding)
    return cost.Work(geometry, tiling.decompose(*kernel, config), config, **arguments)


def test_one_job_by_the_formula():
    """5x5, a full stripe of 32 columns, 28 lines, one stream, y_in read."""
    c = cost.job_cycles((5, 5), 28, tiling.Stripe(0, 32, 28), 1, 16, True, GAP8)
    L, OW = 16, 14
    assert (c.weights, c.fill, c.drain) == (13, 4 * L + 4, 10)
    assert c.run == 28 * 2 * L and c.stalls == 0  # (1 + 1 + 1) · 14 / 4 = 11 words wait for no one
    assert c.total == 13 + 68 + 28 * max(2 * L, math.ceil(3 * OW / 4)) + 10


@pytest.mark.parametrize(("native", "lead"), [((3, 3), 2), ((5, 5), 4), ((7, 4), 3)])
def test_filling_the_line_buffer(native, lead):
    stripe = tiling.Stripe(0, 20, 20 - native[1] + 1)
    assert cost.job_cycles(native, 4, stripe, 1, 16, False, GAP8).fill == lead * 10 + 4


def test_ports_stall_where_streams_are_many():
    """One port: four maps in and out are 1 + 4 + 4 words a word of output, 9 · 14 a line."""
    stripe = tiling.Stripe(0, 32, 28)
    one = GAP8.with_(ports=1)
    c = cost.job_cycles((5, 5), 28, stripe, 4, 4, True, one)
    assert (c.run, c.stalls) == (28 * 32, 28 * (9 * 14 - 32))
    first = cost.job_cycles((5, 5), 28, stripe, 4, 4, False, one)
    assert first.stalls == 28 * (5 * 14 - 32)  # a constant y_in is not read
    assert cost.job_cycles((5, 5), 28, stripe, 4, 4, True, GAP8).stalls == 0  # 126 / 4 = 31.5


def test_contention():
    stripe = tiling.Stripe(0, 32, 28)
    c = cost.job_cycles((5, 5), 28, stripe, 4, 4, True, FULMINE)
    assert c.stalls == math.ceil(28 * 32 * 1.57) - 28 * 32


def test_cycles_a_pixel_in_the_steady_state():
    """32 / (32 - 4) = 1.143 for 5x5, the figure of the literature, on high maps."""
    w = work((4000, 32, 1), 1)
    cycles = cost.cycles(w)
    assert cycles.run / (w.geometry.out[0] * 28) == pytest.approx(32 / 28)
    assert cycles.total / (w.geometry.out[0] * 28) == pytest.approx(32 / 28, rel=0.01)


def test_cycles_of_a_layer_add_up():
    """Two channels, five maps in lanes of two: three groups; one stripe; first job has no y_in."""
    w = work((32, 32, 2), 5, weight_bits=8)
    stripe = tiling.Stripe(0, 32, 28)
    jobs = [
        cost.job_cycles((5, 5), 28, stripe, maps, 8, reads, GAP8)
        for maps in (2, 2, 1)
        for reads in (False, True)
    ]
    assert cost.cycles(w).total == sum(job.total for job in jobs)
    assert w.groups == [2, 2, 1] and w.jobs == 6
    # With a single port the constant y_in of the first channel shows: fewer words to wait for.
    one = GAP8.with_(ports=1)
    stalls = [
        cost.job_cycles((5, 5), 28, stripe, maps, 8, reads, one).stalls
        for maps in (2, 2, 1)
        for reads in (False, True)
    ]
    assert stalls == [28 * (max(32, words * 14) - 32) for words in (3, 5, 3, 5, 2, 3)]
    assert cost.cycles(work((32, 32, 2), 5, weight_bits=8, config=one)).stalls == sum(stalls)


def test_narrow_weights_save_jobs():
    jobs = [work(outputs=16, weight_bits=bits).jobs for bits in (16, 8, 4)]
    assert jobs == [48, 24, 12]
    cycles = [cost.cycles(work(outputs=16, weight_bits=bits)).total for bits in (16, 8, 4)]
    assert cycles[0] > 1.9 * cycles[1] > 3.6 * cycles[2] * 0.9
    x, w = np.ones((32, 32, 3), int), np.ones((5, 5, 3, 16), int)
    with pytest.warns(hwce.EmulatedPrecisionWarning, match="6-bit"):
        six = hwce.conv2d(x, w, weight_bits=6)
    sixteen, eight, four = (hwce.conv2d(x, w, weight_bits=bits) for bits in (16, 8, 4))
    assert (sixteen.work.jobs, eight.work.jobs, four.work.jobs) == (48, 24, 12)
    assert sixteen.memory.weights == 2 * eight.memory.weights == 4 * four.memory.weights
    assert six.cycles == eight.cycles and six.memory.weights == eight.memory.weights


def test_padding_stride_and_even_widths_are_counted():
    w = work((8, 8, 3), 4, (3, 3), stride=2, padding="same")  # (0, 1), (0, 1): 9 wide, so 10
    assert w.padding_pixels == (9 * 10 - 64) * 3
    assert w.dropped_outputs == (7 * 8 - 16) * 4
    assert cost.cycles(w).run == cost.cycles(work((9, 9, 3), 4, (3, 3))).run
    assert work((8, 8, 3), 4, (3, 3)).dropped_outputs == 0


def test_passes_multiply_jobs():
    assert work((32, 32, 1), 1, (7, 7)).jobs == 2
    assert work((32, 32, 1), 1, (11, 11)).jobs == 9
    one, two = (cost.cycles(work((32, 32, 1), 1, k)).run for k in ((7, 4), (7, 7)))
    assert 1.7 * one < two < 2 * one  # a little narrower each: the 7x7 has fewer outputs


def test_the_cores():
    w = work((10, 10, 16), 8, (1, 1))
    assert cost.cycles(w).total == cost.cycles(w).cores == 10 * 10 * 16 * 8 / 8
    assert w.jobs == 0 and cost.energy(w).anchors == {}
    assert all(math.isnan(end) for end in cost.energy(w).range)


def test_energy_anchors():
    """One 5x5 pixel, one lane: 25 MACs at each published figure."""
    e = cost.energy(work((5, 6, 1), 1))
    picojoules = {name: round(value * 1e6 / 2, 2) for name, value in e.anchors.items()}
    assert picojoules == {"28 nm": 35.0, "fulmine": 50.0, "gap8": 41.75, "vega": 38.5}
    assert e.range == (e.anchors["28 nm"], e.anchors["fulmine"])


def test_energy_falls_with_lanes_and_voltage():
    sixteen, four = (cost.energy(work(outputs=16, weight_bits=b)) for b in (16, 4))
    assert four.anchors["gap8"] == pytest.approx(sixteen.anchors["gap8"] / 4)
    low = cost.energy(work(), voltage=0.5)
    assert low.anchors["gap8"] == pytest.approx(cost.energy(work()).anchors["gap8"] / 4)
    with pytest.raises(ValueError, match="positive volts"):
        cost.energy(work(), voltage=0)


def test_parametric_energy_by_hand():
    assert cost.multiply_pj(8) == pytest.approx(0.2, rel=0.01)  # Horowitz: 0.2 pJ
    assert cost.multiply_pj(32) == pytest.approx(3.1, rel=0.01)
    assert cost.add_pj(32) == pytest.approx(0.1)
    e = cost.energy(work((5, 5, 1), 1, weight_bits=4, input_bits=8))
    assert e.arithmetic == pytest.approx(25 * (cost.multiply_pj(8) + 0.1) * 1e-6)
    assert e.float_arithmetic == pytest.approx(25 * 4.6e-6)
    assert e.weights_from_dram == pytest.approx(25 * 4 * 20.3e-6)


def test_memory_as_stored_and_ideal():
    m = cost.memory(work((32, 32, 3), 8, weight_bits=8, input_bits=8, output_bits=6))
    assert m.weights == 3 * 4 * 26 * 2  # 4 groups of two 8-bit filters
    assert m.weights_ideal == 25 * 3 * 8
    assert (m.input, m.input_ideal) == (2 * 32 * 32 * 3, 32 * 32 * 3)
    assert (m.output, m.output_ideal) == (2 * 28 * 28 * 8, 28 * 28 * 8 * 6 // 8)
    assert m.fits_l2 and m.tiling.fits
    three = cost.memory(work((32, 32, 1), 7, (3, 3)))
    assert three.weights == 2 * (28 + 28 + 10)  # three, three and one 3x3 of 16 bits
    assert not cost.memory(work((256, 256, 8), 8)).fits_l2
    assert cost.memory(work((32, 32, 1), 1, (7, 7))).weights == 2 * 28 * 2  # two passes
    # L1: one channel of 32 columns and one map of 28, 4 bytes each (twice 2), over 28 rows; four
    # rows of halo; the weights of a job, twice.
    assert cost.memory(work((32, 32, 3), 8)).tiling.bytes == 28 * 240 + 4 * 4 * 32 + 2 * 52
    # Weights, input and output together: 2 · 32 · 32 + 2 · 28 · 28 · 300 bytes and the filters.
    together = cost.memory(work((32, 32, 1), 300))
    assert together.weights + together.input + together.output == 52 * 300 + 2048 + 470_400
    just = GAP8.with_(l2_bytes=52 * 300 + 2048 + 470_400)
    assert cost.memory(work((32, 32, 1), 300, config=just)).fits_l2
    less = just.with_(l2_bytes=just.l2_bytes - 1)
    assert not cost.memory(work((32, 32, 1), 300, config=less)).fits_l2


def test_memory_on_the_cores_has_whole_bytes():
    m = cost.memory(work((4, 4, 16), 8, (1, 1), weight_bits=4))
    assert (m.weights, m.weights_ideal) == (128, 64)


def test_a_result_carries_its_costs():
    r = hwce.conv2d(np.ones((8, 8, 2), int), np.ones((3, 3, 2, 4), int), config=IDEAL)
    assert r.cycles == cost.cycles(r.work) and r.cycles.total > 0
    assert r.energy == cost.energy(r.work)
    assert r.memory == cost.memory(r.work)
    bits = {"weight_bits": 4, "input_bits": 6, "output_bits": 5}
    r = hwce.conv2d(np.ones((8, 8, 2), int), np.ones((3, 3, 2, 4), int), **bits)
    assert (r.work.weight_bits, r.work.input_bits, r.work.output_bits) == (4, 6, 5)
    assert (r.roundings, r.qf) == (2, 0)


def test_reports_say_what_they_rest_on():
    assert "not validated on silicon" in hwce.BASIS
    assert all(anchor.source for anchor in cost.ANCHORS.values())
