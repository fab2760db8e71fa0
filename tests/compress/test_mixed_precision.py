"""Layers of few bits: by hand, as planned, in any network, and what they cost."""

import numpy as np
import pytest
import tensorflow as tf
from counted import clusters_of

from labkit import measure, training
from labkit.compress import mixed_precision, post_training
from labkit.compress.kernels import CompressionError
from labkit.compress.mixed_precision import Precision
from labkit.compress.mixed_precision.layers import MixedDense, input_codes, weight_codes
from labkit.models import graph, quantnet
from labkit.training import Recipe

L = tf.keras.layers


def dense(precision, kernel, bias=(0.0,)):
    layer = MixedDense(len(bias), precision=precision)
    layer.build((None, len(kernel)))
    layer.set_weights([np.array(kernel, np.float32), np.array(bias, np.float32)])
    return layer


def test_a_dense_layer_of_one_bit_by_hand():
    # The mean is 0.1; what is left is 0.4, -0.5, 0.1: mean magnitude 1/3.
    layer = dense(Precision(1), [[0.5], [-0.4], [0.2]], [0.25])
    x = np.array([[0.7, -3.0, 0.0], [1e-6, 0.2, 5.0]], np.float32)
    signs = np.array([[1, -1, -1], [1, 1, 1]])  # zero is below
    expected = signs @ [[1], [-1], [1]] / 3 + 0.25
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)


def test_a_dense_layer_of_two_bits_by_hand():
    layer = dense(Precision(2, span="unit"), [[0.9], [-0.8], [0.1], [-0.2]])
    # Four values from -1 to 1, -1/3 and 1/3 between them; zero is below.
    x = np.array([[0.1, -0.5, 0.0, 2.0]], np.float32)
    alpha = (0.9 * 3 + 0.8 * 3 + 0.1 + 0.2) / 20
    expected = alpha * (np.array([1, -1, -1, 3]) / 3) @ [3, -3, 1, -1]
    np.testing.assert_allclose(layer(x), [[expected]], rtol=1e-6)


def test_inputs_as_they_come():
    layer = dense(Precision(1, inputs=32), [[0.5], [-0.5]])
    np.testing.assert_allclose(layer(np.array([[3.0, 0.25]], np.float32)), [[0.5 * 2.75]])


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_codes_of_inputs(bits):
    values = np.linspace(-1.5, 1.5, 3001).astype(np.float32)
    codes = input_codes(tf.constant(values), bits).numpy()
    largest = 2**bits - 1
    assert set(codes) == set(range(-largest, largest + 1, 2))
    assert np.abs(codes / largest - np.clip(values, -1, 1)).max() <= 1.001 / largest
    assert input_codes(tf.constant([0.0, 1e-30, -1e-30]), bits).numpy().tolist() == [-1, 1, -1]


def test_gradients_go_straight_through_where_nothing_is_clipped():
    kernel = tf.Variable([[0.5], [-1.8], [0.4], [0.9]])  # of mean 0
    x = tf.Variable([[0.3, -2.0, 0.0, 1.0]])
    precision = Precision(2, span="unit")
    codes, step = weight_codes(kernel, precision)
    with tf.GradientTape() as tape:
        layer = dense(precision, kernel.numpy())
        outputs = tf.reduce_sum(layer(x) * 2)
    by_x, by_kernel = tape.gradient(outputs, [x, layer.kernel])
    quantised = (codes * step).numpy().ravel()
    np.testing.assert_allclose(by_x[0], 2 * quantised * [1, 0, 1, 1], rtol=1e-5)
    inputs = np.array([1, -3, -1, 3]) / 3
    np.testing.assert_allclose(by_kernel[:, 0], 2 * inputs * [1, 0, 1, 1], rtol=1e-5)


def small(classes=2):
    tf.keras.utils.set_random_seed(3)
    return quantnet.build((4, 6), (12, 8), classes=classes, input_shape=(12, 12, 3))


