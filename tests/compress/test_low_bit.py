"""Weights of few bits: QKeras's rounding against hand-computed cases, and codes in real files."""

import numpy as np
import pytest
import tensorflow as tf

from labkit import measure, training

FOUR_BITS = "quantized_bits(4,0,1,alpha=1)"


@pytest.fixture(scope="module")
def low_bit():
    from labkit.compress import low_bit

    return low_bit


@pytest.fixture(scope="module")
def four_bit(low_bit, small_model):
    return low_bit.quantize(small_model)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((32, 28, 28, 1)).astype(np.float32)


def test_quantized_bits_by_hand(low_bit):
    x = [0.0, 0.06, 0.07, -0.3, 0.9, -5.0]
    expected = [0, 0, 0.125, -0.25, 0.875, -0.875]
    np.testing.assert_allclose(low_bit.rounded(FOUR_BITS, x), expected)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quantized_bits(4,0,0,alpha=1)", np.arange(-8, 8) / 8),
        (FOUR_BITS, np.arange(-7, 8) / 8),
        ("quantized_bits(3,1,1,alpha=1)", np.arange(-3, 4) / 2),
        ("binary(alpha=1)", [-1, 1]),
        ("ternary(alpha=1)", [-1, 0, 1]),
        ("bernoulli(alpha=1)", [0, 1]),
        ("quantized_relu(4,2)", np.arange(16) / 4),
        ("quantized_tanh(4,0,1)", np.arange(-7, 8) / 8),
    ],
)
def test_values_of_a_quantizer(low_bit, name, values):
    np.testing.assert_allclose(low_bit.quantizer_values(name), values)


def test_powers_of_two_have_no_zero(low_bit):
    found = low_bit.quantizer_values("quantized_po2(4)")
    assert 0 not in found and len(found) <= 16
    np.testing.assert_array_equal(np.log2(np.abs(found)) % 1, 0)


def test_powers_of_two_with_a_zero(low_bit):
    quantiser = low_bit.Po2WithZero(4, 1)
    x = tf.constant([0.0, 0.3, -0.7, 1e-9])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantiser(x)
    np.testing.assert_allclose(y, [0, 0.25, -0.5, 2**-8], rtol=1e-4)
    np.testing.assert_allclose(tape.gradient(y, x), 1)


def test_a_pruned_kernel_of_powers_of_two_keeps_its_zeros(tiny_data, recipe):
    """Through `tfmot`'s copies of the layers, which are made from their configuration."""
    import qkeras

    from labkit.compress import low_bit, pruning

    kernels = low_bit.Po2WithZero(4, 1)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1)),
            tf.keras.layers.Flatten(),
            qkeras.QDense(24, kernel_quantizer=kernels, bias_quantizer="quantized_bits(8,1)"),
            tf.keras.layers.Softmax(),
        ]
    )
    pruned = pruning.prune(model, 0.9, end=1, frequency=1)
    training.fit(pruned, tiny_data, recipe.but(epochs=3), callbacks=pruning.callbacks())
    layer = pruning.strip(pruned).layers[1]
    values = np.asarray(layer.get_quantizers()[0](layer.kernel))
    assert np.mean(values == 0) == pytest.approx(0.9, abs=0.01)
    exponents = np.log2(np.abs(values[values != 0]))
    np.testing.assert_allclose(exponents, np.round(exponents), atol=1e-4)


def test_stochastic_quantizers_draw_in_training_only_and_repeat(low_bit):
    x = np.random.default_rng(0).normal(0, 0.02, (64, 8)).astype(np.float32)
    for name in ("stochastic_ternary(alpha='auto')", "stochastic_binary(alpha='auto')"):
        plain = name.replace("stochastic_", "")
        drawn = low_bit.rounded(name, x, training=True, seed=3)
        np.testing.assert_array_equal(drawn, low_bit.rounded(name, x, training=True, seed=3))
        assert (drawn != low_bit.rounded(name, x, training=True, seed=4)).any()
        np.testing.assert_array_equal(low_bit.rounded(name, x), low_bit.rounded(plain, x))


def test_an_unknown_quantizer_is_an_error(low_bit, small_model):
    with pytest.raises(ValueError, match="four_bits"):
        low_bit.quantize(small_model, weights="four_bits(4)")


def test_scale_of_a_ternary_kernel_by_hand(low_bit):
    """(3, 1, -3, 0) points most nearly along (1, 0, -1, 0), at the scale 3: 18 / 2 / 3."""
    kernel = np.array([[3.0], [1.0], [-3.0], [0.0]], np.float32)
    divisor, scale = low_bit.fitted_scale(kernel, low_bit.quantizer("ternary(alpha=1)"))
    assert scale.item() == pytest.approx(3.0)
    ternary = low_bit.rounded("ternary(alpha=1)", kernel / divisor)
    np.testing.assert_array_equal(ternary.ravel(), [1, 0, -1, 0])


