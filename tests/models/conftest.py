"""A small SqueezeNet and images for it."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.models import squeezenet


@pytest.fixture(scope="module")
def small():
    """A SqueezeNet for 32x32 images, an eighth as wide, normalised, its weights random."""
    tf.random.set_seed(0)
    model = squeezenet.build((32, 32, 3), 10, width=0.125, batch_norm=True)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((5, 32, 32, 3), np.float32)
