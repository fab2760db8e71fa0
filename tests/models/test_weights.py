"""Weights from files: they come back, and files of another network change nothing."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from labkit.datasets import folders, image_folder
from labkit.models import classic, folding, squeezenet, weights
from labkit.models.graph import NetworkError


def test_weights_come_back(small, images, tmp_path):
    path = weights.save(folding.fold(small), tmp_path / "a.npz")
    plain = weights.load(squeezenet.build((32, 32, 3), 10, width=0.125), path)
    expected = folding.fold(small).predict(images, verbose=0)
    np.testing.assert_allclose(plain.predict(images, verbose=0), expected, atol=1e-6)


def test_weights_of_another_network(small, tmp_path):
    path = weights.save(folding.fold(small), tmp_path / "a.npz")
    with pytest.raises(NetworkError, match=r"conv10/kernel has the shape \(1, 1, 64, 10\)"):
        weights.load(squeezenet.build((32, 32, 3), 7, width=0.125), path)
    with pytest.raises(NetworkError, match="holds no conv2/kernel"):
        weights.load(classic.basicnet((32, 32, 8), 10), with_conv1(tmp_path))
    with pytest.raises(NetworkError, match="there is no such file"):
        weights.load(small, tmp_path / "missing.npz")


def test_files_of_other_libraries_are_named_and_nothing_advises_to_unpickle_them(tmp_path):
    contents = {
        "bad.npz": b"PK junk",
        "model.h5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "model.onnx": b"\x08\x07\x12\x07pytorch",
        "model.pkl": pickle.dumps({"conv1/kernel": [1.0]}),
        "empty.npz": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for name in (*contents, "array.npy", "objects.npz", "model.keras"):
        with pytest.raises(NetworkError, match=r"is not a file of weights.*no \.npz") as caught:
            weights.read(tmp_path / name)
        assert name in str(caught.value) and "pickle" not in str(caught.value)


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
        weights.load(small, tmp_path / "part.npz")
    for a, b in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_published_weights_read_real_photographs():
    """62.0 % top-1 was measured on all of the sample; here on a tenth of it."""
    if not os.environ.get("LABKIT_DATA"):
        pytest.skip("LABKIT_DATA is not set")
    folder = Path(folders.real())
    published, sample = folder / "squeezenet_v1.1.npz", folder / "imagenet-sample-227.zip"
    if not (published.exists() and sample.exists()):
        pytest.skip("no SqueezeNet weights or ImageNet sample in LABKIT_DATA")
    tree = image_folder.open_tree(sample, parts=("val",))
    x = np.stack([tree.read("val", i, squeezenet.PREPROCESSING) for i in range(0, 1000, 10)])
    model = weights.load(squeezenet.build(), published)
    right = model.predict(x, verbose=0).argmax(axis=1) == tree.classes["val"][::10]
    assert 0.5 < right.mean() < 0.75


def test_layers_of_parts_and_of_inner_models_have_names_of_their_own(tmp_path):
    layers = tf.keras.layers

    def network():
        inner = tf.keras.Sequential([layers.Input((6, 4)), layers.Dense(4, name="d")], name="inner")
        x = inputs = layers.Input((6, 4))
        x = layers.Dense(4, name="d")(inner(x))
        x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
        return tf.keras.Model(inputs, layers.GRU(3, name="gru")(x))

    tf.keras.utils.set_random_seed(0)
    one, other = network(), network()
    path = weights.save(one, tmp_path / "a.npz")
    names = set(weights.read(path))
    assert {"inner/d/kernel", "d/kernel", "attention/query/kernel"} <= names
    assert len(names) == len(one.weights)
    weights.load(other, path)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
