"""SqueezeNet, BasicNet and LeNet: sizes, levels, taps, folding, weights from files."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from labkit.datasets import folders, image_folder
from labkit.models import classic, networks, squeezenet
from labkit.models.networks import NetworkError


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
        model.get_layer(name).filters for names in networks.levels(model).values() for name in names
    ]
    assert classes == 10
    assert filters[:7] == [48, 16, 48, 48, 16, 48, 48]
    assert filters[-6:] == [48, 192, 192, 48, 192, 192]


def test_modules_can_be_left_out(images):
    model = squeezenet.build((32, 32, 3), 10, width=0.25, **squeezenet.NETWORK["quick"])
    assert list(networks.levels(model)) == ["conv1", "fire2", "fire4", "fire5", "fire6", "conv10"]
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
    plain = networks.fold(model)
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


def test_levels(small):
    assert list(networks.levels(small)) == ["conv1", *(f"fire{i}" for i in range(2, 10)), "conv10"]
    assert networks.levels(small)["fire4"] == (
        "fire4/squeeze1x1", "fire4/expand1x1", "fire4/expand3x3",
    )  # fmt: skip
    assert list(networks.levels(classic.lenet())) == ["conv1", "conv2", "dense1", "dense2"]


def test_unknown_network():
    with pytest.raises(NetworkError, match="labkit knows squeezenet, basicnet, lenet"):
        networks.network("vgg")
    assert networks.network("lenet").preprocessing.shape == (28, 28, 1)


def test_sums_before_bias_and_activation(images):
    model = classic.basicnet()
    conv = model.get_layer("conv1")
    conv.bias.assign(tf.range(32, dtype=tf.float32))
    sums = networks.convolution_output(model, "conv1", images, batch=2)
    expected = tf.nn.conv2d(images, conv.kernel, 1, "SAME").numpy()
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    last = networks.convolution_output(model, "dense2", images)
    probabilities = tf.nn.softmax(last + model.get_layer("dense2").bias).numpy()
    np.testing.assert_allclose(probabilities, model.predict(images, verbose=0), atol=1e-5)
    with pytest.raises(NetworkError, match="no layer 'pool2' with a kernel; there are conv1"):
        networks.convolution_output(model, "pool2", images)


def test_folding_changes_no_output(small, images):
    folded = networks.fold(small)
    tap, folded_tap = (
        tf.keras.Model(m.inputs, m.get_layer("conv10").output) for m in (small, folded)
    )
    assert not any(isinstance(layer, tf.keras.layers.BatchNormalization) for layer in folded.layers)
    expected = tap.predict(images, verbose=0)
    assert expected.std() > 0.01
    np.testing.assert_allclose(
        folded_tap.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4
    )
    plain = squeezenet.build((32, 32, 3), 10, width=0.125)
    assert plain.count_params() == folded.count_params()


def test_what_cannot_be_folded_is_named():
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((8, 8, 1)), layers.MaxPooling2D(name="pool"), layers.BatchNormalization()]
    )
    with pytest.raises(NetworkError, match="follows 'pool': it can be folded into a convolution"):
        networks.fold(model)


def test_weights_come_back(small, images, tmp_path):
    path = networks.save_weights(networks.fold(small), tmp_path / "a.npz")
    plain = networks.load_weights(squeezenet.build((32, 32, 3), 10, width=0.125), path)
    expected = networks.fold(small).predict(images, verbose=0)
    np.testing.assert_allclose(plain.predict(images, verbose=0), expected, atol=1e-6)


def test_weights_of_another_network(small, tmp_path):
    path = networks.save_weights(networks.fold(small), tmp_path / "a.npz")
    with pytest.raises(NetworkError, match=r"conv10/kernel has the shape \(1, 1, 64, 10\)"):
        networks.load_weights(squeezenet.build((32, 32, 3), 7, width=0.125), path)
    with pytest.raises(NetworkError, match="holds no conv2/kernel"):
        networks.load_weights(classic.basicnet((32, 32, 8), 10), with_conv1(tmp_path))
    with pytest.raises(NetworkError, match="there is no such file"):
        networks.load_weights(small, tmp_path / "missing.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK junk")
    with pytest.raises(NetworkError, match=r"bad\.npz is not a file of weights"):
        networks.load_weights(small, tmp_path / "bad.npz")


def with_conv1(folder):
    path = folder / "conv1.npz"
    np.savez(path, **{"conv1/kernel": np.zeros((3, 3, 8, 32)), "conv1/bias": np.zeros(32)})
    return path


def test_a_failed_load_changes_nothing(small, images, tmp_path):
    before = small.get_weights()
    arrays = {
        f"{layer.name}/{variable.name.split('/')[-1][:-2]}": variable.numpy() * 2
        for layer in small.layers
        for variable in layer.weights
    }
    del arrays["conv10/bias"]
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(NetworkError, match="holds no conv10/bias"):
        networks.load_weights(small, tmp_path / "part.npz")
    for a, b in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_published_weights_read_real_photographs():
    """62.0 % top-1 was measured on all of the sample; here on a tenth of it."""
    if not os.environ.get("LABKIT_DATA"):
        pytest.skip("LABKIT_DATA is not set")
    folder = Path(folders.real())
    weights, sample = folder / "squeezenet_v1.1.npz", folder / "imagenet-sample-227.zip"
    if not (weights.exists() and sample.exists()):
        pytest.skip("no SqueezeNet weights or ImageNet sample in LABKIT_DATA")
    tree = image_folder.open_tree(sample, parts=("val",))
    x = np.stack([tree.read("val", i, squeezenet.PREPROCESSING) for i in range(0, 1000, 10)])
    model = networks.load_weights(squeezenet.build(), weights)
    right = model.predict(x, verbose=0).argmax(axis=1) == tree.classes["val"][::10]
    assert 0.5 < right.mean() < 0.75