def test_the_model_is_not_changed(low_bit, small_model, images):
    before = small_model.get_weights()
    model = low_bit.quantize(small_model)
    for layer in model.layers:
        layer.set_weights([w + 1 for w in layer.get_weights()])
    for a, b in zip(before, small_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sixteen_bits_compute_what_the_float_model_does(low_bit, small_model, images):
    """The scales move between kernels and normalisations, and the function stays."""
    wide = "quantized_bits(16,0,1,alpha=1)"
    model = low_bit.quantize(small_model, wide, wide)
    kernels = [layer.kernel.numpy() for layer in low_bit.quantized_layers(model)]
    assert all(
        not np.allclose(k, small_model.get_layer(n).kernel)
        for k, n in zip(kernels, ("conv1", "conv2", "letter"), strict=True)
    )
    expected = small_model.predict(images, verbose=0)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=2e-3)


def test_statistics_are_measured_through_the_rounding(low_bit, small_model, images):
    rounded = low_bit.quantize(small_model)
    weights = rounded.get_weights()
    seen = np.concatenate([images] * 100)
    new = low_bit.with_new_statistics(rounded, seen, batch=len(images))
    convolved = tf.keras.Model(new.input, new.get_layer("conv1").output)
    sums = convolved.predict(images, verbose=0).reshape(-1, 8)
    np.testing.assert_allclose(new.get_layer("norm1").moving_mean, sums.mean(axis=0), atol=0.01)
    for old, kept in zip(rounded.trainable_variables, new.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, kept)
    for before, after in zip(weights, rounded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_fitted_scales_round_closer(low_bit, small_model, images):
    """Kernels too small for the grid vanish; scaled, they keep their direction."""
    import tensorflow as tf

    small = tf.keras.models.clone_model(small_model)
    small.set_weights(small_model.get_weights())
    kernel = small.get_layer("conv2").kernel
    norm = small.get_layer("norm2")
    kernel.assign(kernel / 50)
    norm.moving_mean.assign(norm.moving_mean / 50)
    norm.moving_variance.assign(norm.moving_variance / 2500)
    as_it_is = low_bit.quantize(small, fit_scale=False)
    fitted = low_bit.quantize(small)
    assert not low_bit.codes(as_it_is.get_layer("conv2")).values.any()
    codes = low_bit.codes(fitted.get_layer("conv2")).values
    cosine = (codes * kernel.numpy()).sum() / np.linalg.norm(codes) / np.linalg.norm(kernel)
    assert cosine > 0.98


def test_activations_are_quantised_where_asked(low_bit, small_model, images):
    import tensorflow as tf

    model = low_bit.quantize(small_model, activations="quantized_relu(4,2)")
    inner = tf.keras.Model(model.input, model.get_layer("relu1").output)
    steps = 4 * inner.predict(images, verbose=0)
    np.testing.assert_array_equal(steps, np.round(steps))
    assert steps.min() >= 0 and steps.max() <= 15
    with pytest.raises(ValueError, match="relu1"):
        low_bit.convert(model)


def test_fine_tuning_moves_the_codes_and_keeps_them_codes(low_bit, small_model, tiny_data, recipe):
    model = low_bit.quantize(small_model)
    before = low_bit.codes(model.get_layer("conv2")).values.copy()
    with low_bit.training():
        history = training.fit(model, tiny_data, recipe.but(learning_rate=0.02))
    after = low_bit.codes(model.get_layer("conv2"))
    assert len(history["loss"]) == 1
    assert (after.values != before).any()
    assert np.abs(after.values).max() <= 7
    quantise = model.get_layer("conv2").kernel_quantizer_internal
    np.testing.assert_allclose(
        after.step * after.values, quantise(model.get_layer("conv2").kernel), atol=1e-7
    )


def test_stochastic_training_is_stochastic(low_bit, small_model, tiny_data, recipe):
    """Keras 2 does not tell the quantiser that it trains; `low_bit.training` does."""
    ends = []
    for name in ("ternary(alpha='auto')", "stochastic_ternary(alpha='auto')"):
        model = low_bit.quantize(small_model, name)
        with low_bit.training():
            training.fit(model, tiny_data, recipe)
        ends.append(model.get_layer("conv2").kernel.numpy())
    assert (ends[0] != ends[1]).any()


@pytest.mark.parametrize("name", ["four_bit.h5", "four_bit.keras"])
def test_saved_and_loaded(low_bit, four_bit, images, tmp_path, name):
    path = low_bit.save(four_bit, tmp_path / name)
    again = low_bit.load(path)
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), four_bit.predict(images, verbose=0)
    )


