"""The networks of human activity recognition on windows."""

import numpy as np
import pytest
import tensorflow as tf

from labkit import measure, runtime, training
from labkit.compress import post_training, quantization_aware
from labkit.datasets import Dataset
from labkit.models import har, rules


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def windows():
    """Six activities told apart by how fast and on which axis something swings."""
    rng = np.random.default_rng(0)
    y = np.arange(180) % har.ACTIVITIES
    time = np.arange(har.WINDOW[0]) / har.WINDOW[0]
    x = rng.normal(0, 0.1, (len(y), *har.WINDOW)).astype(np.float32)
    for window, activity in zip(x, y, strict=True):
        window[:, activity] += np.sin(2 * np.pi * (3 + activity) * (time + rng.uniform()))
    return x, y


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (har.base, 847_170),
        (har.base_small, 52_272),
        (har.light, 40_294),
        (har.po2_float, 39_142),
        (har.po2, 39_142),
        (har.separable, 4_262),
        (har.separable_small, 2_718),
        (har.lstm, 17_158),
    ],
)
def test_parameters_of_the_slides(build, parameters):
    model = build()
    assert model.count_params() == parameters
    assert (model.input_shape, model.output_shape) == ((None, 128, 9), (None, 6))


def test_parameters_that_the_slides_count_under_pruning():
    """104,255: a mask for each kernel, a threshold and a step a wrapped layer, a step otherwise."""
    layers = har.base_small().layers
    kernels = [layer.kernel for layer in layers if hasattr(layer, "kernel")]
    masks = sum(int(np.prod(kernel.shape)) for kernel in kernels)
    assert 52_272 + masks + 2 * len(kernels) + len(layers) - len(kernels) == 104_255


def test_the_11829_parameters_of_the_residual_lstm():
    """Those of three layers of one, and TensorFlow 1's counter of steps; 2 x 2 has 15,354."""
    assert trainable(har.residual_lstm(ways=1, stacked=3)) + 1 == 11_829


def test_the_separable_network_keeps_the_rules():
    rules.check(har.separable())


def test_the_rounded_network_takes_the_weights_of_the_float_one(windows):
    model = har.po2_float()
    rounded = har.po2()
    rounded.set_weights(model.get_weights())
    x = windows[0][:8]
    assert not np.allclose(rounded(x), model(x), atol=1e-6)
    kernel = rounded.get_layer("conv1d_1_m").get_quantizers()[0](
        model.get_layer("conv1d_1_m").kernel
    )
    exponents = np.log2(np.abs(kernel))
    np.testing.assert_array_equal(exponents, np.round(exponents))


def test_inputs_of_the_slides_say_nothing_of_negative_values(windows):
    cut = har.po2(**har.SLIDES)
    x = windows[0][:4]
    np.testing.assert_array_equal(cut(np.minimum(x, 0)), cut(np.zeros_like(x)))
    whole = har.po2()
    assert not np.allclose(whole(np.minimum(x, 0)), whole(np.zeros_like(x)))


def test_backward_cells_read_from_the_end():
    """One bidirectional layer equals Keras's, with the dense layers put in front by hand."""
    runtime.set_seed(0)
    model = har.residual_lstm(ways=1, stacked=2, hidden=8)
    inner = tf.keras.Model(model.input, model.get_layer("lstm1a_concat").output)
    x = np.random.default_rng(0).normal(size=(2, *har.WINDOW)).astype(np.float32)
    forward = model.get_layer("lstm1a_forward_project")(x)
    backward = model.get_layer("lstm1a_backward_project")(x)[:, ::-1]
    expected = [
        model.get_layer("lstm1a_forward")(forward),
        tf.keras.layers.LSTM.from_config(
            model.get_layer("lstm1a_backward").get_config() | {"go_backwards": False}
        ),
    ]
    plain = expected[1]
    plain.build(backward.shape)
    plain.set_weights(model.get_layer("lstm1a_backward").get_weights())
    expected[1] = plain(backward)[:, ::-1]
    np.testing.assert_allclose(inner(x), tf.concat(expected, -1), atol=1e-5)


NETWORKS = {
    "base": lambda: har.base((8, 8), 8),
    "light": har.light,
    "separable": har.separable_small,
    "po2_float": har.po2_float,
    "residual_lstm": lambda: har.residual_lstm(1, 1, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_files_agree_with_keras(name, windows):
    runtime.set_seed(0)
    model, x = NETWORKS[name](), windows[0][:24]
    expected = model.predict(x, verbose=0)
    exact = post_training.convert(model, "float")
    np.testing.assert_allclose(measure.TFLiteModel(exact).predict(x), expected, atol=1e-5)
    rounded = measure.TFLiteModel(post_training.convert(model, "int8", x))
    assert (rounded.input_type, rounded.output_type) == ("int8", "int8")
    np.testing.assert_allclose(rounded.predict(x), expected, atol=0.05)


@pytest.mark.parametrize("build", [har.light, har.separable_small], ids=["light", "separable"])
def test_quantisation_aware_training_gives_integers_throughout(build, windows):
    aware = quantization_aware.quantize(build())
    training.fit(aware, windows, training.Recipe(1, 1e-3, batch=60))
    content = quantization_aware.convert(aware, batch=1)
    assert set(measure.inspect(content).activation_types) == {"int8"}
    expected = aware.predict(windows[0][:24], verbose=0)
    found = measure.TFLiteModel(content).predict(windows[0][:24])
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_scaled_windows_are_in_units_of_their_sensors():
    x = np.zeros((2, *har.WINDOW), np.float32)
    x[0, :, 1], x[0, :, 5], x[1, :, 8], x[1, :, 3] = 0.5, -0.6, 1.0, 50.0
    data = Dataset("uci_har", "real", x, np.arange(2), x, np.arange(2), tuple("abcdef"))
    found = har.scaled(data)
    np.testing.assert_allclose(found.x_train[0, 0], [0, 2, 0, 0, 0, -1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.x_test[1, 0], [0, 0, 0, 4, 0, 0, 0, 0, 2], atol=1e-6)


def test_a_network_learns_in_the_quick_profile_and_is_kept(windows, tmp_path):
    x, y = windows
    data = Dataset("uci_har", "synthetic", x, y, x, y, tuple("abcdef"))
    network = har.NETWORKS["separable_small"]

    def trained():
        return training.fitted(tmp_path, network.build(), data, network.RECIPES["quick"], 0)

    history = trained().history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert trained().loaded


@pytest.mark.parametrize("name", har.NETWORKS)
def test_recipes_have_both_profiles(name):
    quick, full = (har.NETWORKS[name].RECIPES[profile] for profile in runtime.PROFILES)
    assert quick.epochs < full.epochs and (quick.name, full.name) == runtime.PROFILES
    assert quick.augment is full.augment is training.series.augment
