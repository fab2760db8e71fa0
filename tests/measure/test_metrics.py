"""Metrics as values: from a file's outputs to ledger, report and front."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from labkit import measure
from labkit.compress import post_training
from labkit.measure import metrics

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 60)
OUTPUTS = RNG.uniform(size=(60, 3))


def test_classification_agrees_with_scikit_learn():
    read = OUTPUTS.argmax(axis=1)
    assert measure.ACCURACY.compute(CLASSES, OUTPUTS) == np.mean(read == CLASSES)
    for metric, average in ((measure.MACRO_F1, "macro"), (measure.WEIGHTED_F1, "weighted")):
        assert metric.compute(CLASSES, OUTPUTS) == pytest.approx(
            f1_score(CLASSES, read, average=average)
        )
    precision = precision_score(CLASSES, read, average="weighted")
    assert measure.WEIGHTED_PRECISION.compute(CLASSES, OUTPUTS) == pytest.approx(precision)
    recall = recall_score(CLASSES, read, average="weighted")
    assert measure.ACCURACY.compute(CLASSES, OUTPUTS) == pytest.approx(recall)
    np.testing.assert_array_equal(
        measure.confusion(CLASSES, OUTPUTS), confusion_matrix(CLASSES, read)
    )


def test_a_class_that_is_never_read_counts_zero_and_of_equals_the_first():
    outputs = np.ones((4, 2))
    assert measure.ACCURACY.compute(np.array([0, 0, 1, 1]), outputs) == 0.5
    assert measure.MACRO_F1.compute(np.array([0, 0, 1, 1]), outputs) == pytest.approx(1 / 3)


def test_a_single_output_is_the_probability_of_the_second_class():
    outputs, targets = np.array([[0.2], [0.5], [0.7], [0.9]]), np.array([0, 1, 1, 0])
    assert measure.ACCURACY.compute(targets, outputs) == 0.5
    np.testing.assert_array_equal(measure.confusion(targets, outputs), [[1, 1], [1, 1]])
    with pytest.raises(ValueError, match="expected classes from 0"):
        measure.ACCURACY.compute(np.array([0, 1, 2, 0]), outputs)


def test_errors_by_hand():
    wanted, found = np.array([[0.0, 0], [1, 1]]), np.array([[3.0, 4], [1, 1]])
    assert measure.AVERAGE_DISTANCE_ERROR.compute(wanted, found) == 2.5
    assert measure.MEAN_SQUARED_ERROR.compute(wanted, found) == 25 / 4
    assert measure.MEAN_SQUARED_ERROR.compute(np.array([1.0, 2]), np.array([[1.0], [4]])) == 2


@pytest.mark.parametrize(
    ("metric", "targets", "message"),
    [
        (measure.ACCURACY, np.zeros((60, 3)), "one integer class for each sample"),
        (measure.ACCURACY, CLASSES + 1, "classes 1 to 3"),
        (measure.MEAN_SQUARED_ERROR, np.zeros((60, 2)), "expected the same"),
    ],
)
def test_targets_that_do_not_fit(metric, targets, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(targets, OUTPUTS)


@pytest.fixture(scope="module")
def place_model():
    """A file that gives two coordinates, and the samples that it is right about."""
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
    x = RNG.normal(size=(20, 4)).astype(np.float32)
    return post_training.convert(model, "float"), x, model.predict(x, verbose=0)


def test_a_file_is_run_once_for_all_metrics(place_model, monkeypatch):
    content, x, places = place_model
    runs = []
    run = measure.TFLiteModel.predict
    monkeypatch.setattr(
        measure.TFLiteModel, "predict", lambda self, x: runs.append(1) or run(self, x)
    )
    worst = measure.Metric("largest error", "m", False, lambda y, out: np.abs(y - out).max())
    judged = (measure.AVERAGE_DISTANCE_ERROR, measure.MEAN_SQUARED_ERROR, worst)
    figures = measure.evaluate(content, x, places + np.array([0.3, 0.4]), judged)
    assert len(runs) == 1
    assert figures["average distance error"] == pytest.approx(0.5, abs=1e-5)
    assert figures["mean squared error"] == pytest.approx(0.125, abs=1e-5)
    assert figures["largest error"] == pytest.approx(0.4, abs=1e-5)
    assert figures["bytes"] == len(content)


def test_several_inputs_and_outputs_by_name():
    layers = tf.keras.layers
    a, b = layers.Input((3,), name="zebra"), layers.Input((2,), name="ant")
    both = layers.Concatenate()([a, b])
    outputs = [layers.Dense(2, name="up")(both), layers.Dense(1, name="down")(both)]
    model = tf.keras.Model([a, b], outputs)
    x = {"zebra": RNG.normal(size=(9, 3)), "ant": RNG.normal(size=(9, 2))}
    up, down = model.predict([x["zebra"], x["ant"]], verbose=0)
    runtime = measure.TFLiteModel(post_training.convert(model, "float"))
    found = runtime.predict(x)
    np.testing.assert_allclose(found["up"], up, atol=1e-6)
    np.testing.assert_allclose(found["down"], down, atol=1e-6)
    in_order = runtime.predict([x[name] for name in runtime.input_names])
    np.testing.assert_array_equal(in_order["up"], found["up"])
    with pytest.raises(ValueError, match=r"expects .'ant', 'zebra'."):
        runtime.predict({"zebra": x["zebra"]})
    with pytest.raises(ValueError, match=r"1 arrays.*expects 2 inputs"):
        runtime.predict(x["zebra"])
    distance = measure.Metric(
        "distance", "", False, lambda y, out: float(np.abs(y["up"] - out["up"]).mean())
    )
    figures = measure.evaluate(
        post_training.convert(model, "float"), x, {"up": up, "down": down}, (distance,)
    )
    assert figures["distance"] < 1e-6


def rows(metric, values):
    run = {"lab": "09", "model": "mlp", "data": "synthetic", "profile": "quick", "seed": 0}
    for technique, (size, value) in values.items():
        yield run | {"technique": technique, "metric": metric.name, "value": value, "unit": "m"}
        yield run | {"technique": technique, "metric": "bytes", "value": size, "unit": "byte"}


def test_the_front_knows_the_direction(tmp_path):
    metric = measure.AVERAGE_DISTANCE_ERROR
    values = {"a": (100, 0.5), "b": (200, 0.4), "c": (300, 0.45), "d": (50, 0.6)}
    ledger = measure.Ledger(tmp_path)
    ledger.record(list(rows(metric, values)))
    report = measure.summary(ledger.table())
    assert report["average distance error (m)"].tolist() == [0.5, 0.4, 0.45, 0.6]
    best = measure.front(report, metric=metric)
    assert best["technique"].tolist() == ["d", "a", "b"]


def test_known_metrics_have_columns_of_their_own():
    assert metrics.KNOWN["accuracy"].column == "accuracy (%)"
    assert metrics.KNOWN["accuracy"].spread == "± (%)"
    assert measure.MACRO_F1.column == "macro F1 (%)"
    assert measure.AVERAGE_DISTANCE_ERROR.text(0.4321) == "0.432 m"
    assert measure.AVERAGE_DISTANCE_ERROR.lost(0.4, 0.5) == pytest.approx(0.1)
    assert measure.ACCURACY.lost(90, 88) == 2
    table = pd.DataFrame(rows(measure.MACRO_F1, {"a": (1, 0.5)}))
    assert measure.summary(table)["macro F1 (%)"].tolist() == [50]


def test_what_still_moves_where_accuracy_does_not():
    before = np.array([[0.9, 0.1, 0], [0.2, 0.5, 0.3], [0, 0.4, 0.6]])
    after = np.array([[0.8, 0.2, 0], [0.2, 0.3, 0.5], [0, 0.4, 0.6]])
    assert measure.changed(before, after) == 1  # the second one, whatever its class is
    noise = 2 * 0.01 + 2 * 0.04
    energy = 0.81 + 0.01 + 0.04 + 0.25 + 0.09 + 0.16 + 0.36
    assert measure.sqnr(before, after) == pytest.approx(10 * np.log10(energy / noise))
    assert measure.sqnr(before, before) == np.inf
    assert measure.sqnr(before, 2 * before) == 0
    two = np.array([[0.6], [0.2]])  # the probability of the second of two
    assert measure.changed(two, 1 - two) == 2
    with pytest.raises(ValueError, match="expected the same samples"):
        measure.sqnr(before, after[:2])


def test_a_printed_table_has_blanks_and_whole_numbers():
    table = pd.DataFrame(
        {
            "accuracy (%)": [99.987, np.nan, -0.001],
            "bytes": pd.array([7297, None, 10], "Int64"),
            "seeds": [3, 3, 1],
            "float32": np.float32([0.5, np.nan, 0.25]),
            "verdict": ["runs", None, ""],
        },
        index=["a", "b", "c"],
    )
    found = metrics.printed(table, 2)
    assert found.loc["a"].tolist() == ["99.99", 7297, 3, "0.50", "runs"]
    assert found["accuracy (%)"].tolist() == ["99.99", "", "0.00"]  # as many decimals in a column
    assert found.loc["b"].tolist() == ["", "", 3, "", ""]
    assert "-0" not in found.to_string() and "7297.0" not in found.to_string()
    mixed = pd.DataFrame({"16 bits": pd.Series({"cycles": 725118, "share": 0.123}, dtype=object)})
    assert metrics.printed(mixed, 1)["16 bits"].tolist() == [725118, "0.1"]
    assert metrics.printed(pd.DataFrame({"a": [97.0, np.nan]}), 2)["a"].tolist() == ["97.0", ""]
    assert metrics.printed(pd.DataFrame({"a": [1.7, np.inf]}), 0)["a"].tolist() == ["2", "inf"]
    twice = pd.DataFrame([[1, 0.25], [2, np.nan]], columns=["to", "to"], index=["x", "x"])
    assert metrics.printed(twice, 1).to_numpy().tolist() == [[1, "0.2"], [2, ""]]
    assert table["bytes"].isna().sum() == 1  # untouched
