"""SqueezeNet, BasicNet and LeNet: their sizes and shapes."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.models import classic, folding, graph, networks, squeezenet
from labkit.models.graph import NetworkError


def test_sizes():
    """Published: 1.24 M parameters (v1.1); the thesis' 17 MB and 5 MB of float32."""
    assert squeezenet.build().count_params() == 1_235_496
    assert classic.basicnet().count_params() * 4 / 1e6 == pytest.approx(17, abs=0.2)
    assert classic.lenet().count_params() * 4 / 1e6 == pytest.approx(5, abs=0.05)


def test_squeezenet_has_the_published_shapes():
    model = squeezenet.build()
    shapes = {name: model.get_layer(name).output.shape[1:] for name in ("pool1", "conv10")}
    assert shapes == {"pool1": (56, 56, 64), "conv10": (13, 13, 1000)}
    assert model.get_layer("fire9/concat").output.shape[-1] == 512


def test_small_images_keep_their_resolution(small):
    assert small.get_layer("conv1").output.shape[1:3] == (32, 32)
    assert small.get_layer("conv10").output.shape[1:3] == (4, 4)


def test_a_narrow_network_has_multiples_of_16_filters():
    model = squeezenet.build((32, 32, 3), 10, width=0.75)
    *filters, classes = [
        model.get_layer(name).filters for names in graph.levels(model).values() for name in names
    ]
    assert classes == 10
    assert filters[:7] == [48, 16, 48, 48, 16, 48, 48]
    assert filters[-6:] == [48, 192, 192, 48, 192, 192]


def test_modules_can_be_left_out(images):
    model = squeezenet.build((32, 32, 3), 10, **squeezenet.NETWORK["quick"])
    assert list(graph.levels(model)) == ["conv1", "fire2", "fire4", "fire5", "fire6", "conv10"]
    assert model.get_layer("conv10").output.shape[1:3] == (4, 4)
    assert "fire5/bypass" in [layer.name for layer in model.layers]


def test_bypasses_go_round_modules_that_keep_their_channels(images):
    model = squeezenet.build((32, 32, 3), 10, width=0.25, batch_norm=True, bypass=True)
    names = [layer.name for layer in model.layers if isinstance(layer, tf.keras.layers.Add)]
    assert names == [f"fire{i}/bypass" for i in (3, 5, 7, 9)]
    assert (
        model.count_params()
        == squeezenet.build((32, 32, 3), 10, width=0.25, batch_norm=True).count_params()
    )
    plain = folding.fold(model)
    np.testing.assert_allclose(plain(images), model(images), atol=1e-5)
    around = tf.keras.Model(
        plain.input, [plain.get_layer(f"fire3/{n}").output for n in ("concat", "bypass")]
    )
    before = tf.keras.Model(plain.input, plain.get_layer("fire2/concat").output)
    through, both = around(images)
    np.testing.assert_allclose(both, through + before(images), atol=1e-6)


def test_the_last_activation_can_be_left_out():
    assert squeezenet.build().get_layer("conv10").activation is tf.keras.activations.relu
    model = squeezenet.build((32, 32, 3), 10, width=0.125, logits="linear")
    assert model.get_layer("conv10").activation is tf.keras.activations.linear


def test_unknown_network():
    with pytest.raises(NetworkError, match="labkit knows squeezenet, basicnet, lenet"):
        networks.network("vgg")
    assert networks.network("lenet").preprocessing.shape == (28, 28, 1)
