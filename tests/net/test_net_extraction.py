"""`labkit net extract`: the numbers of every layer, in HDF5 and NumPy."""

import json

import numpy as np
import pytest
import tensorflow as tf
from net_command import arrays, net, refused

from labkit.compress.progressive import quantized
from labkit.datasets import image_folder
from labkit.hwce import Plan
from labkit.models import networks, weights

h5py = pytest.importorskip("h5py")

LAYERS = ["conv1", "pool1", "conv2", "pool2", "flatten", "dense1", "dense2", "loss"]


@pytest.fixture(scope="module")
def model(trained):
    lenet = networks.network("lenet").build((16, 16, 1), 10)
    return weights.load(lenet, trained / "weights.npz")


@pytest.fixture
def extract(tree, trained, tmp_path):
    """A function of options that gives the arrays of the file."""

    def run(*options, name="dump.npz"):
        out = tmp_path / name
        net("extract", tree, "--weights", trained / "weights.npz", *options, "--out", out)
        if out.suffix == ".npz":
            return arrays(out)
        with h5py.File(out) as file:
            found = {}
            file.visititems(
                lambda key, item: (
                    found.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
        return found

    return run


def test_every_layer_is_what_keras_computes(extract, tree, model):
    found = extract("--images", 10, "--batch", 4)
    assert [key for key in found if key.startswith("outputs/")] == [f"outputs/{n}" for n in LAYERS]
    opened = image_folder.open_tree(tree)
    images = [
        opened.read("val", i, image_folder.Preprocessing(16, "grey")) for i in range(0, 40, 4)
    ]
    np.testing.assert_array_equal(found["images"], np.stack(images))
    assert found["classes"].tolist() == list(range(10))
    assert found["files"][0] == "val/airplane/0000.png"
    taps = tf.keras.Model(model.inputs, [model.get_layer(name).output for name in LAYERS])
    for name, expected in zip(LAYERS, taps.predict(found["images"], verbose=0), strict=True):
        np.testing.assert_allclose(found[f"outputs/{name}"], expected, atol=1e-6)
    for name in ("conv1", "dense2"):
        for part, expected in zip(("kernel", "bias"), model.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(found[f"weights/{name}/{part}"], expected.numpy())


def test_hdf5_holds_the_same_as_numpy(extract):
    a = extract("--images", 5, "--batch", 2)
    b = extract("--images", 5, "--batch", 2, name="dump.h5")
    assert set(a) == set(b)
    for key, value in a.items():
        if value.dtype.kind != "U":
            np.testing.assert_array_equal(b[key], value)
    assert [name.decode() for name in b["files"]] == a["files"].tolist()
    assert (
        json.loads(b["note"])
        == json.loads(str(a["note"]))
        == {
            "network": "lenet",
            "stage": "after",
        }
    )


def test_stages(extract):
    after, before, sums = (
        extract("--stage", s, "--images", 4) for s in ("after", "before", "sums")
    )
    layers = {"conv1", "conv2", "dense1", "dense2"}
    for found in (before, sums):
        assert {k.removeprefix("outputs/") for k in found if k.startswith("outputs/")} == layers
    assert before["outputs/conv1"].min() < 0
    for name in ("conv1", "conv2", "dense1"):
        relu = np.maximum(before[f"outputs/{name}"], 0)
        np.testing.assert_allclose(after[f"outputs/{name}"], relu, atol=1e-6)
        biased = sums[f"outputs/{name}"] + sums[f"weights/{name}/bias"]
        np.testing.assert_allclose(before[f"outputs/{name}"], biased, atol=1e-5)


def test_quantised(extract, tree, model):
    found = extract(
        "--images", 4, "--resolution", "4:6:5", "--calibration", 20, "--stage", "before"
    )
    plan = Plan.from_dict(json.loads(str(found["note"]))["plan"])
    twin = quantized(model, plan)
    outputs = found["outputs/conv2"] / plan.layers["conv2"].output.step
    np.testing.assert_array_equal(outputs, outputs.round())
    assert len(np.unique(found["weights/conv1/kernel"])) <= 2**4
    taps = tf.keras.Model(twin.inputs, twin.get_layer("conv2").output)
    expected = taps.predict(found["images"], verbose=0)
    np.testing.assert_array_equal(np.maximum(found["outputs/conv2"], 0), expected)


def test_some_layers_and_levels(extract):
    def outputs(*options):
        return [k[8:] for k in extract(*options, "--images", 2) if k.startswith("outputs/")]

    assert outputs("--layer", "dense1", "--layer", "pool1") == ["pool1", "dense1"]
    assert outputs("--level", "conv2") == ["conv1", "pool1", "conv2"]
    assert outputs("--level", "conv2", "--stage", "sums") == ["conv1", "conv2"]
    assert not any(k.startswith("weights/") for k in extract("--no-kernels", "--images", 2))


def test_what_cannot_be_taken(tree, trained, tmp_path):
    weights = ("--weights", trained / "weights.npz")
    out = ("--out", tmp_path / "a.npz")
    for options, message in (
        ((*out, "--layer", "conv9"), "there is no layer 'conv9' to take; there are conv1, pool1"),
        ((*out, "--layer", "pool1", "--stage", "sums"), "there are conv1, conv2, dense1, dense2"),
        ((*out, "--level", "fire2"), "there is no level 'fire2'; the network has conv1, conv2"),
        ((*out, "--level", "conv1", "--layer", "conv1"), "give --layer or --level, not both"),
        (("--out", tmp_path / "a.txt"), "expected a name that ends in .h5, .hdf5, .npz"),
    ):
        assert message in refused("extract", tree, *weights, *options)
    assert not list(tmp_path.iterdir())
