"""One window on its way through the engine, cut out of a layer or made by hand."""

import numpy as np
import pytest
import tensorflow as tf

from labkit import hwce
from labkit.hwce.config import FULMINE, GAP8, IDEAL
from labkit.hwce.formats import QFormat, requantize

layers = tf.keras.layers
FORMATS = hwce.LayerPlan(QFormat(8, 0), QFormat(8, 1), QFormat(8, 2))


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(4)
    return tf.keras.Sequential(
        [
            tf.keras.Input((9, 11, 3)),
            layers.Conv2D(6, 3, strides=2, padding="same", bias_initializer="normal", name="first"),
            layers.ReLU(),
            layers.Conv2D(5, 5, padding="same", bias_initializer="normal", name="wide"),
            layers.Conv2D(4, 7, padding="same", use_bias=False, name="seven"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).normal(0, 0.7, (9, 11, 3)).astype(np.float32)


def plan(config, mode="nearest"):
    return hwce.Plan(dict.fromkeys(("first", "wide", "seven", "dense"), FORMATS), config, mode)


def by_hand(config, mode="nearest"):
    """Three channels of one tap: products 3, -2 and 1 half steps, bias of one step."""
    formats = hwce.LayerPlan(QFormat(4, 3), QFormat(16, 14), QFormat(8, 7), QFormat(16, 15))
    x = np.array([[[3, -2, 1]]])
    return hwce.Window(x, np.ones((1, 1, 3)), 1.0, formats, mode).jobs(config)


@pytest.mark.parametrize("config", [GAP8, FULMINE], ids=lambda config: config.name)
@pytest.mark.parametrize("layer", ["first", "wide", "seven"])
def test_a_window_gives_the_output_of_the_run(model, image, config, layer):
    this = plan(config)
    kept = hwce.run(model, image[None], this, keep=[layer]).activations[layer]
    for row, column, output in ((0, 0, 0), (2, 3, 1), (4, 5, 3)):
        w = hwce.window(model, image, this, layer, row, column, output)
        word = w.jobs(config)["y"].iloc[-1]
        assert word == hwce.trace(w.x_codes, w.w_codes, w.bias, config, qf=w.qf)[-1].y
        shift = w.words.fraction_bits - FORMATS.output.fraction_bits
        code = requantize(np.array([int(word)]), shift, FORMATS.output.bits)
        assert code.item() == kept.array[0, row, column, output]


def test_a_dense_layer_is_a_single_tap_of_every_feature(model, image):
    w = hwce.window(model, image, plan(GAP8), "dense", 0, 0, 2)
    assert w.x_codes.shape == w.w_codes.shape == (1, 1, 5 * 6 * 4)
    assert len(w.jobs(GAP8)) == 5 * 6 * 4
    with pytest.raises(ValueError, match="row is 1, expected 0 to 0 in dense"):
        hwce.window(model, image, plan(GAP8), "dense", 1, 0, 2)


def test_no_such_place(model, image):
    with pytest.raises(ValueError, match="no convolution or dense layer 'relu'; there are first"):
        hwce.window(model, image, plan(GAP8), "relu", 0, 0, 0)
    with pytest.raises(ValueError, match="output is 6, expected 0 to 5 in first"):
        hwce.window(model, image, plan(GAP8), "first", 0, 0, 6)
    with pytest.raises(ValueError, match="column is -1"):
        hwce.window(model, image, plan(GAP8), "first", 0, -1, 0)
    with pytest.raises(ValueError, match=r"image is \(1, 9, 11, 3\), expected one"):
        hwce.window(model, image[None], plan(GAP8), "first", 0, 0, 0)
    with pytest.raises(ValueError, match="differ"):
        hwce.Window(np.ones((3, 3, 1), int), np.ones((3, 3)), 0.0, FORMATS)


def test_every_job_by_hand():
    floor, half_up, ideal = (by_hand(config) for config in (FULMINE, GAP8, IDEAL))
    assert floor["exact"].tolist() == [2.5, 1.5, 2.0]
    assert floor["y"].tolist() == [2, 1, 1]
    assert half_up["y"].tolist() == [3, 2, 3]
    assert ideal["y"].tolist() == [2.5, 1.5, 2]
    assert [t["half"].tolist() for t in (floor, half_up, ideal)] == [[0] * 3, [1] * 3, [0, 0, 1]]
    assert half_up["error"].tolist() == [0.5, 0.5, 1]
    assert half_up["y_in"].tolist() == [1, 3, 2]
    assert floor["channels"].tolist() == [(0, 1), (1, 2), (2, 3)]


def test_saturation_shows():
    formats = hwce.LayerPlan(QFormat(16, 15), QFormat(16, 15), QFormat(16, 15))
    x = np.array([[[30000, 30000, -30000]]])
    w = hwce.Window(x, np.ones(x.shape), 0.0, formats)
    jobs = w.jobs(GAP8)
    assert (w.qf, w.bias) == (0, 0)
    assert jobs["y"].tolist() == [30000, 32767, 2767]
    assert jobs["saturated"].tolist() == [False, True, False]
    assert jobs["shifted"].tolist() == [30000, 60000, 2767]
    ideal = w.jobs(IDEAL)
    assert ideal["y"].tolist() == [30000, 60000, 30000] and not ideal["saturated"].any()


def test_other_weight_bits_keep_range_and_words():
    formats = hwce.LayerPlan(QFormat(8, -1), QFormat(16, 2), QFormat(8, 4))
    w = hwce.Window(np.ones((1, 1, 1), int), np.full((1, 1, 1), 0.3), 0.5, formats)
    widths = {bits: w.with_weight_bits(bits) for bits in (16, 8, 4)}
    assert {bits: v.w_codes.item() for bits, v in widths.items()} == {16: 19661, 8: 77, 4: 5}
    assert {v.words for v in widths.values()} == {QFormat(16, 4)}
    assert widths[16].qf == widths[8].qf + 8 == widths[4].qf + 12


def test_the_passes_of_a_large_filter_are_jobs_of_their_own(model, image):
    w = hwce.window(model, image, plan(GAP8), "seven", 2, 2, 0)
    assert len(w.jobs(GAP8)) == 2 * 5
    assert w.jobs(GAP8)["channels"].tolist()[:3] == [(0, 1), (0, 1), (1, 2)]
    assert w.jobs(IDEAL)["exact"].iloc[-1] == w.jobs(GAP8)["exact"].iloc[-1]
