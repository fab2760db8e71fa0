import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import hwce
from labkit.hwce import blas, engine, exact, stepwise, tiling
from labkit.hwce.config import FULMINE, GAP8, IDEAL, NEURAGHE, PRESETS, VEGA

WIDTHS = st.integers(2, 16)
KERNELS = [(1, 1), (3, 3), (5, 5), (7, 4), (7, 7), (2, 3), (1, 5), (11, 11)]


@st.composite
def configs(draw):
    return PRESETS[draw(st.sampled_from(sorted(PRESETS)))].with_(
        flip=draw(st.booleans()),
        unsigned=draw(st.booleans()),
        acc_group=draw(st.integers(1, 3)),
        pointwise=draw(st.sampled_from(["cores", "engine"])),
    )


@st.composite
def codes(draw, shape, low, high):
    """Random codes; in some of the arrays, many stand at the ends of the range."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.integers(low, high + 1, shape)
    ends = random.choice([low, high], shape)
    return np.where(
        random.random(shape) < draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])), ends, values
    )


@st.composite
def layers(draw, kernels=KERNELS, weight_bits=WIDTHS):
    """Arguments of conv2d."""
    config = draw(configs())
    rows, columns = draw(st.sampled_from(kernels))
    channels, outputs, images = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
    )
    shape = (rows + draw(st.integers(0, 3)), columns + draw(st.integers(0, 3)))
    bits = draw(weight_bits)
    limit = 1 << (bits - 1)
    x = draw(codes((images, *shape, channels), *config.pixel_range))
    w = draw(codes((rows, columns, channels, outputs), -limit, limit - 1))
    bias = draw(codes((outputs,), *config.pixel_range)) if draw(st.booleans()) else None
    settings = {
        "qf": draw(st.integers(0, 31)),
        "stride": draw(st.sampled_from([1, 2, (1, 2)])),
        "padding": draw(st.sampled_from(["valid", "same", ((1, 0), (2, 1))])),
        "weight_bits": bits,
        "output_bits": draw(st.integers(2, 16)),
    }
    return (x, w, bias, config), settings


def plain(x, w, stride=1):
    """Cross-correlation in int64, as a sum of shifted products: not how the engine does it."""
    rows, columns = x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1
    y = np.zeros((len(x), rows, columns, w.shape[3]), np.int64)
    for i, j in np.ndindex(w.shape[:2]):
        y += x[:, i : i + rows, j : j + columns].astype(np.int64) @ w[i, j].astype(np.int64)
    return y[:, ::stride, ::stride]


def counts(result):
    return result.saturations, result.saturated, result.overflows


@pytest.mark.filterwarnings("ignore::labkit.hwce.formats.EmulatedPrecisionWarning")
@settings(max_examples=300)
@given(layers())
def test_blas_equals_the_reference(layer):
    arguments, settings = layer
    fast = engine.conv2d(*arguments, **settings)
    slow = engine.conv2d(*arguments, **settings, backend="reference")
    np.testing.assert_array_equal(fast.y, slow.y)
    assert counts(fast) == counts(slow)


@settings(max_examples=30)
@given(layers(kernels=[(3, 3), (7, 7)], weight_bits=st.just(16)), st.data())
def test_blas_equals_the_reference_in_small_blocks(layer, data):
    """Blocks of a few pixels: the seams between images and rows are where mistakes would be."""
    arguments, settings = layer
    whole = engine.conv2d(*arguments, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "_BLOCK", data.draw(st.integers(1, 500)))
        patch.setattr(stepwise, "_WORDS", data.draw(st.integers(1, 20)))
        cut = engine.conv2d(*arguments, **settings)
    np.testing.assert_array_equal(cut.y, whole.y)
    assert counts(cut) == counts(whole)


@pytest.mark.parametrize("config", [GAP8, FULMINE, IDEAL], ids=lambda config: config.name)
def test_corner_codes(config):
    """-32768 · -32768 in every tap, the largest sum there is, with every shift."""
    x = np.full((1, 5, 5, 2), -32768)
    w = np.full((5, 5, 2, 1), -32768)
    for qf in range(32):
        y = [
            engine.conv2d(x, w, [-32768], config, qf=qf, backend=b).y.item()
            for b in ("blas", "reference")
        ]
        job = 25 * 2**30
        half = (1 << qf >> 1) if config.half_up else 0
        if config.ideal:
            exact = min(((-32768 << qf) + 2 * job + half) >> qf, 32767)
        else:
            exact = min(-32768 + ((job + half) >> qf), 32767)
            exact = min(exact + ((job + half) >> qf), 32767)
        assert y == [exact, exact]


def test_one_job_by_hand():
    x = np.array([[[1], [2]], [[3], [4]]])[None]
    w = np.array([[1, -2], [3, 5]])[..., None, None]
    # S = 1 - 4 + 9 + 20 = 26, y_in = 10, qf = 2: 10 + 6.5
    assert engine.conv2d(x, w, [10], FULMINE, qf=2).y.item() == 16
    assert engine.conv2d(x, w, [10], GAP8, qf=2).y.item() == 17
    # S = -26: 10 - 6.5 is 3.5; truncation goes down, the half goes up.
    assert engine.conv2d(x, -w, [10], FULMINE, qf=2).y.item() == 3
    assert engine.conv2d(x, -w, [10], GAP8, qf=2).y.item() == 4
    # Turned by 180 degrees: 5 + 6 - 6 + 4 = 9
    assert engine.conv2d(x, w, None, GAP8.with_(flip=True)).y.item() == 9


def test_per_channel_rounding_and_ideal_by_hand():
    x, w = np.array([1, 1, 1])[None, None, None], np.ones((1, 1, 3, 1), int)
    gap8, fulmine = (c.with_(pointwise="engine") for c in (GAP8, FULMINE))
    assert engine.conv2d(x, w, [0], fulmine, qf=1).y.item() == 0  # three times floor(1/2)
    assert engine.conv2d(x, w, [0], gap8, qf=1).y.item() == 3  # three times 1/2 up
    assert engine.conv2d(x, w, [0], gap8.with_(ideal=True), qf=1).y.item() == 2  # 3/2 up
    # On the cores, once, as their program says: it need not round as the engine beside them.
    assert engine.conv2d(x, w, [0], FULMINE, qf=1).y.item() == 2
    assert engine.conv2d(x, w, [0], FULMINE.with_(cores_half_up=False), qf=1).y.item() == 1


def test_order_matters_under_saturation():
    """The same three numbers in two orders: the witness that sums must be taken in order."""
    w = np.ones((3, 3, 3, 1), int)
    w[:] = 0
    w[1, 1] = 1
    x = np.zeros((1, 3, 3, 3), int)
    x[0, 1, 1] = [30000, 10000, -20000]
    first = engine.conv2d(x, w, None, GAP8)
    second = engine.conv2d(x[..., [0, 2, 1]], w, None, GAP8)
    assert (first.y.item(), counts(first)[:2]) == (12767, (1, 1))
    assert (second.y.item(), counts(second)[:2]) == (20000, (0, 0))


def test_groups_saturate_less_often():
    w = np.zeros((3, 3, 4, 1), int)
    w[1, 1] = 1
    x = np.zeros((1, 3, 3, 4), int)
    x[0, 1, 1] = [30000, 30000, -20000, -20000]
    assert engine.conv2d(x, w, None, GAP8).y.item() == -7233  # clipped at 32767
    assert engine.conv2d(x, w, None, NEURAGHE).y.item() == 20000


def test_two_roundings_of_a_7x7():
    """Half a step in either 7x4 pass: two roundings make 2 of what a single one makes 1."""
    x = np.ones((1, 7, 7, 1), int)
    w = np.zeros((7, 7, 1, 1), int)
    w[0, 0] = w[6, 6] = 1
    assert engine.conv2d(x, w, None, GAP8, qf=1).y.item() == 2
    assert engine.conv2d(x, w, None, IDEAL, qf=1).y.item() == 1
    assert engine.conv2d(x, w, None, FULMINE, qf=1).y.item() == 0


@given(layers(weight_bits=st.just(8)))
def test_without_shift_and_saturation_it_is_a_convolution(layer):
    (x, w, _, config), _ = layer
    x, w = x % 16, w % 4 - 2  # small enough for any order: 121 taps · 4 channels · 15 · 2 < 32768
    config = config.with_(unsigned=False, flip=False)
    y = engine.conv2d(x, w, None, config, stride=2, weight_bits=8).y
    np.testing.assert_array_equal(y, plain(x, w, stride=2))


@given(layers(weight_bits=st.just(16)))
def test_flip_is_a_turned_filter(layer):
    (x, w, bias, config), settings = layer
    turned = engine.conv2d(x, w[::-1, ::-1], bias, config.with_(flip=not config.flip), **settings)
    straight = engine.conv2d(x, w, bias, config, **settings)
    # The passes of a large filter follow the turned filter's own order: same bits.
    np.testing.assert_array_equal(turned.y, straight.y)


@given(layers(kernels=[(3, 3), (5, 5)], weight_bits=st.sampled_from([4, 8])))
def test_every_lane_is_a_scalar_run(layer):
    """1x16, 2x8 and 4x4: the maps that share a weight word do not touch each other."""
    (x, w, bias, config), settings = layer
    w = np.concatenate([w, -(w + 1), w // 2, w[::-1]], axis=3)
    bias = None if bias is None else np.tile(bias, 4)
    together = engine.conv2d(x, w, bias, config, **settings)
    alone = [
        engine.conv2d(x, w[..., [k]], None if bias is None else bias[[k]], config, **settings)
        for k in range(w.shape[3])
    ]
    np.testing.assert_array_equal(together.y, np.concatenate([r.y for r in alone], axis=3))
    assert together.saturations == sum(r.saturations for r in alone)


@given(st.integers(5, 80), st.sampled_from([(3, 3), (5, 5), (7, 4)]), st.data())
def test_stripes_do_not_change_bits(width, kernel, data):
    x = data.draw(codes((1, 8, width, 2), -32768, 32767))
    w = data.draw(codes((*kernel, 2, 2), -128, 127))
    whole = engine.conv2d(x, w, [5, -7], GAP8, qf=9).y
    strips = tiling.stripes(width, kernel, GAP8)
    parts = [
        engine.conv2d(x[:, :, s.first : s.first + s.width], w, [5, -7], GAP8, qf=9).y
        for s in strips
    ]
    assert [p.shape[2] for p in parts] == [s.outputs for s in strips]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), whole)


@given(layers(kernels=[(3, 3), (7, 7)], weight_bits=st.just(16)))
def test_channels_in_two_calls_are_one_call(layer):
    """y_in may be a map: the words of the first channels are where the others go on."""
    (x, w, bias, config), settings = layer
    config = config.with_(acc_group=1, ideal=False)
    settings["output_bits"] = 16
    whole = engine.conv2d(x, w, bias, config, **settings)
    first = engine.conv2d(x[..., :1], w[:, :, :1], bias, config, **settings)
    if x.shape[-1] == 1:
        return
    rest = engine.conv2d(x[..., 1:], w[:, :, 1:], first.y, config, **settings)
    np.testing.assert_array_equal(rest.y, whole.y)
    assert first.saturations + rest.saturations == whole.saturations


@given(layers(kernels=[(3, 3), (5, 5)], weight_bits=st.just(8)))
def test_ideal_is_within_a_step_of_every_channel_where_nothing_saturates(layer):
    (x, w, _, config), settings = layer
    settings |= {"output_bits": 16, "qf": 20}
    config = config.with_(unsigned=False, acc_group=1)
    x = np.clip(x, -32768, 32767)
    exact = engine.conv2d(x, w, None, config.with_(ideal=True), **settings).y
    words = engine.conv2d(x, w, None, config.with_(ideal=False), **settings).y
    # Up to a step is lost a channel, and one by the ideal rounding itself.
    assert np.abs(exact.astype(int) - words).max() <= x.shape[-1] + 1


def test_unsigned_words_stop_at_zero_after_every_channel():
    w = np.zeros((3, 3, 2, 1), int)
    w[1, 1] = [[-1], [1]]
    x = np.zeros((1, 3, 3, 2), int)
    x[0, 1, 1] = [5, 65535]
    r = engine.conv2d(x, w, None, GAP8.with_(unsigned=True))
    assert (r.y.item(), r.y.dtype, r.saturations) == (65535, np.int32, 1)


def test_the_cores_register_wraps_and_says_so():
    x, w = np.full((1, 1, 1, 2), -32768), np.full((1, 1, 2, 1), -32768)  # 2 · 2^30 = 2^31
    for backend in ("blas", "reference"):
        r = engine.conv2d(x, w, [0], FULMINE, qf=20, backend=backend)
        assert (r.y.item(), r.overflows) == (-2048, 1)
        assert engine.conv2d(x, w, [0], IDEAL, qf=20, backend=backend).y.item() == 2048
    # y_in needs more digits than float32 has, though the products would not.
    r = engine.conv2d(x // 32768, w // 32768, [21], FULMINE, qf=26)
    assert (r.y.item(), r.overflows) == (21, 0)


def test_a_finer_bias_where_the_sum_is_rounded_once():
    x, w = np.full((1, 1, 1, 1), 3), np.ones((1, 1, 1, 1), int)
    # 3/8 + 5/8 = 1, exactly; a bias of whole steps could only give 3/8 + 1.
    for config in (IDEAL, FULMINE):
        for backend in ("blas", "reference"):
            r = engine.conv2d(x, w, [5], config, qf=3, bias_shift=3, backend=backend)
            assert r.y.item() == 1
    with pytest.raises(ValueError, match="bias_shift is 1, expected 0: the engine"):
        engine.conv2d(
            np.ones((3, 3, 1), int), np.ones((3, 3, 1, 1), int), [1], GAP8, qf=1, bias_shift=1
        )
    with pytest.raises(ValueError, match="0 to 1"):
        engine.conv2d(x, w, [1], IDEAL, qf=1, bias_shift=2)


@pytest.mark.parametrize("channels, part", [(1, blas), (2, stepwise)])
def test_the_type_is_chosen_by_the_bound(monkeypatch, channels, part):
    seen = []
    original = part.exact_type
    monkeypatch.setattr(part, "exact_type", lambda *a: seen.append(original(*a)) or seen[-1])
    x, w = np.full((1, 3, 3, channels), 2**15 - 1), np.zeros((3, 3, channels, 1), int)
    w[1, 1, 0], w[0, 0, 0] = 508, 1
    engine.conv2d(x, w, None, GAP8)  # 509 · 32767 + 2^16 < 2^24
    w[2, 2, 0] = 4
    engine.conv2d(x, w, None, GAP8)  # 513 · 32767 > 2^24
    engine.conv2d(x, -w, None, GAP8)  # as far below zero
    engine.conv2d(-x, w, None, GAP8)
    assert seen == [np.float32, *[np.float64] * 3]


@pytest.mark.parametrize("channels", [1, 2])
def test_no_exact_type_is_an_error(monkeypatch, channels):
    monkeypatch.setattr(exact, "EXACT", dict.fromkeys(exact.EXACT, 2**24))
    x, w = np.full((3, 3, channels), -32768), np.full((3, 3, channels, 1), -32768)
    with pytest.raises(OverflowError, match="backend='reference'"):
        engine.conv2d(x, w, None, GAP8, qf=16)


def test_a_window_on_its_way_through_the_engine():
    x, w = np.full((3, 3, 2), 100), np.full((3, 3, 2), 60)
    w[..., 1] = -50
    first, second = engine.trace(x, w, 32000, GAP8, qf=4)
    assert (first.channels, first.products, first.shifted) == ((0, 1), 54000, 32000 + 3375)
    assert (first.y_in, first.y, second.y_in) == (32000, 32767, 32767)
    assert (second.products, second.y) == (-45000, 32767 - 2812)  # -2812.5, halves upwards
    assert second.y == engine.conv2d(x, w[..., None], [32000], GAP8, qf=4).y.item()
    with pytest.raises(ValueError, match="differ"):
        engine.trace(x, w[:2], 0)


def test_padding_as_tensorflow_and_explicit_are_the_same():
    x = np.arange(36).reshape(1, 6, 6, 1)
    w = np.arange(9).reshape(3, 3, 1, 1)
    same = engine.conv2d(x, w, padding="same", stride=2).y
    explicit = engine.conv2d(x, w, padding=((0, 1), (0, 1)), stride=2).y
    np.testing.assert_array_equal(same, explicit)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    np.testing.assert_array_equal(same, plain(padded, w, 2))


def test_an_image_alone_is_an_image_in_a_batch():
    x, w = np.ones((4, 4, 2), int), np.ones((3, 3, 2, 5), int)
    assert engine.conv2d(x, w).y.shape == (2, 2, 5)
    assert engine.conv2d(x[None], w).y.shape == (1, 2, 2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_codes": np.ones((3, 3, 1))}, "x_codes are float64, expected integer codes"),
        ({"x_codes": np.full((3, 3, 1), 40000)}, "expected -32768 to 32767"),
        ({"w_codes": np.full((3, 3, 1, 1), 8), "weight_bits": 4}, "weights have 4 bits"),
        ({"w_codes": np.ones((3, 3, 2, 1), int)}, "x_codes have 1 channels, the filters 2"),
        ({"w_codes": np.ones((5, 5, 1, 1), int)}, "5x5 filter does not fit into an input of 3x3"),
        ({"bias": [1, 2]}, r"bias is \(2,\), expected \(1,\)"),
        ({"bias": [70000]}, "y_in is one word"),
        ({"qf": 32}, "qf is 32, expected 0 to 31"),
        ({"qf": -1}, "qf is -1"),
        ({"stride": 0}, "stride"),
        ({"padding": "full"}, "padding is 'full'"),
        ({"weight_bits": 17}, "weight_bits is 17"),
        ({"output_bits": 0}, "output_bits is 0"),
        ({"backend": "cuda"}, "'blas' or 'reference'"),
        ({"x_codes": np.ones((0, 3, 3, 1), int)}, "none of them empty"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x_codes": np.ones((3, 3, 1), int), "w_codes": np.ones((3, 3, 1, 1), int)}
    with pytest.raises(ValueError, match=message):
        engine.conv2d(**(arguments | change))


def test_presets_are_the_documented_engines():
    """Everything that HWCE.md and the sources give for an engine, as literal numbers."""
    for config in PRESETS.values():
        hardware = config.line_buffer, config.stripe_3x3, config.ports, config.drain
        assert hardware == (32, 30, 4, 10)
        assert config.acc_group == (4 if config is NEURAGHE else 1)
        assert not config.flip and not config.unsigned
        assert config.ideal == (config is IDEAL) and config.experimental == (config is VEGA)
        assert config.half_up == (config not in (FULMINE, NEURAGHE))
        assert config.contention == ((1, 1.07, 1.07, 1.57) if config is FULMINE else (1, 1, 1, 1))
        assert config.pointwise == "cores" and config.cores_half_up
    kilobytes = {name: (c.l1_bytes / 1024, c.l2_bytes / 1024) for name, c in PRESETS.items()}
    assert kilobytes["gap8"] == (64, 512) and kilobytes["fulmine"] == (64, 192)
    assert kilobytes["vega"] == (128, 1536)
    assert (GAP8.core_macs_per_cycle, FULMINE.core_macs_per_cycle) == (8, 4)
    assert GAP8.native == VEGA.native == IDEAL.native == ((3, 3), (5, 5), (7, 4))
    assert FULMINE.native == ((5, 5),) and NEURAGHE.native == ((3, 3), (5, 5))
    assert GAP8.lanes_3x3 == (3, 2, 4)


def test_presets():
    assert not FULMINE.half_up and FULMINE.native == ((5, 5),)
    assert GAP8.half_up and (3, 3) in GAP8.native
    assert NEURAGHE.acc_group > 1 and IDEAL.ideal and VEGA.experimental
    assert hwce.preset("gap8", flip=True).flip
    with pytest.raises(ValueError, match="fulmine, gap8, vega, neuraghe, ideal"):
        hwce.preset("gap9")
    with pytest.raises(ValueError, match="pointwise"):
        GAP8.with_(pointwise="gpu")
    with pytest.raises(ValueError, match="acc_group"):
        GAP8.with_(acc_group=0)
    assert len({GAP8, GAP8.with_(flip=True)}) == 2