def test_bits_by_hand(low_bit, small_model, four_bit):
    """conv1 72, conv2 576, letter 192 weights and 24 biases."""
    table = low_bit.bits(four_bit)
    assert table["size (bits)"].sum() == 4 * (72 + 576 + 192 + 24)
    assert table["size at 32 bits (bits)"].sum() == 32 * (72 + 576 + 192 + 24)
    ternary = low_bit.bits(low_bit.quantize(small_model, "ternary(alpha=1)"))
    assert ternary["size (bits)"].sum() == 2 * (72 + 576 + 192) + 4 * 24


@pytest.mark.parametrize(
    ("weights", "mode"),
    [(FOUR_BITS, "weight_only"), ("quantized_bits(4,0,1,alpha='auto')", "dynamic_range")],
)
def test_the_file_holds_the_same_codes(low_bit, small_model, images, weights, mode):
    model = low_bit.quantize(small_model, weights)
    content = low_bit.convert(model, 4, mode)
    assert measure.inspect(content).weight_types == ("int4",)
    assert_same_codes(low_bit, model, content)
    if mode == "weight_only":
        outputs = measure.TFLiteModel(content).predict(images)
        np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.parametrize("weights", ["ternary(alpha=1)", "binary(alpha=1)"])
def test_two_bits(low_bit, small_model, images, weights):
    model = low_bit.quantize(small_model, weights)
    content = low_bit.convert(model, 2)
    assert measure.inspect(content).weight_types == ("int2",)
    assert_same_codes(low_bit, model, content)
    outputs = measure.TFLiteModel(content).predict(images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)
    with pytest.raises(ValueError, match="NaN"):
        low_bit.convert(model, 2, "dynamic_range")


def test_a_negative_gamma_turns_the_codes_round(low_bit, small_model, images):
    model = low_bit.quantize(small_model)
    norm = model.get_layer("norm1")
    norm.gamma.assign(-norm.gamma)
    content = low_bit.convert(model)
    outputs = measure.TFLiteModel(content).predict(images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)
    stored = stored_codes(content)["conv1"]
    np.testing.assert_array_equal(stored, -low_bit.codes(model.get_layer("conv1")).values)


def test_four_bit_codes_do_not_fit_into_two(low_bit, four_bit):
    with pytest.raises(ValueError, match="-7 to 7"):
        low_bit.convert(four_bit, bits=2)
    with pytest.raises(ValueError, match="3"):
        low_bit.convert(four_bit, bits=3)


def test_powers_of_two_have_no_codes(low_bit, small_model):
    with pytest.raises(ValueError, match="quantized_po2"):
        low_bit.convert(low_bit.quantize(small_model, "quantized_po2(4)"))


def test_fewer_bits_take_less_energy(low_bit, small_model):
    totals = [
        low_bit.energy(low_bit.quantize(small_model, weights, activations=relu))["total (nJ)"].sum()
        for weights, relu in [
            ("quantized_bits(8,0,1,alpha=1)", "quantized_relu(8,2)"),
            (FOUR_BITS, "quantized_relu(4,2)"),
            ("ternary(alpha=1)", "quantized_relu(4,2)"),
        ]
    ]
    assert totals[0] > totals[1] > totals[2] > 0


def stored_codes(content):
    """The weight codes of a file by layer, in Keras's layout."""
    inspection = measure.inspect(content)
    rows = inspection.weights[inspection.weights["role"] == "weight"]
    tensors = inspection.graph.tensors
    return {r.layer: np.moveaxis(tensors[r.tensor].codes, 0, -1) for r in rows.itertuples()}


def assert_same_codes(low_bit, model, content):
    stored = stored_codes(content)
    for layer in low_bit.quantized_layers(model):
        values = low_bit.codes(layer).values
        np.testing.assert_array_equal(np.abs(stored[layer.name]), np.abs(values))
        signs = (stored[layer.name] * values).reshape(-1, values.shape[-1])
        assert ((signs >= 0).all(axis=0) | (signs <= 0).all(axis=0)).all()


def test_a_bias_before_a_normalisation_goes_into_its_mean(low_bit):
    """The kernel is scaled and the normalisation makes up for it: for the bias, too."""
    import tensorflow as tf

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 0.8, w.shape) for w in model.get_weights()])
    x = rng.random((4, 8, 8, 1)).astype(np.float32)
    sixteen = "quantized_bits(16,0,1,alpha=1)"
    np.testing.assert_allclose(low_bit.quantize(model, sixteen, sixteen)(x), model(x), atol=1e-3)
