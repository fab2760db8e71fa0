import dataclasses
import json
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from labkit import checks, measure, runtime
from labkit.compress import post_training
from labkit.datasets import Dataset, sign_mnist
from labkit.errors import LabkitError
from labkit.lab import Lab
from labkit.models import sign_cnn
from labkit.training import Network, recipes


@pytest.fixture
def lab(tmp_path, tiny_data, monkeypatch):
    monkeypatch.setattr(sign_mnist, "load", lambda mode, quick, seed: tiny_data)
    return Lab(
        "02_dynamic_range",
        "quick",
        "synthetic",
        0,
        str(tmp_path / "out"),
        headline="sign_mnist_quant_dyn.tflite",
    )


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


def test_trainings_of_the_quick_profile_are_made_here_one_after_the_other(lab, two_processors):
    calls = []

    def work(name, seed):
        calls.append((name, seed))
        return os.getpid(), seed

    both = [("a", 1), ("a", 2)]
    here = os.getpid()
    assert lab.side_by_side(work, iter(both)) == {("a", 1): (here, 1), ("a", 2): (here, 2)}
    assert calls == both
    assert lab.side_by_side(work, {"first": ("b", 3)}) == {"first": (here, 3)}
    assert lab.side_by_side(work, {}) == lab.side_by_side(work, []) == {}


def test_trainings_of_the_full_profile_are_made_side_by_side(tiny_data, tmp_path, two_processors):
    """In their order, with the weights that each would have here."""
    source = SimpleNamespace(load=lambda mode, quick, seed: tiny_data)
    lab = Lab("01_baseline", "full", "synthetic", 3, str(tmp_path / "out"), dataset=source)
    network = Network(lambda: sign_cnn.build(), recipes(0.1, 0.1, 1e-3, batch=32))

    def work(network, seed):
        return os.getpid(), lab.trained(network, seed)

    ended = lab.side_by_side(work, {seed: (network, seed) for seed in lab.seeds})
    assert os.getpid() not in {process for process, _ in ended.values()}
    assert list(ended) == list(lab.seeds) == [trained.seed for _, trained in ended.values()]
    for _, trained in ended.values():
        kept = lab.trained(network, trained.seed)  # the file is there
        assert kept.loaded and not trained.loaded
        for ours, theirs in zip(kept.model.get_weights(), trained.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    lab.out = tmp_path / "here"
    here = lab.trained(network, 4)
    for ours, theirs in zip(here.model.get_weights(), ended[4][1].model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


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
        "02_dynamic_range.ipynb",
        "sign_mnist.tflite",
        "sign_mnist_quant_dyn.tflite",
        "written_last.tflite",
        "results/02.json",
    ]
    results = json.loads((lab.out / "results" / "02.json").read_text())
    assert results["bytes"] == lab.path("sign_mnist_quant_dyn.tflite").stat().st_size
    assert results["checks"] == [{"check": "one", "exercise": "one", "status": "passed"}]
    assert list(lab.report().index) == ["float", "dynamic range"]
    comparison = lab.compare("dynamic range").reset_index()
    assert {"float", "dynamic range"} == set(comparison["technique"])
    ours = comparison[comparison["source"].str.startswith("this lab")].set_index("technique")
    expected = lab.mean("bytes", "float") / lab.mean("bytes", "dynamic range")
    assert float(ours.loc["dynamic range", "smaller (×)"]) == pytest.approx(expected, abs=0.01)
    assert ours.loc["float", "lost (points)"] == "0.00"


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


def test_a_model_of_another_data_set_is_measured_on_it(lab, sign_model):
    answers = np.argmax(sign_model(lab.dataset.x_test), axis=1)
    others = Dataset.from_arrays(
        "others",
        (lab.dataset.x_train, lab.dataset.y_train),
        (lab.dataset.x_test, answers),
        class_names=lab.dataset.class_names,
        origin=lab.dataset.origin,
    )
    path = lab.write("sign_mnist.tflite", post_training.convert(sign_model, "float"))
    own = lab.measure("float", path)["accuracy"]
    lab.measure("float", path, model="other")  # before anybody says what it is
    lab.judge_on("other", others)
    found = lab.measure("float", path, model="other")["accuracy"]
    assert own < 0.5 and found == 1
    lab.record("4 bits", {"accuracy": 0.25}, model="other")
    lab.record("4 bits", {"accuracy": 0.5})
    of_others = lab.ledger.table().query("model == 'other' and metric == 'accuracy'")
    assert of_others["data"].tolist() == ["synthetic", *["others, synthetic"] * 2]
    report = lab.report().set_index("model", append=True)["accuracy (%)"]
    assert len(report) == 4  # without the row of the wrong data
    assert report["float", "other"] == 100
    assert report["4 bits"].to_dict() == {"other": 25, "baseline": 50}
    lost = lab.compare("4 bits").query("technique == '4 bits'")["lost (points)"]
    assert float(lost.xs("other", level="model").item()) == 75


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


def small_lab(tmp_path, x, y, **about):
    """A lab on arrays: its number has no published figures."""
    data = Dataset.from_arrays("made up", (x, y), (x, y), origin="synthetic")
    source = SimpleNamespace(load=lambda mode, quick, seed: data)
    return Lab("98_own", "quick", "synthetic", 0, str(tmp_path / "out"), source, **about)


def small_model(x, units):
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Input(x.shape[1:]), tf.keras.layers.Dense(units)])
    files = post_training.convert(model, "float"), post_training.convert(model, "dynamic_range")
    return model.predict(x, verbose=0), dict(zip(("float", "dynamic range"), files, strict=True))


