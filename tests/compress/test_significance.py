"""Which layers matter: dimensions, noise, sensitivities and the plans that they make."""

import itertools

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from labkit import dimension
from labkit.compress import hessian, mixed_precision, significance
from labkit.compress.kernels import CompressionError
from labkit.compress.mixed_precision import Precision
from labkit.models import graph, quantnet

L = tf.keras.layers


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(1)
    return quantnet.build((4, 6), (12, 8), input_shape=(12, 12, 3))


@pytest.fixture(scope="module")
def images():
    """On a surface of three dimensions."""
    random = np.random.default_rng(0)
    a, b, c = random.uniform(0, 1, (3, 600, 1, 1, 1))
    y, x = np.mgrid[:12, :12][..., None] / 12
    waves = np.sin(3 * a * x + 2 * b) + np.cos(4 * c * y) * np.array([1, 0.5, -1])
    return (0.5 + waves / 4).astype(np.float32)


def test_dimensions_are_of_what_is_read_and_given(model, images):
    table = significance.intrinsic_dimensions(model, images)
    assert list(table.index) == ["conv1", "conv2", "linear1", "linear2", "output"]
    assert table["features"].tolist() == [6 * 6 * 4, 3 * 3 * 6, 12, 8, 1]
    assert table.loc["conv1", "read"] == pytest.approx(3, rel=0.15)
    taps = tf.keras.Model(model.inputs, [model.get_layer(n).output for n in ("pool2", "linear1")])
    pooled, linear = taps(images)
    assert table.loc["conv2", "given"] == pytest.approx(dimension.two_nn(pooled).dimension, 1e-3)
    assert table.loc["linear1", "given"] == pytest.approx(dimension.two_nn(linear).dimension, 1e-3)
    np.testing.assert_array_equal(table["read"].iloc[1:], table["given"].iloc[:-1])
    np.testing.assert_array_equal(table["change"], table["given"] - table["read"])
    censored = significance.intrinsic_dimensions(model, images, "censored")
    assert (censored["given"] != table["given"]).all()


def test_components_are_among_channels(model, images):
    table = significance.principal_components(model, images, 0.99)
    tap = tf.keras.Model(model.inputs, model.get_layer("pool2").output)
    channels = tap(images).numpy().reshape(-1, 6)
    assert table.loc["conv2", "given"] == dimension.components(channels, 0.99)
    assert (table["given"] <= [4, 6, 12, 8, 1]).all()
    np.testing.assert_array_equal(table["read"].iloc[1:], table["given"].iloc[:-1])


def test_a_skip_connection_and_an_inner_model(images):
    tf.keras.utils.set_random_seed(0)
    inputs = L.Input((12, 12, 3))
    x = skipped = L.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = L.Add()([skipped, L.Conv2D(4, 3, padding="same", activation="relu", name="second")(x)])
    head = tf.keras.Sequential([L.Input((4,)), L.Dense(2, name="head")], name="inner")
    model = tf.keras.Model(inputs, head(L.GlobalAveragePooling2D()(x)))
    table = significance.intrinsic_dimensions(model, images[:200])
    assert list(table.index) == ["first", "second", "inner/head"]
    assert table.loc["second", "read"] == table.loc["first", "given"]
    assert table.loc["inner/head", "read"] != table.loc["second", "given"]  # added and averaged


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        ("intrinsic_dimensions", "1 distinct points"),
        ("principal_components", "points are the same"),
    ],
)
def test_a_layer_without_a_dimension_is_named_and_the_others_are_measured(images, measure, why):
    model = tf.keras.Sequential(
        [
            *[L.Input((12, 12, 3)), L.Flatten(), L.Dense(3, name="first")],
            L.Dense(2, kernel_initializer="zeros", name="dead"),
        ]
    )
    with pytest.warns(dimension.DimensionWarning, match=f"at layer 'dead': .*{why}"):
        table = getattr(significance, measure)(model, images)
    assert np.isnan(table.loc["dead", ["given", "change"]].astype(float)).all()
    assert table.loc["dead", "read"] == table.loc["first", "given"] > 0
    assert significance.significant(table, -1e9) == ["first"]


def test_one_input_is_expected(images):
    two = tf.keras.Model([a := L.Input((2,)), b := L.Input((2,))], L.Add()([a, b]), name="two")
    with pytest.raises(CompressionError, match="'two' has 2 inputs"):
        significance.intrinsic_dimensions(two, images)