PLANS = [
    {"conv2": 1, "linear1": 2, "linear2": 2},
    {"conv1": 1},
    {"linear1": Precision(3, inputs=8, scale="channel"), "conv2": Precision(1, span="unit")},
    {"conv1": 8, "conv2": 4, "linear1": 2, "linear2": 1, "output": 3},
    {"conv2": 32},
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_is_applied_as_it_is_written(plan):
    model = small()
    before = model.get_weights()
    mixed = mixed_precision.quantize(model, plan)
    wanted = {
        n: p if isinstance(p, Precision) else Precision(p) for n, p in plan.items() if p != 32
    }
    assert mixed_precision.plan_of(mixed) == wanted
    for layer, original in zip(mixed.layers, model.layers, strict=True):
        assert layer.name == original.name
        if layer.name in wanted:
            codes, step = weight_codes(layer.kernel, layer.precision)
            assert len(np.unique(codes)) <= 2 ** wanted[layer.name].weights
            channels = layer.kernel.shape[-1] if layer.precision.scale == "channel" else 1
            assert int(tf.size(step)) == channels
        else:
            assert type(layer) is type(original)
    for a, b, c in zip(before, mixed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_a_network_is_its_layers_one_by_one():
    """From float kernels and inputs of few values, by plain Keras layers."""
    model, plan = small(), {"conv2": 1, "linear1": 2, "linear2": 2}
    random = np.random.default_rng(0)
    for weight in model.weights:  # biases, or sums of few values are zero up to rounding
        weight.assign(weight + random.uniform(0.01, 0.1, weight.shape))
    mixed = mixed_precision.quantize(model, plan)
    x = random.uniform(size=(5, 12, 12, 3)).astype(np.float32)
    value = tf.constant(x)
    for layer in model.layers[1:]:
        if layer.name in plan:
            bits = plan[layer.name]
            codes, step = weight_codes(layer.kernel, Precision(bits))
            layer.kernel.assign(codes * step)
            value = input_codes(value, bits) / (2.0**bits - 1)
        value = layer(value)
    np.testing.assert_allclose(mixed(x), value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"conv9": 1}, "'conv9' is no layer of this network"),
        ({"pool1": 1}, "'pool1' is MaxPooling2D: a plan is for"),
        ({"conv2": 0}, "bits are 0"),
        ({"conv2": 16}, "bits are 16"),
    ],
)
def test_plans_that_cannot_be_applied(plan, message):
    with pytest.raises(CompressionError, match=message):
        mixed_precision.quantize(small(), plan)


@pytest.mark.parametrize("options", [{"inputs": 9}, {"scale": "row"}, {"span": "wide"}])
def test_precisions_that_there_are_not(options):
    with pytest.raises(CompressionError, match=str(next(iter(options.values())))):
        Precision(2, **options)


def test_the_thesis_ratios_come_out():
    """Table 4.7; the 1.01 of its third row are 1.00."""
    model = quantnet.build()
    found = {
        "30.42": mixed_precision.uniform(model, 1),
        "1.00": {"conv1": 1},
        "1.03": {"conv2": 1},
        "14.42": {"linear1": 1},
        "15.87": {"conv2": 1, "linear1": 2, "linear2": 2},
    }
    for ratio, plan in found.items():
        table = mixed_precision.memory(model, plan)
        assert f"{mixed_precision.reduction(table, 'published (bits)'):.2f}" == ratio
        mixed = mixed_precision.quantize(model, plan)
        assert mixed_precision.memory(mixed).equals(table)
    assert list(mixed_precision.uniform(model, 1)) == ["conv2", "linear1", "linear2"]


