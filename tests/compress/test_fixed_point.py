import warnings

import numpy as np
import pytest
import tensorflow as tf

from labkit import hwce, measure
from labkit.compress import fixed_point, post_training
from labkit.compress.fixed_point import (
    QuantClip,
    QuantizedConv2D,
    measured_ranges,
    portable,
    quantclip,
)
from labkit.hwce.formats import MODES, QFormat

layers = tf.keras.layers


def normal(*shape, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("bits", "msb"), [(16, 0), (8, 0), (6, 2), (4, -1), (2, 1)])
def test_quantclip_is_the_format(mode, bits, msb):
    x = np.concatenate([normal(2000), [0, 1, -1, 0.5, -0.5, 1e30, -1e30]]).astype(np.float32)
    expected = QFormat(bits, msb).quantize(x, mode)
    np.testing.assert_array_equal(quantclip(tf.constant(x), msb, bits, mode).numpy(), expected)


def test_quantclip_by_hand():
    """Thesis, equations 7 to 10: n = 3, msb = 0, so A = 1 and q = 1/4."""
    y = quantclip(tf.constant([0.3, -0.3, 2.0, -2.0]), msb=0, nbits=3).numpy()
    assert y.tolist() == [0.25, -0.5, 1.0, -1.0]
    with pytest.raises(ValueError, match="thesis, floor, nearest"):
        quantclip(tf.constant([0.0]), 0, 8, "round")


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_that_of_the_clipping(mode):
    x = tf.constant([-1.5, -1.0, -0.3, 0.0, 0.7, 1.0, 1.5])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(quantclip(x, 0, 3, mode) * [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert tape.gradient(y, x).numpy().tolist() == [0, 2, 3, 4, 5, 6, 0]


def test_gradients_of_a_layer_by_hand():
    """One 1x1 weight 0.3, inputs 0.6 and 3: products of quantised numbers, clipped ones pass 0."""
    layer = QuantizedConv2D(1, 1, (3, 0), (3, 0), (8, 1), mode="nearest")
    x = tf.constant([0.6, 3.0], shape=(1, 1, 2, 1))
    layer.build(x.shape)
    layer.set_weights([np.full((1, 1, 1, 1), 0.3, np.float32), np.array([0.1], np.float32)])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y)
    dx, (dw, db) = tape.gradient(loss, (x, layer.trainable_weights))[0], tape_gradients(layer, x)
    # w = 0.25, x = 0.5 and 0.75 (the largest code of 3 bits), bias 2/16 (steps of 1/4 · 1/4)
    np.testing.assert_allclose(y.numpy().ravel(), [0.125 + 0.125, 0.1875 + 0.125])
    assert dx.numpy().ravel().tolist() == [0.25, 0.0]  # 3 is beyond ±1
    assert dw.numpy().item() == 0.5 + 0.75
    assert db.numpy().item() == 2.0


def tape_gradients(layer, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True))
    return tape.gradient(loss, layer.trainable_weights)