#: The thesis's table 4.6, source domain, TwoNN and PCA.
TWO_NN = [25.61, 33.19, 49.48, 23.76, 0.98]
PCA = [2, 13, 48, 31, 1]


def thesis(dimensions):
    table = pd.DataFrame({"change": np.diff(dimensions)})
    return table.set_index(pd.Index(["conv1", "conv2", "linear1", "linear2"]))


def test_the_thesis_choice():
    """Figure 4.7: at Δ = 20 TwoNN finds linear1 and linear2, PCA's increase conv2."""
    assert significance.significant(thesis(TWO_NN), 20) == ["linear1", "linear2"]
    assert significance.significant(thesis(PCA), 20, "increase") == ["conv2"]
    chosen = significance.plan(quantnet.build(), ["linear1", "linear2"])
    assert chosen == {"conv2": Precision(1), "linear1": Precision(2), "linear2": Precision(2)}
    table = mixed_precision.memory(quantnet.build(), chosen)
    assert round(mixed_precision.reduction(table, "published (bits)"), 2) == 15.87
    with pytest.raises(CompressionError, match="the rule is 'fall'"):
        significance.significant(thesis(PCA), 20, "fall")


def test_noise_of_a_layer_alone(model, images):
    x = images[:64]
    table = significance.quantization_noise(model, x, 2)
    kernel = model.get_layer("linear1").kernel.numpy()
    mixed = mixed_precision.quantize(model, {"linear1": 2})
    plain = mixed_precision.quantize(model, {"linear1": Precision(2, inputs=32)})
    error = kernel - mixed_precision.to_float(plain).get_layer("linear1").kernel.numpy()
    assert table.loc["linear1", "squared error"] == pytest.approx(np.sum(error**2), rel=1e-5)
    ratio = 10 * np.log10(np.sum(kernel**2) / np.sum(error**2))
    assert table.loc["linear1", "SQNR (dB)"] == pytest.approx(ratio, rel=1e-5)
    wanted, found = model(x).numpy(), mixed(x).numpy()
    ratio = 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2))
    assert table.loc["linear1", "output SQNR (dB)"] == pytest.approx(ratio, rel=1e-3)


@pytest.fixture(scope="module")
def weighed(model, images):
    y = np.arange(60) % 2
    traces = hessian.mean_traces(model, (images[:60], y), "binary_crossentropy", draws=5)
    names = mixed_precision.inner(model)
    return significance.sensitivities(model, traces["mean trace"][names].abs(), [1, 2, 4, 32])


def test_sensitivity_is_trace_times_squared_error(model, images, weighed):
    noise = significance.quantization_noise(model, images[:8], 2)["squared error"]
    ones = pd.Series(1.0, index=weighed.index)
    np.testing.assert_allclose(
        significance.sensitivities(model, ones, [2])[2], noise[weighed.index], rtol=1e-6
    )
    assert (weighed[32] == 0).all()
    assert (weighed[1] > weighed[2]).all() and (weighed[2] > weighed[4]).all()


def test_no_plan_beats_those_of_the_front(model, weighed):
    """Against all 64 plans."""
    front = significance.pareto(model, weighed)
    names = list(weighed.index)
    every = []
    for widths in itertools.product(weighed.columns, repeat=len(names)):
        plan = dict(zip(names, widths, strict=True))
        size = mixed_precision.memory(model, plan)["size (bits)"].sum()
        every.append((size, sum(weighed.loc[n, w] for n, w in plan.items())))
    best = [p for p in every if not any(a < p[0] and b <= p[1] for a, b in every)]
    best = {(a, round(b, 12)) for a, b in best if not any(c == a and d < b for c, d in every)}
    found = set(zip(front["size (bits)"], front["sensitivity"].round(12), strict=True))
    assert found == best and len(front) > 5
    assert front["size (bits)"].is_monotonic_increasing
    row = front.iloc[2]
    plan = row[names].to_dict()
    assert mixed_precision.memory(model, plan)["size (bits)"].sum() == row["size (bits)"]


def test_the_graph_is_left_alone(model, images):
    names = [layer.name for layer in model.layers]
    significance.intrinsic_dimensions(model, images[:100])
    assert [layer.name for layer in model.layers] == names and graph.flat(model) is model
