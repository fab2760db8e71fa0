"""`labkit net export`: each file does what the network does, or is not there."""

import gc
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from net_command import arrays, assert_same, net, refused

from labkit import measure, training
from labkit.datasets import image_folder
from labkit.models import networks, weights
from labkit.net import coreml


@pytest.fixture(scope="module")
def model(trained):
    lenet = networks.network("lenet").build((16, 16, 1), 10)
    return weights.load(lenet, trained / "weights.npz")


@pytest.fixture(scope="module")
def images(tree):
    return image_folder.open_tree(tree).load("val", image_folder.Preprocessing(16, "grey"))[0]


@pytest.fixture
def export(tree, trained, tmp_path):
    """A function of a file's name and options that gives the path and what was printed."""

    def run(name, *options):
        printed = net(
            "export", tree, "--weights", trained / "weights.npz", *options, "--out", tmp_path / name
        )
        return tmp_path / name, printed

    return run


def test_tflite(export, model, images):
    path, printed = export("a.tflite")
    assert "LiteRT: same class for 32 of 32 images" in printed
    found = measure.TFLiteModel(path).predict(images)
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)
    whole, _ = export("int8.tflite", "--kind", "int8")
    dynamic, _ = export("dynamic.tflite", "--kind", "dynamic_range")
    assert measure.TFLiteModel(whole).input_type == "int8"
    assert measure.TFLiteModel(dynamic).input_type == "float32"
    assert max(whole.stat().st_size, dynamic.stat().st_size) < path.stat().st_size / 3


def test_hdf5_and_weights_are_loaded_again(export, model, images, trained):
    path, _ = export("a.h5")
    loaded = tf.keras.models.load_model(path, compile=False)
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    path, _ = export("a.npz")
    assert_same(path, trained / "weights.npz")
    assert path.with_suffix(".json").read_text() == (trained / "weights.json").read_text()


def test_onnx(export, model, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    path, printed = export("a.onnx", "--images", 40)
    assert "ONNX Runtime: same class for 40 of 40 images" in printed
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", 16, 16, 1]
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["preprocessing"])["channel_order"] == "grey"
    assert json.loads(facts["classes"])[3] == "cat"


def test_quantised_networks(export, tree, trained, images, tmp_path):
    """Their rounding is in the graph: the file's outputs are those of the training twin."""
    pytest.importorskip("tf2onnx")
    options = ("--resolution", "6:6:6", "--calibration", 20)
    for name in ("q.onnx", "q.tflite", "q.h5"):
        assert "same class for 32 of 32" in export(name, *options)[1]
    loaded = tf.keras.models.load_model(tmp_path / "q.h5", compile=False)
    assert loaded.get_layer("conv1").kernel_format.bits == 6
    found = measure.TFLiteModel(tmp_path / "q.tflite").predict(images)
    np.testing.assert_allclose(found, training.predictor(loaded)(images), atol=1e-5)


def perturbed(model):
    """A network with one kernel that is another."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights([w * 1.5 if i == 0 else w for i, w in enumerate(model.get_weights())])
    return copy


def test_an_onnx_file_that_differs_is_not_left(tree, trained, tmp_path, monkeypatch):
    tf2onnx = pytest.importorskip("tf2onnx")
    convert = tf2onnx.convert.from_keras
    monkeypatch.setattr(
        tf2onnx.convert, "from_keras", lambda model, **options: convert(perturbed(model), **options)
    )
    out = tmp_path / "a.onnx"
    out.write_bytes(b"before")
    message = refused("export", tree, "--weights", trained / "weights.npz", "--out", out)
    assert "was not written: in ONNX Runtime its probabilities differ" in message
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


@pytest.fixture
def frozen():
    """Garbage is looked for in new objects alone: coremltools does so three times a conversion."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_core_ml_by_its_structure(export, tree, trained, tmp_path, monkeypatch, frozen):
    tools = pytest.importorskip("coremltools")
    path, printed = export("a.mlpackage")
    weights = sum(v.size for k, v in arrays(trained / "weights.npz").items() if "kernel" in k)
    assert "takes 16x16 GRAYSCALE, names 10 classes; 2 convolutions, 2 dense layers" in printed
    assert f"all {weights:,} weights" in printed
    spec = tools.models.MLModel(str(path), skip_model_load=True).get_spec()
    assert [entry.name for entry in spec.description.input] == ["images"]
    assert spec.description.predictedFeatureName == "classLabel"
    half, _ = export("half.mlpackage", "--kind", "float16", "--resolution", "6", "--calibration", 9)
    command = ("export", tree, "--weights", trained / "weights.npz", "--out")
    assert "exists: delete it" in refused(*command, half)
    convert = coreml.convert
    monkeypatch.setattr(
        coreml,
        "convert",
        lambda tools, task, model, half: convert(tools, task, perturbed(model), half),
    )
    assert "lacks the kernel of conv1" in refused(*command, tmp_path / "b.mlpackage")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mlpackage", "half.mlpackage"]


@pytest.mark.parametrize(
    ("name", "module"), [("a.onnx", "onnxruntime"), ("a.mlpackage", "coremltools")]
)
def test_a_missing_package_is_named_with_its_command(
    tree, trained, tmp_path, monkeypatch, name, module
):
    monkeypatch.setitem(sys.modules, module, None)
    message = refused(
        "export", tree, "--weights", trained / "weights.npz", "--out", tmp_path / name
    )
    assert f"{module} is missing" in message and "pip install -e '.[export]'" in message
    assert not list(tmp_path.iterdir())


def test_formats_and_kinds_that_do_not_exist(tree, trained, tmp_path):
    command = ("export", tree, "--weights", trained / "weights.npz", "--out")
    assert "ends in .tflite, .h5, .onnx, .mlpackage, .npz" in refused(*command, tmp_path / "a.pb")
    message = refused(*command, tmp_path / "a.onnx", "--kind", "int8")
    assert "--kind is 'int8', expected for .onnx one of float" in message