def test_bits_by_hand():
    plan = {"conv2": Precision(1, scale="channel"), "linear1": 2}
    table = mixed_precision.memory(quantnet.build(), plan)
    assert table.loc["conv2", "size (bits)"] == 18_432 + (64 + 64) * 32
    assert table.loc["linear1", "size (bits)"] == 2 * 524_288 + (128 + 1) * 32
    assert table.loc["output", "size (bits)"] == 17 * 32
    assert table["size at 32 bits (bits)"].sum() == 545_889 * 32
    inputs = L.Input((8, 4))
    x = L.BatchNormalization(name="norm")(L.Conv1D(4, 3, name="conv")(inputs))
    table = mixed_precision.memory(tf.keras.Model(inputs, x), {"conv": 1})
    assert table.loc["norm", "size (bits)"] == 16 * 32 and table.loc["conv", "others"] == 4


def test_activations_come_within_one_and_the_function_stays():
    model = small()
    for weight in model.trainable_weights:
        weight.assign(weight * 3 + 0.1)
    x = np.random.default_rng(0).uniform(size=(64, 12, 12, 3)).astype(np.float32)
    assert max(np.abs(taken).max() for taken in inputs_of(model, x)) > 10
    within = mixed_precision.within_one(model, x, share=1.0)
    np.testing.assert_allclose(within(x), model(x), rtol=1e-4)
    np.testing.assert_allclose([np.abs(t).max() for t in inputs_of(within, x)], 1, rtol=1e-5)


def test_of_a_quantised_network_as_the_layers_before_make_it():
    """Of one bit inputs are far larger than those that they stand for, and most of all is zero."""
    x = np.random.default_rng(0).uniform(size=(64, 12, 12, 3)).astype(np.float32)
    plan = {"conv2": 1, "linear1": 2, "linear2": 2}
    first = mixed_precision.quantize(mixed_precision.within_one(small(), x, share=1.0), plan)
    assert max(np.abs(taken).max() for taken in inputs_of(first, x)) > 2
    mixed = mixed_precision.within_one(mixed_precision.quantize(small(), plan), x, share=1.0)
    np.testing.assert_allclose([np.abs(t).max() for t in inputs_of(mixed, x)], 1, rtol=1e-5)
    assert mixed_precision.plan_of(mixed) == mixed_precision.plan_of(first)
    less = mixed_precision.within_one(mixed, x, share=0.8)
    for taken in inputs_of(less, x):
        assert np.mean(np.abs(taken[taken != 0]) <= 1 + 1e-5) == pytest.approx(0.8, abs=0.05)


def test_what_codes_add_does_not_add_up():
    """A last layer in floating point gives what it gave, not a product of all that codes add."""
    x = np.random.default_rng(0).uniform(size=(64, 12, 12, 3)).astype(np.float32)
    model = mixed_precision.within_one(small(), x)
    plan = {"conv2": 1, "linear1": 1, "linear2": 1}
    mixed = mixed_precision.quantize(model, plan)
    before, there = mixed.get_layer("output").kernel, model.get_layer("output").kernel
    within = mixed_precision.within_one(mixed, x).get_layer("output").kernel
    np.testing.assert_allclose(within, before, rtol=1e-6)
    np.testing.assert_allclose(before, there)
    # Weights alone in one bit: nothing has grown, and the function stays.
    alone = mixed_precision.quantize(small(), {"linear1": Precision(1, inputs=32)})
    np.testing.assert_allclose(mixed_precision.within_one(alone, x)(x), alone(x), rtol=1e-4)


def inputs_of(model, x):
    names = [layer.name for layer in model.layers if hasattr(layer, "kernel")][1:]
    return [taken for taken, _ in graph.layer_outputs(model, x, names).values()]


def test_what_a_factor_cannot_pass_stays():
    inputs = L.Input((6,))
    x = skipped = L.Dense(6, "relu", name="read_twice")(inputs)
    x = L.Dense(6, "tanh", name="tanh")(x)
    x = L.Add()([skipped, x])
    x = L.BatchNormalization(name="norm")(L.Dense(6, name="before_norm")(x))
    model = tf.keras.Model(inputs, L.Dense(1, name="last")(L.ReLU()(x)))
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 2, w.shape) for w in model.get_weights()])
    x = random.normal(size=(50, 6)).astype(np.float32)
    within = mixed_precision.within_one(model, x, share=1.0)
    np.testing.assert_allclose(within(x), model(x), rtol=1e-4, atol=1e-3)
    changed = [
        a.name.split("/")[0]
        for a, b in zip(model.weights, within.weights, strict=True)
        if not np.array_equal(a, b)
    ]
    assert sorted(set(changed)) == ["last", "norm"]
    taken, _ = graph.layer_outputs(within, x, ["last"])["last"]
    assert taken.max() == pytest.approx(1, rel=1e-5)


