"""Hutchinson's estimate against exact traces."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.compress.hessian import mean_traces
from labkit.compress.kernels import CompressionError

L = tf.keras.layers


def exact(model, x, y, loss):
    """Mean of the diagonal, by all second derivatives."""
    found = {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    value = loss(y, model(x))
                gradient = inner.gradient(value, layer.kernel)
            hessian = outer.jacobian(gradient, layer.kernel).numpy()
            size = gradient.shape.num_elements()
            found[layer.name] = np.trace(hessian.reshape(size, size)) / size
    return found


def network(last, activation):
    tf.keras.utils.set_random_seed(0)
    layers = [L.Conv2D(3, 2, activation="tanh", name="conv"), L.MaxPooling2D(), L.Flatten()]
    dense = [L.Dense(4, "relu", name="hidden"), L.Dense(last, activation, name="last")]
    return tf.keras.Sequential([L.Input((5, 5, 2)), *layers, *dense])


RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 5, 5, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("last", "activation", "targets", "loss", "by_keras"),
    [
        (1, "sigmoid", RANDOM.integers(0, 2, 30), "binary_crossentropy", "BinaryCrossentropy"),
        (3, "softmax", RANDOM.integers(0, 3, 30), *["SparseCategoricalCrossentropy"] * 2),
        (2, None, RANDOM.normal(size=(30, 2)).astype(np.float32), "mse", "MeanSquaredError"),
    ],
)
def test_against_the_exact_trace(last, activation, targets, loss, by_keras):
    model, by_keras = network(last, activation), getattr(tf.keras.losses, by_keras)()
    loss = by_keras if loss[0].isupper() else loss
    before = model.get_weights()
    table = mean_traces(model, (X, targets), loss, draws=60, batch=16)
    wanted = exact(model, X, targets[:, None] if last == 1 else targets, by_keras)
    assert list(table.index) == list(wanted) == ["conv", "hidden", "last"]
    for name, trace in wanted.items():
        assert abs(table.loc[name, "mean trace"] - trace) < 4 * table.loc[name, "±"] + 1e-6
    assert table["±"].max() < 0.3 * max(map(abs, wanted.values()))
    assert table["weights"].tolist() == [24, 48, 4 * last]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_diagonal_hessian_is_exact_with_any_draw_and_batch():
    """Of a mean of (w·x - y)² with one feature at a time."""
    model = tf.keras.Sequential([L.Input((4,)), L.Dense(1, use_bias=False, name="line")])
    x, y = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0), np.zeros((12, 1), np.float32)
    for batch in (12, 5):
        table = mean_traces(model, (x, y), "mse", draws=2, batch=batch)
        assert table.loc["line", "mean trace"] == pytest.approx(2 / 4)
        assert table.loc["line", "±"] == pytest.approx(0, abs=1e-7)


def test_nothing_to_draw_from_is_told():
    with pytest.raises(CompressionError, match="1 draws on 30 samples"):
        mean_traces(network(1, None), (X, X[:, 0, 0, :1]), "mse", draws=1)
