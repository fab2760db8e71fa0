"""A network of two convolutions, small enough to be trained in a test."""

import numpy as np
import pytest

import labkit  # noqa: F401  (before TensorFlow, which the fixture imports)


@pytest.fixture(scope="session")
def small_model():
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = x = layers.Input((28, 28, 1), name="image")
    for i in (1, 2):
        x = layers.Conv2D(8, 3, strides=2, use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = layers.Dense(24, activation="softmax", name="letter")(x)
    model = tf.keras.Model(inputs, outputs, name="small")
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(-1, 1, w.shape) + (w == 1) for w in model.get_weights()])
    return model