def network(mode, bits, msb=(0, 1, 2), **arguments):
    """Every kind of layer that may stand between two convolutions."""
    tf.keras.utils.set_random_seed(1)
    pairs = tuple(zip(bits, msb, strict=True))

    def convolution(filters, size, **more):
        noise = tf.keras.initializers.RandomNormal(stddev=0.3)
        return QuantizedConv2D(
            filters, size, *pairs, mode=mode, bias_initializer=noise, **arguments, **more
        )

    x = inputs = tf.keras.Input((17, 19, 3))
    x = convolution(8, 3, strides=2, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D(3, 2)(x)
    a = convolution(4, 1, activation="relu")(x)
    b = layers.ReLU()(convolution(6, 3, padding="same")(x))
    x = layers.Dropout(0.5)(layers.Concatenate()([a, b]))
    x = convolution(5, 5, padding="same")(x)
    return tf.keras.Model(inputs, x)


BITS = [(8, 8, 8), (16, 16, 16), (4, 4, 16), (8, 16, 6)]


@pytest.mark.filterwarnings("ignore::labkit.hwce.formats.EmulatedPrecisionWarning")
@pytest.mark.parametrize("mode", ["floor", "nearest"])
@pytest.mark.parametrize("bits", BITS, ids=str)
def test_the_twin_is_the_emulator_bit_for_bit(mode, bits):
    model = network(mode, bits)
    x = normal(3, 17, 19, 3)
    report = hwce.run(model, x, hwce.Plan.from_layers(model, hwce.IDEAL))
    np.testing.assert_array_equal(model.predict(x, verbose=0), report.outputs)


def test_the_twin_on_sums_beyond_float32():
    """512 channels of 16 bits: float32 would round, so the layer sums in float64."""
    layer = QuantizedConv2D(4, 3, (16, 0), (16, 0), (16, 4), mode="nearest")
    model = tf.keras.Sequential([tf.keras.Input((4, 4, 512)), layer])
    layer.set_weights([normal(3, 3, 512, 4, scale=0.2), normal(4)])
    x = normal(2, 4, 4, 512, scale=0.4)
    emulated = hwce.run(model, x, hwce.Plan.from_layers(model, hwce.IDEAL)).outputs
    np.testing.assert_array_equal(model.predict(x, verbose=0), emulated)
    layer.exact = False
    assert (layer(x).numpy() != emulated).any()


def test_training_goes_through_the_same_grid():
    model = network("nearest", (8, 8, 8))
    x = normal(2, 17, 19, 3)
    codes = model(x, training=True).numpy() / 2.0**-5  # 8 bits, msb 2
    np.testing.assert_array_equal(codes, np.round(codes))


def test_it_learns():
    model = tf.keras.Sequential(
        [
            tf.keras.Input((6, 6, 1)),
            QuantizedConv2D(4, 3, (4, 0), (8, 1), (8, 2), activation="relu"),
            QuantizedConv2D(1, 4, (4, 0), (8, 2), (8, 3)),
        ]
    )
    x = normal(256, 6, 6, 1, scale=0.5)
    y = x.mean(axis=(1, 2, 3), keepdims=True) * 8
    model.compile(tf.keras.optimizers.Adam(0.01), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=10, batch_size=32, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before / 2


def test_disabled_it_is_a_convolution():
    tf.keras.utils.set_random_seed(0)
    layer = QuantizedConv2D(3, 3, enabled=False, activation="relu")
    plain = layers.Conv2D(3, 3, activation="relu")
    x = normal(1, 6, 6, 2)
    layer.build(x.shape), plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(x), plain(x))


def test_the_tap_is_the_convolution_before_bias_and_activation():
    layer = QuantizedConv2D(2, 3, (8, 0), (8, 1), (16, 4), activation="relu", tap=True)
    x = normal(1, 5, 5, 3)
    layer.build(x.shape)
    layer.set_weights([layer.get_weights()[0], np.array([5.0, -5.0], np.float32)])
    kernel = QFormat(8, 0).quantize(layer.get_weights()[0], "nearest")
    exact = tf.nn.conv2d(QFormat(8, 1).quantize(x), kernel, 1, "VALID").numpy()
    np.testing.assert_array_equal(layer(x).numpy(), QFormat(16, 4).quantize(exact))
    assert (layer(x).numpy() < 0).any()
    model = tf.keras.Sequential([tf.keras.Input(x.shape[1:]), layer])
    emulated = hwce.run(model, x, hwce.Plan.from_layers(model, hwce.IDEAL)).outputs
    np.testing.assert_array_equal(model.predict(x, verbose=0), emulated)


def test_the_thesis_quantises_before_the_bias():
    layer = QuantizedConv2D(1, 1, (8, 0), (8, 0), (3, 0), mode="thesis")
    x = tf.constant(0.9, shape=(1, 1, 1, 1))
    layer.build(x.shape)
    layer.set_weights([np.full((1, 1, 1, 1), 0.9, np.float32), np.array([0.3], np.float32)])
    # 0.9 -> 115/128, squared 0.807, floor to quarters 0.75; the bias stays 0.3 and is not clipped.
    assert layer(x).numpy().item() == pytest.approx(1.05)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_saved_and_reloaded(tmp_path, suffix):
    model = network("floor", (8, 6, 4), tap=False, exact=False)
    path = tmp_path / f"model{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras on HDF5
        model.save(path)
    again = tf.keras.models.load_model(path)
    x = normal(1, 17, 19, 3)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for one, other in zip(model.layers, again.layers, strict=True):
        if isinstance(one, QuantizedConv2D):
            assert one.get_config() == other.get_config()
            assert other.kernel_format == QFormat(8, 0) and other.mode == "floor"
    assert isinstance(tf.keras.models.clone_model(model).layers[1], QuantizedConv2D)


def test_no_flag_is_lost_in_a_configuration():
    layer = QuantizedConv2D(1, 1, mode="floor", enabled=False, tap=True, exact=False)
    again = QuantizedConv2D.from_config(layer.get_config())
    assert (again.mode, again.enabled, again.tap, again.exact) == ("floor", False, True, False)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_saved_and_reloaded(tmp_path, suffix):
    model, path = network("nearest", (8, 6, 4)), tmp_path / f"weights{suffix}"
    model.save_weights(path)
    again = tf.keras.models.clone_model(model)
    x = normal(1, 17, 19, 3)
    again.set_weights([w + 0.3 for w in model.get_weights()])
    assert (again.predict(x, verbose=0) != model.predict(x, verbose=0)).any()
    again.load_weights(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("mode", MODES)
def test_quantclip_saved_and_reloaded_as_a_layer(tmp_path, suffix, mode):
    layer = QuantClip(5, -1, mode, name="clip")
    model = tf.keras.Sequential([tf.keras.Input((4, 5, 2)), layer])
    path = tmp_path / f"model{suffix}"
    model.save(path)
    again = tf.keras.models.load_model(path)
    x = normal(2, 4, 5, 2)
    expected = QFormat(5, -1).quantize(x, mode)
    np.testing.assert_array_equal(again(x), expected)
    assert again.layers[-1].get_config() == layer.get_config()
    # Without convolutions, the emulator has nothing to do but this.
    np.testing.assert_array_equal(hwce.run(again, x, hwce.Plan({})).outputs, expected)
    with pytest.raises(ValueError, match="mode is 'round'"):
        QuantClip(mode="round")


def test_training_rounds_as_the_twin_does_but_for_halves():
    """In float32: the same steps, and the same codes away from halves."""
    layer = QuantizedConv2D(1, 1, (16, 0), (6, 1), (16, 1), use_bias=False)
    layer.build((None, 1, 1, 1))
    layer.set_weights([np.full((1, 1, 1, 1), 0.5, np.float32)])  # on the grid, and exact
    x = normal(5000, 1, 1, 1, scale=1.2)
    trained, exact = (layer(x, training=training).numpy() for training in (True, False))
    scaled = x / QFormat(6, 1).step
    clear = np.abs(scaled - np.floor(scaled) - 0.5) > 1e-4
    np.testing.assert_array_equal(trained[clear], exact[clear])
    assert np.abs(trained - exact).max() <= 0.5 * QFormat(6, 1).step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "round"}, "mode is 'round'"),
        ({"kernel_format": (1, 0)}, "bits is 1"),
        ({"groups": 2}, "no dilation"),
        ({"dilation_rate": 2}, "no dilation"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantizedConv2D(4, 3, **arguments)


def test_calibrated_formats_cover_what_was_seen():
    images = normal(4, 16, 18, 3)
    model = tf.keras.Sequential([tf.keras.Input((16, 18, 3)), layers.Conv2D(2, 3, name="c")])
    kernel, bias = model.get_weights()
    model.set_weights([kernel * 0 + 0.3, bias])
    found = measured_ranges(model, images).plan((8, 6, 4), config=hwce.FULMINE, mode="floor")
    outputs = np.abs(model.predict(images, verbose=0)).max()
    formats = found.layers["c"]
    assert (formats.kernel, found.mode, found.config) == (QFormat(8, -1), "floor", hwce.FULMINE)
    assert formats.input == QFormat(6, int(np.ceil(np.log2(np.abs(images).max()))))
    assert formats.output == QFormat(4, int(np.ceil(np.log2(outputs))))
    lower = measured_ranges(model, images).plan(percentile=50).layers["c"]
    assert lower.output.msb < formats.output.msb


def test_ranges_of_the_layers_with_formats():
    """Those of plain and quantised convolutions and dense layers, of inner networks too."""
    inner = tf.keras.Sequential([layers.Input((6, 6, 3)), layers.Conv2D(4, 3, name="a")], name="in")
    x = inputs = layers.Input((6, 6, 3))
    x = layers.Conv2DTranspose(2, 3)(inner(x))
    x = layers.Dense(5, name="b")(layers.Flatten()(x))
    model = tf.keras.Model(inputs, x)
    images = normal(3, 6, 6, 3)
    found = measured_ranges(model, images)
    assert set(found.tensors) == {"in/a", "b"}
    kernel, before, after = found.tensors["in/a"]
    assert kernel.shape == (3, 3, 3, 4)
    np.testing.assert_array_equal(before, images)
    np.testing.assert_allclose(after, inner(images), rtol=1e-5)
    least = found.plan((4, 4, 4), None).layers["in/a"]
    assert least.kernel.msb == hwce.msb_of_least_error(kernel, 4)


def test_a_portable_network_computes_what_the_twin_does():
    for mode in MODES:
        model = network(mode, (8, 8, 8))
        x = normal(3, 17, 19, 3)
        copy = portable(model)
        assert not any(getattr(layer, "exact", False) for layer in copy.layers)
        codes = np.rint((copy(x).numpy() - model(x).numpy()) / 2.0**-5)
        assert np.mean(codes != 0) < 0.01 and np.abs(codes).max() <= 1


STORED = {4: ("int4", 3.5), 6: ("int8", 3), 8: ("int8", 3), 12: ("float32", 0)}


@pytest.mark.parametrize(("bits", "kind", "saved"), [(n, *known) for n, known in STORED.items()])
def test_a_file_stores_the_codes_of_the_kernels(bits, kind, saved):
    """And computes what the file of float kernels does, to the last bit."""
    model = network("nearest", (bits, 8, 8))
    x = normal(4, 17, 19, 3)
    packed, plain = fixed_point.convert(model), post_training.convert(portable(model), "float")
    assert measure.inspect(packed).weight_types == (kind,)
    found, expected = (measure.TFLiteModel(content).predict(x) for content in (packed, plain))
    np.testing.assert_array_equal(found, expected)
    count = sum(np.prod(layer.kernel.shape) for layer in model.layers if layer.weights)
    assert len(plain) - len(packed) == pytest.approx(saved * count, abs=2500)


def test_codes_of_a_kernel_are_those_in_the_file():
    """Of a single output, too, whose one channel has one step: a power of two, whichever."""
    conv = QuantizedConv2D(1, 3, (4, -1), (8, 2), (8, 3), name="c")
    model = tf.keras.Sequential([layers.Input((5, 5, 2)), conv])
    [kernel] = measure.weights(fixed_point.convert(model)).values()
    expected = conv.kernel_format.quantize(conv.kernel.numpy())
    factors = np.moveaxis(kernel, 0, -1)[expected != 0] / expected[expected != 0]
    assert len(set(factors)) == 1 and np.log2(factors[0]).is_integer()
    assert not np.moveaxis(kernel, 0, -1)[expected == 0].any()
