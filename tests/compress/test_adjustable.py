"""An adjustable network computes what the twin does, by one graph for all plans."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.compress import fixed_point, progressive
from labkit.models import squeezenet


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    return squeezenet.build((16, 16, 3), 4, width=0.125, dropout=0.0)


def test_one_graph_for_all_plans(model, images):
    copy = fixed_point.adjustable(model)
    traces = []

    @tf.function
    def outputs(x):
        traces.append(1)
        return copy(x, training=False)

    np.testing.assert_allclose(outputs(images), model(images), atol=1e-6)
    for bits, mode in (((8, 8, 8), "nearest"), ((4, 6, 5), "nearest"), ((6, 6, 6), "floor")):
        plan = fixed_point.measured_ranges(model, images).plan(bits, 99, mode=mode)
        for levels in (["conv1", "fire4"], None):
            fixed_point.adjust(copy, plan, levels)
            twin = progressive.quantized(model, plan, levels)
            np.testing.assert_allclose(outputs(images), twin(images, training=False), atol=1e-6)
    fixed_point.adjust(copy, plan, [])
    np.testing.assert_allclose(outputs(images), model(images), atol=1e-6)
    assert len(traces) == 1


def test_gradients_are_the_twins(model, images):
    plan = fixed_point.measured_ranges(model, images).plan((6, 6, 6), 95)
    copy, twin = fixed_point.adjustable(model), progressive.quantized(model, plan)
    fixed_point.adjust(copy, plan)
    gradients = []
    for network in (copy, twin):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=False)[:, 0])
        gradients.append(tape.gradient(loss, network.trainable_variables))
    assert max(np.abs(g).max() for g in gradients[0]) > 0
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_formats_are_no_weights(model):
    copy = fixed_point.adjustable(model)
    assert len(copy.weights) == len(model.weights)
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_twin_becomes_adjustable(model, images):
    plan = fixed_point.measured_ranges(model, images).plan((6, 6, 6), 99)
    copy = fixed_point.adjustable(progressive.quantized(model, plan))
    np.testing.assert_allclose(copy(images), model(images), atol=1e-6)
