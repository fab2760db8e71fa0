import numpy as np
import pytest
import tensorflow as tf

from labkit import measure
from labkit.compress import calibration, post_training

layers = tf.keras.layers


def test_ranges_contain_what_the_layers_give(sign_model, tiny_data):
    ranges = calibration.activation_ranges(sign_model, tiny_data.x_train)
    assert list(ranges.index) == ["image", "relu1", "relu2", "relu3", "relu4"]
    assert ranges.loc["image", "min"] == tiny_data.x_train.min()
    assert ranges.loc["image", "max"] == tiny_data.x_train.max()
    assert (ranges["min"] <= ranges["p0.5"]).all() and (ranges["p99.5"] <= ranges["max"]).all()
    assert (ranges.loc["relu1":, "min"] == 0).all()


@pytest.mark.parametrize("factor", [0.25, 256])
@pytest.mark.parametrize("layer", ["norm1", "norm2", "norm3", "norm4"])
def test_stretching_keeps_the_function(sign_model, tiny_data, layer, factor):
    stretched = calibration.stretch_channel(sign_model, layer, 3, factor)
    expected = sign_model.predict(tiny_data.x_test, verbose=0)
    np.testing.assert_allclose(stretched.predict(tiny_data.x_test, verbose=0), expected, atol=1e-5)


def test_stretching_stretches_one_channel(sign_model, tiny_data):
    relu = sign_model.get_layer("relu2").output
    values = tf.keras.Model(sign_model.input, relu).predict(tiny_data.x_train, verbose=0)
    loudest = int(values.max(axis=(0, 1, 2)).argmax())
    before = calibration.activation_ranges(sign_model, tiny_data.x_train)
    stretched = calibration.stretch_channel(sign_model, "norm2", loudest, 1000)
    after = calibration.activation_ranges(stretched, tiny_data.x_train)
    factors = after["max"] / before["max"]
    assert factors["relu2"] == pytest.approx(1000, rel=1e-4)
    for other in ("image", "relu1", "relu3", "relu4"):
        assert factors[other] == pytest.approx(1, rel=1e-4)


def test_all_normalisations_of_the_baseline_can_be_stretched(sign_model):
    assert calibration.stretchable_layers(sign_model) == ["norm1", "norm2", "norm3", "norm4"]


def chain(*middle):
    inputs = x = tf.keras.Input((8, 8, 1))
    for layer in (layers.Conv2D(4, 3), layers.BatchNormalization(name="norm"), *middle):
        x = layer(x)
    return tf.keras.Model(inputs, x)


@pytest.mark.parametrize(
    "middle",
    [
        (layers.ReLU(6.0), layers.Conv2D(2, 3)),
        (layers.Activation("tanh"), layers.Conv2D(2, 3)),
        (layers.ReLU(), layers.Conv2DTranspose(2, 3)),
        (layers.ReLU(), layers.Conv2D(2, 3, groups=2)),
        (layers.ReLU(), layers.Flatten(), layers.Dense(2)),
        (layers.ReLU(),),
    ],
)
def test_what_does_not_let_a_factor_through_is_not_stretched(middle):
    assert calibration.stretchable_layers(chain(*middle)) == []


def test_network_with_activation_layers_can_be_stretched():
    model = chain(layers.Activation("relu"), layers.MaxPooling2D(), layers.Conv2D(2, 3))
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
    stretched = calibration.stretch_channel(model, "norm", 1, 64)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(stretched.predict(images, verbose=0), expected, atol=1e-5)


def test_ranges_of_a_network_with_one_tap():
    inputs = tf.keras.Input((3,), name="image")
    model = tf.keras.Model(inputs, layers.Dense(2)(inputs))
    ranges = calibration.activation_ranges(model, np.array([[-1, 0, 2.5]], np.float32))
    assert ranges.loc["image", ["min", "max"]].tolist() == [-1, 2.5]


def test_errors(sign_model):
    with pytest.raises(ValueError, match="positive"):
        calibration.stretch_channel(sign_model, "norm1", 0, -2)
    with pytest.raises(ValueError, match="these can"):
        calibration.stretch_channel(sign_model, "relu1", 0, 2)
    with pytest.raises(ValueError, match="channels 0 to 15"):
        calibration.stretch_channel(sign_model, "norm1", 16, 2)


def noisy(scale):
    """A network of two layers whose channels are `scale` times as loud, and read so much less."""
    random = np.random.default_rng(0)
    inputs = tf.keras.Input((8, 8, 3))
    x = layers.Conv2D(len(scale), 3, activation="relu", name="made")(inputs)
    x = layers.MaxPooling2D()(x)
    model = tf.keras.Model(inputs, layers.Dense(4, name="read")(layers.GlobalAveragePooling2D()(x)))
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    for weight in model.get_layer("made").weights:
        weight.assign(weight * scale)
    read = model.get_layer("read").kernel
    read.assign(read / np.reshape(scale, (-1, 1)))
    return model, random.normal(size=(50, 8, 8, 3)).astype(np.float32)


def test_equalising_keeps_the_function_and_makes_both_sides_alike():
    model, images = noisy(np.float32([1, 10, 0.1, 3, 1]))
    before = [w.copy() for w in model.get_weights()]
    equal = calibration.equalize(model, images)
    np.testing.assert_allclose(
        equal.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    taps = tf.keras.Model(equal.inputs, equal.get_layer("read").input)
    loud = taps.predict(images, verbose=0).max(axis=0)
    heavy = np.abs(equal.get_layer("read").kernel.numpy()).max(axis=1)
    np.testing.assert_allclose(loud, heavy, rtol=1e-4)


def test_equalised_integers_lose_less():
    model, images = noisy(np.float32([1, 100, 0.01, 3, 1]))
    expected = model.predict(images, verbose=0)

    def error(network):
        content = post_training.convert(network, "int8", images)
        return np.abs(measure.TFLiteModel(content).predict(images) - expected).max()

    assert error(calibration.equalize(model, images)) < 0.2 * error(model)


def test_equalising_a_network_with_normalisations(sign_model, tiny_data):
    equal = calibration.equalize(sign_model, tiny_data.x_train)
    expected = sign_model.predict(tiny_data.x_test, verbose=0)
    np.testing.assert_allclose(equal.predict(tiny_data.x_test, verbose=0), expected, atol=1e-5)
    assert not np.allclose(equal.get_layer("norm1").gamma, sign_model.get_layer("norm1").gamma)


def test_a_silent_channel_behind_a_normalisation_no_longer_sets_the_scale():
    """Its variance is none, and the normalisation's factor the largest of all."""
    inputs = tf.keras.Input((16, 3))
    x = layers.Conv1D(6, 3, activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(layers.GlobalAveragePooling1D()(x))
    model = tf.keras.Model(inputs, layers.Dense(2, name="read")(x))
    model.get_layer("conv").bias.assign([-100.0, 0, 0, 0, 0, 0])
    model.get_layer("norm").moving_variance.assign([0.0, 1, 1, 1, 1, 1])
    images = np.random.default_rng(0).normal(size=(40, 16, 3)).astype(np.float32)
    equal = calibration.equalize(model, images)
    np.testing.assert_allclose(
        equal.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5
    )
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in equal.layers)
    rows = np.abs(equal.get_layer("read").kernel.numpy()).max(axis=1)
    assert rows[0] < rows[1:].max()


def test_what_does_not_let_factors_through_is_not_equalised():
    model = chain(layers.Activation("tanh"), layers.Conv2D(2, 3))
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
    equal = calibration.equalize(model, images)
    for was, now in zip(model.get_weights(), equal.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