def test_a_network_learns_in_mixed_precision_and_is_saved(tmp_path):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 256)
    x = random.uniform(size=(256, 12, 12, 3)).astype(np.float32)
    x[:, 3:9, 3:9] += (0.8 * y - 0.4)[:, None, None, None]
    mixed = mixed_precision.quantize(small(), {"conv2": 1, "linear1": 2, "linear2": 2})
    latent = mixed.get_layer("linear1").kernel.numpy()
    recipe = Recipe(12, 5e-3, batch=32, loss="binary_crossentropy")
    training.fit(mixed, (x, y), recipe)
    read = mixed.predict(x, verbose=0)[:, 0] > 0.5
    assert np.mean(read == y) > 0.9
    assert np.abs(mixed.get_layer("linear1").kernel - latent).max() > 1e-3
    mixed.save(tmp_path / "mixed.keras")
    loaded = tf.keras.models.load_model(tmp_path / "mixed.keras")
    np.testing.assert_array_equal(loaded(x[:9]), mixed(x[:9]))
    assert mixed_precision.plan_of(loaded) == mixed_precision.plan_of(mixed)


def test_a_file_has_the_values_where_inputs_come_as_they_are():
    plan = {"conv2": Precision(1, inputs=32), "linear1": Precision(2, inputs=32)}
    mixed = mixed_precision.quantize(small(), plan)
    plain = mixed_precision.to_float(mixed)
    x = np.random.default_rng(0).uniform(size=(9, 12, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(plain(x), mixed(x), rtol=1e-5)
    clusters = clusters_of(plain)
    assert (clusters["conv2"], clusters["linear1"]) == (2, 4)
    found = measure.TFLiteModel(post_training.convert(plain, "float")).predict(x)
    np.testing.assert_allclose(found, mixed(x), rtol=1e-4)
    with pytest.raises(CompressionError, match="'conv2' has inputs of 1 bits"):
        mixed_precision.to_float(mixed_precision.quantize(small(), {"conv2": 1}))


def residual():
    inputs = x = L.Input((16, 6))
    x = L.ReLU()(L.BatchNormalization()(L.Conv1D(8, 3, padding="causal", name="a")(x)))
    y = L.Conv1D(8, 3, padding="same", groups=2, activation="relu", name="b")(x)
    x = L.GlobalAveragePooling1D()(L.Add()([x, y]))
    block = tf.keras.Sequential([L.Input((8,)), L.Dense(5, "relu", name="in")], name="block")
    return tf.keras.Model(inputs, L.Dense(3, "softmax", name="out")(block(x)))


def test_any_network():
    tf.keras.utils.set_random_seed(0)
    model, plan = residual(), {"a": 2, "b": 1, "block/in": 2}
    x = np.random.default_rng(0).normal(size=(32, 16, 6)).astype(np.float32)
    mixed = mixed_precision.quantize(mixed_precision.within_one(model, x), plan)
    history = training.fit(mixed, (x, np.arange(32) % 3), Recipe(3, 1e-2, batch=16))
    assert np.isfinite(history["loss"]).all() and list(mixed_precision.plan_of(mixed)) == list(plan)
    first = L.Conv2D(4, 3, data_format="channels_first", name="first")
    with pytest.raises(CompressionError, match="'first' has its channels first"):
        mixed_precision.quantize(tf.keras.Sequential([L.Input((3, 8, 8)), first]), {"first": 1})
