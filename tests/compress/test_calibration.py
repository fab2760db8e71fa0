import numpy as np
import pytest
import tensorflow as tf

from labkit.compress import calibration

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
