import json

import numpy as np
import pytest
import tensorflow as tf

from labkit import checks, measure, runtime
from labkit.compress import post_training
from labkit.datasets import sign_mnist
from labkit.lab import Lab


@pytest.fixture
def lab(tmp_path, tiny_data, monkeypatch):
    monkeypatch.setattr(sign_mnist, "load", lambda mode, profile, seed: tiny_data)
    return Lab("02_dynamic_range", "quick", "synthetic", 0, str(tmp_path / "out"))


def test_unknown_parameters_are_named(tmp_path):
    with pytest.raises(
        runtime.SettingError, match="PROFILE is 'fast', expected one of quick, full"
    ):
        Lab("02_dynamic_range", "fast", "auto", 0, str(tmp_path))
    with pytest.raises(runtime.SettingError, match="DATA is 'fake'"):
        Lab("02_dynamic_range", "quick", "fake", 0, str(tmp_path))


def test_seeds_of_the_profiles(lab, tmp_path):
    assert lab.seeds == (0,)
    assert Lab("02_x", "full", "synthetic", 4, str(tmp_path)).seeds == (4, 5, 6)


def test_repeats_lie_apart(lab):
    assert lab.path("a.tflite") == lab.path("a.tflite", 0) == lab.out / "a.tflite"
    assert lab.path("a.tflite", 1) == lab.out / "repeats" / "seed1" / "a.tflite"


def test_figures_come_from_the_file_and_are_handed_in(lab, sign_model):
    for technique, mode, file in (
        ("float", "float", "sign_mnist.tflite"),
        ("dynamic range", "dynamic_range", "sign_mnist_quant_dyn.tflite"),
    ):
        path = lab.write(file, post_training.convert(sign_model, mode))
        figures = lab.measure(technique, path)
        assert figures["bytes"] == path.stat().st_size
        x, y = lab.dataset.x_test, lab.dataset.y_test
        assert (
            figures["accuracy"] == measure.accuracy(path, x, y) == lab.mean("accuracy", technique)
        )
    lab.write("sign_mnist.tflite", b"another seed's", seed=1)
    lab.write("written_last.tflite", b"not the file that this lab is about")
    lab.write("sweep/one_of_many.tflite", b"measured, not handed in", hand_in=False)
    with checks.check("one", exercise="one") as c:
        c.equal("x", 1, 1)
    table = lab.finish()
    assert list(table.index) == [
        "02_dynamic_range.ipynb", "sign_mnist.tflite", "sign_mnist_quant_dyn.tflite",
        "written_last.tflite", "results/02.json",
    ]  # fmt: skip
    results = json.loads((lab.out / "results" / "02.json").read_text())
    assert results["bytes"] == lab.path("sign_mnist_quant_dyn.tflite").stat().st_size
    assert results["checks"] == [{"check": "one", "exercise": "one", "status": "passed"}]
    assert list(lab.report().index) == ["float", "dynamic range"]
    comparison = lab.compare("dynamic range").reset_index()
    assert {"float", "dynamic range"} == set(comparison["technique"])
    ours = comparison[comparison["source"].str.startswith("this lab")].set_index("technique")
    expected = lab.mean("bytes", "float") / lab.mean("bytes", "dynamic range")
    assert ours.loc["dynamic range", "smaller (×)"] == pytest.approx(expected, abs=0.01)
    assert ours.loc["float", "lost (points)"] == 0


def test_figures_of_other_data_and_of_an_engine(lab):
    lab.record("4 bits", {"accuracy": 0.5, "cycles": 1000}, model="net", data="imagenet, real")
    table = lab.ledger.table().set_index("metric")
    assert table.loc["cycles", "unit"] == "cycle" and table.loc["cycles", "value"] == 1000
    assert set(table["data"]) == {"imagenet, real"} and set(table["model"]) == {"net"}
    lab.record("4 bits", {"accuracy": 0.25}, model="net")
    assert lab.report().loc["4 bits", "accuracy (%)"] == 25
    lab.record("a file", {"accuracy": 0.5, "bytes": 100}, model="net")
    assert lab.report()["bytes"].isna().tolist() == [True, False]
    with pytest.raises(KeyError):  # not of the lab's own data
        lab.mean("cycles", "4 bits")


def test_what_was_not_measured_has_no_mean(lab):
    with pytest.raises(KeyError, match="no accuracy of 'int8' was measured in lab 02"):
        lab.mean("accuracy", "int8")


def test_coded_bits_are_reported_where_a_code_is_shorter(lab, sign_model):
    lab.measure("float", lab.write("a.tflite", post_training.convert(sign_model, "float")))
    assert "coded (bits)" not in lab.report()
    kernels = [np.sign(w) if w.ndim > 1 else w for w in sign_model.get_weights()]
    signs = tf.keras.models.clone_model(sign_model)
    signs.set_weights(kernels)
    lab.measure("signs", lab.write("b.tflite", post_training.convert(signs, "float")))
    table = lab.report()
    assert table.loc["float", "coded (bits)"] == table.loc["float", "weights (bits)"]
    assert table.loc["signs", "coded (bits)"] < table.loc["signs", "weights (bits)"] / 10
