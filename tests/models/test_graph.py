"""Networks as graphs: who reads whom, copies, levels, taps."""

import numpy as np
import tensorflow as tf

from labkit.models import classic, graph
from labkit.models.graph import Wiring

layers = tf.keras.layers


def test_the_wiring_is_that_of_one_network():
    x = inputs = layers.Input((4,))
    x = layers.Dense(4, name="a")(x)
    y = layers.ReLU(name="b")(x)
    z = layers.Add(name="c")([x, y])
    model = tf.keras.Model(inputs, [z, y])
    tf.keras.Model(inputs, layers.Softmax(name="elsewhere")(x))
    a, b, c = (model.get_layer(name) for name in "abc")
    wiring = Wiring(model)
    assert wiring.behind(a) == [b, c] and wiring.sole_behind(a) is None
    assert wiring.behind(b) == [c, None] and wiring.sole_behind(b) is None
    assert wiring.before(c) == [a, b] and wiring.sole_before(c) is None
    assert wiring.sole_before(b) is a
    assert wiring.behind(c) == [None] and wiring.sole_behind(c) is None


def test_the_wiring_of_a_sequence_and_of_a_layer_called_twice():
    a, b = layers.Dense(4), layers.ReLU()
    wiring = Wiring(tf.keras.Sequential([a, b]))
    assert wiring.before(a) == [] and wiring.sole_behind(a) is b and wiring.behind(b) == [None]
    x = inputs = layers.Input((4,))
    wiring = Wiring(tf.keras.Model(inputs, b(a(a(x)))))
    assert wiring.sole_behind(a) is None and wiring.sole_before(b) is None


def test_copies_enter_inner_networks():
    inner = tf.keras.Sequential([layers.Input((4,)), layers.Dense(3, name="d")], name="inner")
    x = inputs = layers.Input((4,))
    model = tf.keras.Model(inputs, layers.ReLU()(inner(x)))
    seen = []

    def layer_of(layer):
        seen.append(layer.name)
        return type(layer).from_config(layer.get_config())

    copy = graph.copy_of(model, layer_of)
    assert "inner/d" in seen and copy.get_layer("inner/d") is not inner.layers[0]
    x = np.random.default_rng(0).random((2, 4), np.float32)
    np.testing.assert_array_equal(copy(x), model(x))
    assert graph.levels(model) == {"inner": ("inner/d",)}
    outputs = graph.layer_outputs(model, x, ["inner/d"])["inner/d"]
    np.testing.assert_array_equal(outputs[0], x)
    np.testing.assert_allclose(outputs[1], inner(x), rtol=1e-6)


def test_levels(small):
    assert list(graph.levels(small)) == ["conv1", *(f"fire{i}" for i in range(2, 10)), "conv10"]
    assert graph.levels(small)["fire4"] == (
        "fire4/squeeze1x1",
        "fire4/expand1x1",
        "fire4/expand3x3",
    )
    assert list(graph.levels(classic.lenet())) == ["conv1", "conv2", "dense1", "dense2"]


def test_operators_become_layers_and_those_with_a_number_in_them_stay():
    tf.keras.utils.set_random_seed(0)
    inputs = layers.Input((4, 4, 2))
    x = tf.nn.relu(layers.Conv2D(2, 3, padding="same")(inputs) + inputs)
    y = tf.nn.relu6(tf.maximum(x - inputs, x * inputs) + 1.0)
    model = tf.keras.Model(inputs, tf.nn.softmax(y))
    laid_out = graph.layered(model)
    kinds = [type(layer).__name__ for layer in laid_out.layers]
    wanted = {"Add", "Subtract", "Multiply", "Maximum", "ReLU", "Softmax", "TFOpLambda"}
    assert wanted <= set(kinds) and kinds.count("TFOpLambda") == 1
    images = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(laid_out(images), model(images), atol=1e-6)
    plain = tf.keras.Model(inputs, layers.ReLU()(inputs))
    assert graph.layered(plain) is plain
