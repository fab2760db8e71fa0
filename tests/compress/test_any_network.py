"""Every technique and conversion on networks that are no lab's, with the user's own data."""

import numpy as np
import pytest
import tensorflow as tf
from counted import clusters_of

from labkit import measure, training
from labkit.compress import (
    clustering,
    dynamic_pruning,
    low_bit,
    post_training,
    pruning,
    quantization_aware,
)
from labkit.compress.kernels import CompressionError
from labkit.models.graph import flat
from labkit.models.planar import planar
from labkit.training import Recipe

L = tf.keras.layers
COUNT = 32


def inverted_residual():
    """MobileNetV2's block: a depthwise convolution, a skip connection, ReLU6."""
    inputs = L.Input((12, 12, 3))
    x = skipped = L.BatchNormalization()(L.Conv2D(8, 3, padding="same", use_bias=False)(inputs))
    x = L.Conv2D(16, 1, use_bias=False)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    x = L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    x = L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False)(x))
    x = L.GlobalAveragePooling2D()(L.Add()([skipped, x]))
    return tf.keras.Model(inputs, L.Dense(4, activation="softmax")(x))


def residual():
    """1-D convolutions with and without normalisation, a skip connection, pooling."""
    inputs = x = L.Input((32, 6))
    x = L.Conv1D(8, 5, padding="same", use_bias=False)(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    y = L.Conv1D(8, 5, padding="causal", activation="relu")(x)
    y = L.Conv1D(8, 3, padding="same")(y)
    x = L.MaxPooling1D()(L.Add()([x, y]))
    return tf.keras.Model(inputs, L.Dense(4, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def autoencoder():
    """Models within a model, regression."""
    encoder = tf.keras.Sequential([L.Input((20,)), L.Dense(16, "relu"), L.Dense(4)], name="encode")
    decoder = tf.keras.Sequential([L.Input((4,)), L.Dense(16, "relu"), L.Dense(20)], name="decode")
    inputs = L.Input((20,), name="values")
    return tf.keras.Model(inputs, decoder(encoder(inputs)))


def two_inputs():
    """An image and some facts, two outputs."""
    image, facts = L.Input((12, 12, 1), name="image"), L.Input((5,), name="facts")
    x = L.GlobalAveragePooling2D()(L.Conv2D(8, 3, activation="relu")(image))
    both = L.Concatenate()([x, L.Dense(8, "relu")(facts)])
    outputs = [L.Dense(3, activation="softmax", name="kind")(both), L.Dense(1, name="size")(both)]
    return tf.keras.Model([image, facts], outputs)


RECIPES = {
    inverted_residual: Recipe(1, 1e-3, batch=16),
    residual: Recipe(1, 1e-3, batch=16),
    autoencoder: Recipe(1, 1e-3, loss="mse", metrics=("mae",)),
    two_inputs: Recipe(1, 1e-3, loss=["sparse_categorical_crossentropy", "mse"], metrics=None),
}


class Case:
    """A network that was trained for an epoch by a `tf.data.Dataset`, and its samples."""

    def __init__(self, build):
        tf.keras.utils.set_random_seed(1)
        self.model, self.recipe = build(), RECIPES[build]
        rng = np.random.default_rng(0)
        arrays = [
            rng.uniform(size=(COUNT, *x.shape[1:])).astype(np.float32) for x in self.model.inputs
        ]
        self.x = tuple(arrays) if len(arrays) > 1 else arrays[0]
        classes = np.arange(COUNT) % 3
        targets = {autoencoder: self.x, two_inputs: (classes, rng.uniform(size=(COUNT, 1)))}
        self.data = tf.data.Dataset.from_tensor_slices((self.x, targets.get(build, classes)))
        self.data = self.data.batch(16)
        training.fit(self.model, self.data, self.recipe)

    def fit(self, model, **options):
        training.fit(model, self.data, self.recipe, **options)
        return model

    def difference(self, content, model):
        """Largest difference between a file's outputs and a network's."""
        found = measure.TFLiteModel(content).predict(
            dict(zip(self.model.input_names, self.x, strict=True))
            if isinstance(self.x, tuple)
            else self.x
        )
        wanted = tf.nest.flatten(model(self.x, training=False))
        found = [found[n] for n in model.output_names] if isinstance(found, dict) else [found]
        return max(np.abs(a - b).max() for a, b in zip(found, wanted, strict=True))


@pytest.fixture(scope="module", params=list(RECIPES), ids=lambda build: build.__name__)
def case(request):
    return Case(request.param)


@pytest.mark.parametrize("mode", post_training.MODES)
def test_post_training(case, mode):
    content = post_training.convert(case.model, mode, case.data)
    assert case.difference(content, case.model) < {"float": 1e-5}.get(mode, 0.05)


def pruned_part(model):
    """Part of the prunable weights that are zero."""
    kernels = [kernel.numpy().ravel() for kernel in pruning.prunable(model).values()]
    return np.mean(np.concatenate(kernels) == 0)


def zeros_of_file(content):
    """Part of a file's weights that are zero."""
    table = measure.inspect(content).weights
    table = table[table["role"] == "weight"]
    return (table["sparsity"] * table["values"]).sum() / table["values"].sum()


def test_pruning_with_tfmot_and_with_feedback(case):
    before = [w.copy() for w in case.model.get_weights()]
    wrapped = pruning.prune(case.model, 0.5, end=1, frequency=1)
    plain = pruning.strip(case.fit(wrapped, callbacks=pruning.callbacks()))
    assert pruned_part(plain) == pytest.approx(0.5, abs=0.02)
    content = post_training.convert(plain, "float")
    assert case.difference(content, plain) < 1e-5
    assert pruning.sparsity_of(plain) == pytest.approx(zeros_of_file(content), abs=1e-6)
    aware = case.fit(pruning.quantize_preserving(plain))
    # Depthwise kernels are not pruned.
    assert zeros_of_file(quantization_aware.convert(aware)) > 0.35
    back, updates = dynamic_pruning.train(case.model, case.data, 0.5, case.recipe.but(epochs=10))
    assert pruned_part(back) == pytest.approx(0.5, abs=0.02) and len(updates) == 2
    for a, b in zip(before, case.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_clustering(case):
    plain = clustering.strip(case.fit(clustering.cluster(case.model, 4)))
    assert set(clusters_of(plain).values()) <= {1, 2, 3, 4}
    assert case.difference(post_training.convert(plain, "float"), plain) < 1e-5
    aware = case.fit(clustering.cluster_preserving(plain))
    table = measure.inspect(clustering.convert(aware)).weights
    assert table[table["role"] == "weight"]["unique per channel"].median() <= 4


def test_quantization_aware_training_is_in_integers(case):
    aware = quantization_aware.quantize(case.model)
    quantization_aware.calibrate(aware, case.x)
    content = quantization_aware.convert(case.fit(aware))
    found = measure.inspect(content)
    assert found.weight_types == ("int8",) and found.activation_types == ("int8",)
    assert case.difference(content, aware) < 0.05


def test_measured_ranges_are_the_mean_of_the_batches_and_nothing_else_changes():
    """tfmot's own begin at 6, and have hardly moved after a short training."""
    tf.keras.utils.set_random_seed(1)
    layers = [L.Conv1D(8, 3, activation="relu", name="conv"), L.Flatten(), L.Dense(2)]
    model = tf.keras.Sequential([L.Input((32, 6)), *layers])
    x = np.random.default_rng(0).normal(0, 20, (COUNT, 32, 6)).astype(np.float32)
    aware = quantization_aware.quantize(model)
    before = {v.name: v.numpy() for v in aware.weights}
    quantization_aware.calibrate(aware, x, batch=16)
    after = {v.name.split(":")[0]: v.numpy() for v in aware.weights}
    outputs = tf.keras.Model(model.inputs, model.get_layer("conv").output)(x).numpy()
    expected = outputs.reshape(2, -1).max(axis=1).mean()
    (largest,) = (v for name, v in after.items() if name.endswith("conv/post_activation_max"))
    assert expected > 12
    assert largest == pytest.approx(expected, rel=0.02)
    for name, value in before.items():
        if not name.split(":")[0].endswith(("_min", "_max")):
            np.testing.assert_array_equal(after[name.split(":")[0]], value)
    content = quantization_aware.convert(aware)
    found = measure.TFLiteModel(content).predict(x)
    # Untrained it computes what the network does, but where a batch's largest values are clipped.
    assert np.median(np.abs(found - model(x))) < 0.02 * np.abs(model(x)).max()


LONE = {
    "the slides' light network": [
        *(L.Conv1D(8, 5, strides=2, activation="relu"), L.MaxPooling1D()),
        *(L.Conv1D(8, 3, activation="relu"), L.MaxPooling1D(2, strides=1)),
        *(L.GlobalAveragePooling1D(), L.BatchNormalization()),
    ],
    "behind the activation": [
        *(L.Conv1D(8, 3, activation="relu"), L.BatchNormalization(), L.MaxPooling1D()),
        *(L.Flatten(), L.Dense(8, "relu"), L.BatchNormalization()),
    ],
    "of the inputs": [L.BatchNormalization(), L.Conv1D(8, 3, padding="same"), L.Flatten()],
}


@pytest.mark.parametrize("kind", LONE)
def test_normalisations_that_stand_alone_are_in_integers_too(kind):
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential([L.Input((32, 6)), *LONE[kind], L.Dense(3, "softmax")])
    x = np.random.default_rng(0).normal(size=(COUNT, 32, 6)).astype(np.float32)
    training.fit(model, (x, np.arange(COUNT) % 3), Recipe(2, 1e-2, batch=16))
    aware = quantization_aware.quantize(model)
    training.fit(aware, (x, np.arange(COUNT) % 3), Recipe(1, 1e-4, batch=16))
    content = quantization_aware.convert(aware)
    found = measure.inspect(content)
    assert found.weight_types == ("int8",) and found.activation_types == ("int8",)
    names = set(found.operators["operator"])
    assert not names & {"DEQUANTIZE", "QUANTIZE", "MUL", "ADD", "SHAPE", "PACK", "STRIDED_SLICE"}
    np.testing.assert_allclose(measure.TFLiteModel(content).predict(x), aware(x), atol=0.05)


def dense_normalised():
    x = inputs = L.Input((6, 6, 2))
    x = L.Flatten()(L.BatchNormalization()(L.Conv2DTranspose(3, 2, strides=2)(x)))
    return tf.keras.Model(inputs, L.Dense(3)(L.ReLU()(L.BatchNormalization()(L.Dense(8)(x)))))


def operators():
    x = inputs = L.Input((6, 6, 2))
    x = tf.nn.relu(L.Conv2D(2, 3, padding="same")(x) + inputs)
    return tf.keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("build", [dense_normalised, operators])
def test_what_tfmot_would_leave_in_floats_or_not_take_is_in_integers(build):
    tf.keras.utils.set_random_seed(1)
    model = build()
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.moving_mean.assign(np.linspace(-0.3, 0.3, layer.moving_mean.shape[0]))
            layer.gamma.assign(np.linspace(0.5, 1.5, layer.gamma.shape[0]))
    x = np.random.default_rng(0).normal(size=(COUNT, 6, 6, 2)).astype(np.float32)
    aware = quantization_aware.quantize(model)
    quantization_aware.calibrate(aware, x)
    content = quantization_aware.convert(aware)
    found = measure.inspect(content)
    assert found.weight_types == ("int8",) and found.activation_types == ("int8",)
    expected = model(x).numpy()
    np.testing.assert_allclose(
        measure.TFLiteModel(content).predict(x), expected, atol=0.1 * np.ptp(expected)
    )


def test_an_operator_with_a_number_in_it_is_named():
    inputs = L.Input((6,))
    model = tf.keras.Model(inputs, L.Dense(2)(L.Dense(3)(inputs) + 1.0))
    with pytest.raises(CompressionError, match=r"TFOpLambda.*such as Add\(\)"):
        quantization_aware.quantize(model)


def test_a_file_that_is_not_in_integers_is_refused_unless_layers_were_left(monkeypatch):
    model = tf.keras.Sequential([L.Input((4,)), L.Dense(3, name="first"), L.Dense(2, name="last")])
    left = quantization_aware.quantize(model, leave=["last"])
    whole = quantization_aware.quantize(model)
    assert quantization_aware.convert(left)
    monkeypatch.setattr(quantization_aware, "_left", lambda _: [])
    with pytest.raises(CompressionError, match=r"stay in floating point: FULLY_CONNECTED \("):
        quantization_aware.convert(left)
    assert quantization_aware.convert(whole)


def test_four_bits(case):
    network = low_bit.quantize(case.model)
    with low_bit.training():
        case.fit(network)
    plain = low_bit.to_float(network)
    wanted = network(case.x, training=False)
    for a, b in zip(tf.nest.flatten(plain(case.x)), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert case.difference(low_bit.convert(network), network) < 1e-5


def test_mobilenet_of_keras_is_pruned_and_trained_for_integers(monkeypatch):
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=4)
    x = np.random.default_rng(0).uniform(size=(16, 32, 32, 3)).astype(np.float32)
    pruned = pruning.strip(pruning.prune(model, 0.5, end=1))
    aware = pruning.quantize_preserving(pruned)
    # One step of 155 layers: to trace it takes seven times as long as to compute it.
    monkeypatch.setattr(type(aware), "run_eagerly", True)
    training.fit(aware, (x, np.arange(16) % 4), Recipe(1, 1e-4, batch=16))
    content = quantization_aware.convert(aware)
    assert measure.inspect(content).weight_types == ("int8",)
    np.testing.assert_allclose(measure.TFLiteModel(content).predict(x), aware(x), atol=0.02)


def test_a_layer_without_a_scheme_is_named_and_can_be_left():
    inputs = L.Input((8, 3))
    x = L.LSTM(4, name="memory")(inputs)
    model = tf.keras.Model(inputs, L.Dense(2, name="head")(x))
    with pytest.raises(CompressionError, match=r"'memory' is a LSTM.*leave=\['memory'\]"):
        quantization_aware.quantize(model)
    quantization_aware.quantize(model, leave=["memory"])
    with pytest.raises(CompressionError, match="no layer 'memroy'"):
        quantization_aware.quantize(model, leave=["memroy"])


def test_a_flat_network_computes_the_same_and_shares_what_is_shared():
    tf.keras.utils.set_random_seed(0)
    block = tf.keras.Sequential([L.Input((4,)), L.Dense(4, "relu", name="inside")], name="block")
    inputs = L.Input((4,))
    model = tf.keras.Model(inputs, L.Add()([block(block(inputs)), inputs]))
    laid_out = flat(model)
    assert [layer.name for layer in laid_out.layers if layer.weights] == ["block/inside"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(laid_out(x), model(x))
    assert flat(laid_out) is laid_out


def test_sequences_become_images_of_height_one():
    tf.keras.utils.set_random_seed(0)
    inputs = x = L.Input((16, 3))
    x = L.Conv1D(4, 3, strides=2, padding="same", name="strided")(x)
    x = L.Conv1D(4, 3, dilation_rate=2, padding="causal", name="dilated")(x)
    x = L.LayerNormalization()(x)  # has no twin: back to a sequence
    x = L.Conv1D(4, 3, name="valid")(L.AveragePooling1D()(x))
    model = tf.keras.Model(inputs, x)
    plane = planar(model)
    assert not any(type(layer) is L.Conv1D for layer in plane.layers)
    assert plane.get_layer("dilated").kernel.shape == (1, 3, 4, 4)
    values = np.random.default_rng(0).normal(size=(5, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(plane(values), model(values), atol=1e-5)
