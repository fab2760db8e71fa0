"""QuantNET, with the parameters of the thesis's tables."""

import numpy as np
import pytest
import tensorflow as tf

from labkit import measure, training
from labkit.compress import post_training
from labkit.datasets import cifar10_pairs
from labkit.models import quantnet


def test_the_thesis_parameters():
    """Table 4.5, with 524,416 for the misprint of 534,416."""
    model = quantnet.build()
    counts = [layer.count_params() for layer in model.layers if layer.weights]
    assert counts == [896, 18_496, 524_416, 2_064, 17]
    assert model.count_params() == 545_889
    assert [layer.rate for layer in model.layers if "drop" in layer.name] == [0.1, 0.1]


def test_it_begins_as_he_says():
    tf.keras.utils.set_random_seed(0)
    model = quantnet.build()
    for name in ("conv1", "conv2", "linear1", "linear2"):
        kernel = model.get_layer(name).kernel.numpy()
        inputs = np.prod(kernel.shape[:-1])
        assert kernel.std() == pytest.approx(np.sqrt(2 / inputs), rel=0.06)
    kinds = [type(model.get_layer(n).kernel_initializer) for n in ("conv1", "output")]
    assert kinds == [tf.keras.initializers.HeNormal, tf.keras.initializers.GlorotNormal]


def test_other_widths_classes_and_sizes():
    model = quantnet.build((8, 8), (16,), classes=5, input_shape=(20, 16, 1))
    x = np.zeros((2, 20, 16, 1), np.float32)
    np.testing.assert_allclose(model(x).numpy().sum(axis=1), 1, rtol=1e-6)
    assert [layer.name for layer in model.layers if layer.weights] == [
        *("conv1", "conv2", "linear1", "output")
    ]


def test_it_learns_a_pair_and_its_file_is_as_accurate(monkeypatch):
    """Horses and frogs, drawn bright before dark; by the quick recipe, of a smaller network."""
    data = cifar10_pairs.HORSE_FROG.synthesize(640, 200, clutter=False)
    tf.keras.utils.set_random_seed(0)
    model = quantnet.build((8, 16), (32, 16))
    training.fit(model, data, quantnet.RECIPES["quick"].but(epochs=8, learning_rate=3e-3))
    read = model.predict(data.x_test, verbose=0)[:, 0] > 0.5
    accuracy = np.mean(read == data.y_test)
    assert accuracy > 0.8
    for mode in ("float", "int8"):
        content = post_training.convert(model, mode, data.x_train[:100])
        assert measure.accuracy(content, data.x_test, data.y_test) == pytest.approx(
            accuracy, abs=0 if mode == "float" else 0.03
        )


def test_both_profiles_have_a_recipe():
    assert {name: recipe.name for name, recipe in quantnet.RECIPES.items()} == {
        "quick": "quick",
        "full": "full",
    }
