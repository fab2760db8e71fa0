"""A small int8 model of windows, its pipeline, and samples."""

import numpy as np
import pytest

from labkit.compress import post_training
from labkit.har import export
from labkit.har.pipeline import uci_har


@pytest.fixture(scope="session")
def pipeline():
    random = np.random.default_rng(0)
    return uci_har(random.normal(0, 0.3, 9), random.uniform(0.3, 1.5, 9))


@pytest.fixture(scope="session")
def model(tmp_path_factory, pipeline):
    """Path of a .tflite file, with its pipeline beside it."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    inputs = layers.Input((128, 9))
    x = layers.Conv1D(8, 7, strides=4, activation="relu")(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    network = tf.keras.Model(inputs, layers.Dense(6, "softmax")(x))
    path = tmp_path_factory.mktemp("har") / "har.tflite"
    x = pipeline.filtered(export.recordings(100, 128, 50, 1))
    path.write_bytes(post_training.convert(network, "int8", x))
    pipeline.write(path.with_suffix(".json"))
    return path


@pytest.fixture(scope="session")
def samples():
    """Time and six values of half a minute, (1500, 7)."""
    recording = export.recordings(9, 1500, 50, 2)[4]
    return np.c_[np.arange(1500) / 50, recording]