def test_a_lab_of_places_goes_through_every_table(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    places, contents = small_model(x, 2)
    error = measure.AVERAGE_DISTANCE_ERROR
    lab = small_lab(
        tmp_path,
        x,
        places + np.array([0.3, 0.4]),
        headline="float.tflite",
        metrics=(error, measure.MEAN_SQUARED_ERROR),
    )
    for technique, content in contents.items():
        figures = lab.measure(technique, lab.write(f"{technique}.tflite", content))
        assert figures[error.name] == lab.mean(error.name, technique)
        assert "accuracy" not in figures
    assert lab.mean(error.name, "float") == pytest.approx(0.5, abs=1e-5)
    report = lab.report()
    assert report.loc["float", "average distance error (m)"] == 0.5
    assert report.loc["float", "mean squared error"] == 0.125
    assert not [column for column in report if "accuracy" in column]
    compared = lab.compare("dynamic range").reset_index().set_index("technique")
    lost = lab.mean(error.name, "dynamic range") - lab.mean(error.name, "float")
    assert float(compared.loc["dynamic range", error.loss]) == pytest.approx(lost, abs=1e-4)
    table = measure.summary(lab.ledger.table())
    assert measure.front(table, metric=error)["technique"].iloc[-1] in contents
    shown = lab.finish()["what"]
    assert "0.5 m on the test samples" in shown["float.tflite"]
    results = json.loads((lab.out / "results" / "98.json").read_text())
    assert results["accuracy"] is None and results["bytes"] == len(contents["float"])
    assert results["metrics"][error.name] == pytest.approx(0.5, abs=1e-5)


def test_a_lab_of_f1_loses_points_of_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    outputs, contents = small_model(x, 2)
    lab = small_lab(
        tmp_path, x, outputs.argmax(axis=1), metrics=(measure.MACRO_F1, measure.ACCURACY)
    )
    for technique, content in contents.items():
        lab.measure(technique, lab.write(f"{technique}.tflite", content))
    assert lab.report().loc["float", ["macro F1 (%)", "accuracy (%)"]].tolist() == [100, 100]
    compared = lab.compare("dynamic range").reset_index().set_index("technique")
    lost = 100 * (1 - lab.mean("macro F1", "dynamic range"))
    assert float(compared.loc["dynamic range", "lost (points)"]) == pytest.approx(lost, abs=0.01)
    assert lab.results()["accuracy"] == lab.results()["metrics"]["macro F1"] == 1
    assert lab.results()["bytes"] == len(contents["float"])  # the first that was handed in


def test_a_figure_has_a_unit(lab):
    with pytest.raises(LabkitError, match="'drift' has no unit"):
        lab.record("float", {"drift": 1.0})
    lab.record("float", {"drift": 1.0}, unit="mm")
    lab.record("float", {measure.AVERAGE_DISTANCE_ERROR: 0.5})
    units = lab.ledger.table().set_index("metric")["unit"]
    assert units.to_dict() == {"drift": "mm", "average distance error": "m"}


def test_report_says_what_runs_on_a_microcontroller(lab, sign_model, monkeypatch):
    for technique, mode in (("float", "float"), ("float16", "float16")):
        lab.measure(technique, lab.write(f"{mode}.tflite", post_training.convert(sign_model, mode)))
    plain = lab.report()
    assert not {"microcontroller", "arena (bytes)"} & set(plain)
    monkeypatch.setattr(measure.micro, "available", lambda: False)
    pd.testing.assert_frame_equal(lab.report(device=True), plain)
    monkeypatch.undo()
    if not measure.micro.available():
        pytest.skip("there is no tflite-micro here")
    table = lab.report(device=True)
    assert table["microcontroller"].tolist() == ["runs", "no: DEQUANTIZE, float16 → float32"]
    arena = measure.micro.run(lab.path("float.tflite")).arena_bytes
    assert table["arena (bytes)"].tolist() == [arena, pd.NA]
    summary = measure.summary(lab.ledger.table())
    assert summary["microcontroller"].tolist() == ["runs", "no"]
    assert summary["arena (bytes)"].iloc[0] == arena
    pd.testing.assert_frame_equal(lab.report(), plain)


def test_files_are_compared_on_harder_images(lab, sign_model):
    harder = lab.dataset.corrupted(noise=0.2)
    reference = lab.write("sign_mnist.tflite", post_training.convert(sign_model, "float"))
    lab.measure("float", reference, harder=harder)
    path = lab.write("dyn.tflite", post_training.convert(sign_model, "dynamic_range"))
    figures = lab.measure("dynamic range", path, reference=reference, harder=harder)
    assert figures["harder_accuracy"] == measure.accuracy(path, harder.x_test, harder.y_test)
    report = lab.report()
    assert report.loc["dynamic range", "changed"] == figures["changed_answers"]
    assert pd.isna(report.loc["float", "changed"])
    assert report.loc["float", "peak RAM (bytes)"] == 62_720


def test_a_keras_model_reads_as_many_as_its_float_file(lab, sign_model):
    path = lab.write("sign_mnist.tflite", post_training.convert(sign_model, "float"))
    right = 100 * lab.measure("float", path)["accuracy"]
    assert lab.accuracy_in_keras(sign_model) == pytest.approx(right)
    guesses = sign_model.predict(lab.dataset.x_test, verbose=0).argmax(axis=1)
    lab.dataset = dataclasses.replace(lab.dataset, y_test=guesses)
    assert lab.accuracy_in_keras(sign_model) == 100


def test_a_network_of_ones_own_is_carried(lab):
    layers = tf.keras.layers
    inputs = layers.Input((28, 28, 1))
    mine = tf.keras.Model(inputs, layers.Dense(24, "softmax")(layers.Flatten()(inputs)))
    assert lab.network(sign_cnn) is sign_cnn
    network = lab.adopt(mine, sign_cnn)
    assert network.build().count_params() == mine.count_params()
    later = Lab("03_int16x8", "quick", "synthetic", 0, str(lab.out))
    assert later.network(sign_cnn).facts == network.facts
