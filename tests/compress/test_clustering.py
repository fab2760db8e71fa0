"""Shared weights: k-means, gradients of centroids, and the values that are in the files."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from counted import clusters_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labkit import measure, training
from labkit.compress import clustering, minimal, post_training, quantization_aware
from labkit.compress.clustering import INITIALISATIONS
from labkit.compress.kernels import CompressionError

WEIGHTS = arrays.arrays(np.float64, st.integers(8, 60), elements=st.floats(-4, 4, width=32))


def test_initial_centroids_by_hand():
    weights = np.array([-1.0, 0.0, 0.1, 0.2, 3.0])
    linear = clustering.initial_centroids(weights, 3, "linear")
    np.testing.assert_allclose(linear, [-1, 1, 3])
    density = clustering.initial_centroids(np.arange(10.0), 5, "density")
    np.testing.assert_allclose(density, [0.9, 2.7, 4.5, 6.3, 8.1])
    weights = np.random.default_rng(0).uniform(-1, 3, 100)
    for method in ("kmeans++", "random"):
        one, again, other = (clustering.initial_centroids(weights, 3, method, s) for s in (0, 0, 1))
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()
        assert np.all(np.diff(one) >= 0) and one.min() >= -1 and one.max() <= 3


@pytest.mark.parametrize(
    ("count", "method", "message"),
    [
        (3, "forgy", "expected one of linear, density"),
        (0, "linear", "0 centroids for 4 weights"),
        (5, "linear", "expected 1 to 4"),
    ],
)
def test_bad_beginnings(count, method, message):
    with pytest.raises(ValueError, match=message):
        clustering.initial_centroids(np.arange(4.0), count, method)


def test_k_means_by_hand():
    weights = np.array([[-1.1, -0.9, 0.1], [0.2, 1.0, 1.2]])
    codebook, indices = clustering.share(weights, np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(codebook, [-1.0, 0.15, 1.1], rtol=1e-6)
    assert indices.tolist() == [[0, 0, 1], [1, 2, 2]]


def test_an_empty_cluster_keeps_its_centroid():
    codebook, indices = clustering.share(np.array([1.0, 1.2]), np.array([1.0, 9.0]))
    np.testing.assert_allclose(codebook, [1.1, 9.0], rtol=1e-6)
    assert indices.tolist() == [0, 0]


@settings(deadline=None)
@given(WEIGHTS, st.sampled_from(INITIALISATIONS), st.integers(1, 6))
def test_every_turn_lowers_the_error_and_ends_at_the_nearest(weights, method, count):
    start = clustering.initial_centroids(weights, count, method)
    errors = []
    for iterations in (0, 1, 2, 50):
        codebook, indices = clustering.share(weights, start, iterations)
        distances = np.abs(weights[:, None] - codebook)
        chosen = np.take_along_axis(distances, indices[:, None], 1)[:, 0]
        np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-6)
        errors.append(np.sum(chosen**2))
    assert np.all(np.diff(errors) <= 1e-6)


def test_compression_rate():
    """Han et al., equation 1: 1,000 weights in 16 clusters."""
    assert clustering.compression_rate(1000, 16) == 32000 / (4000 + 512)
    assert clustering.compression_rate(1000, 5) == 32000 / (3000 + 160)
    assert clustering.compression_rate(100, 2, bits=8) == 800 / (100 + 16)


def wrapped(model, layer):
    return next(each for each in model.layers if each.name.endswith(layer))


def test_a_clustered_copy_shares_values_and_leaves_the_model_alone(small_model, tiny_data):
    before = small_model.get_weights()
    copy = clustering.cluster(small_model, {"conv2": 5, "letter": 3}, "linear")
    plain = clustering.strip(copy)
    assert clusters_of(plain) == {"conv1": 72, "conv2": 5, "letter": 3}
    for a, b in zip(small_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(plain(tiny_data.x_test), copy(tiny_data.x_test), atol=1e-6)
    np.testing.assert_array_equal(
        plain.get_layer("conv1").kernel, small_model.get_layer("conv1").kernel
    )


@pytest.mark.parametrize("method", INITIALISATIONS)
def test_training_moves_centroids_and_keeps_their_number(small_model, tiny_data, recipe, method):
    copy = clustering.cluster(small_model, 4, method)
    start = clustering.strip(copy)
    training.fit(copy, tiny_data, recipe.but(learning_rate=2e-3))
    trained = clustering.strip(copy)
    assert all(count <= 4 for count in clusters_of(trained).values())
    moved = np.unique(trained.get_layer("conv2").kernel)
    assert not np.allclose(moved[:2], np.unique(start.get_layer("conv2").kernel)[:2], atol=1e-7)


def test_gradient_of_a_centroid_is_the_sum_over_its_members(small_model, tiny_data):
    """One step of plain gradient descent, against the gradient of the kernel, summed by hand."""
    copy = clustering.cluster(small_model, {"letter": 3}, "linear")
    layer = wrapped(copy, "letter")
    centroids = layer.cluster_centroids["kernel"]
    indices = layer.pulling_indices["kernel"].numpy()
    x, y = tiny_data.x_train[:32], tiny_data.y_train[:32]
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy()
    with tf.GradientTape() as tape:
        loss = loss_of(y, copy(x, training=True))
    of_centroids = tf.convert_to_tensor(tape.gradient(loss, centroids)).numpy()

    plain = clustering.strip(copy)
    kernel = plain.get_layer("letter").kernel
    with tf.GradientTape() as tape:
        loss = loss_of(y, plain(x, training=True))
    members = np.bincount(indices.ravel(), tape.gradient(loss, kernel).numpy().ravel(), minlength=3)
    np.testing.assert_allclose(of_centroids, members, rtol=1e-3, atol=1e-5)


def test_sparsity_is_kept_where_asked(small_model, tiny_data, recipe):
    sparse = tf.keras.models.clone_model(small_model)
    sparse.set_weights(
        [np.where(np.abs(w) < 0.4, 0, w) if w.ndim > 1 else w for w in small_model.get_weights()]
    )
    zeros = np.mean(sparse.get_layer("conv2").kernel.numpy() == 0)
    assert zeros > 0.3
    copy = clustering.cluster(sparse, 4, "linear", preserve_sparsity=True)
    training.fit(copy, tiny_data, recipe.but(learning_rate=2e-3))
    kept = clustering.strip(copy)
    assert np.mean(kept.get_layer("conv2").kernel.numpy() == 0) >= zeros
    assert len(np.unique(kept.get_layer("conv2").kernel)) <= 4


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (1, "1 clusters for the 72 weights of 'conv1', expected 2 to 72"),
        ({"letter": 999}, "expected 2 to 192"),
        ({"relu1": 3}, "'relu1' has no kernel to cluster"),
    ],
)
def test_bad_clusters(small_model, clusters, message):
    with pytest.raises(ValueError, match=message):
        clustering.cluster(small_model, clusters)


def test_unknown_initialisation(small_model):
    with pytest.raises(ValueError, match="initialisation is 'best'"):
        clustering.cluster(small_model, 4, "best")


def unique_per_channel(content):
    table = measure.inspect(content).weights
    return table.loc[table["role"] == "weight", "unique per channel"].to_numpy()


def test_clusters_are_in_the_files_and_plain_qat_destroys_them(small_model, tiny_data, recipe):
    copy = clustering.cluster(small_model, 4)
    training.fit(copy, tiny_data, recipe.but(learning_rate=2e-3))
    plain = clustering.strip(copy)
    for mode in ("float", "dynamic_range", "int8", "int16x8"):
        content = post_training.convert(plain, mode, tiny_data.representative(24))
        assert unique_per_channel(content).max() <= 4, mode
        assert unique_per_channel(minimal.without_names(content)).max() <= 4
    keeping = clustering.cluster_preserving(plain)
    training.fit(keeping, tiny_data, recipe.but(epochs=40, learning_rate=4e-4))
    assert unique_per_channel(clustering.convert(keeping)).max() <= 4
    losing = quantization_aware.quantize(plain)
    training.fit(losing, tiny_data, recipe.but(epochs=40, learning_rate=4e-4))
    assert unique_per_channel(quantization_aware.convert(losing)).max() > 8


def test_some_layers_keep_clusters_and_the_others_are_trained_freely(
    small_model, tiny_data, recipe
):
    plain = clustering.strip(clustering.cluster(small_model, {"conv2": 4}))
    keeping = clustering.cluster_preserving(plain, only=["conv2"])
    clustered = [weight.name for weight in keeping.weights if "cluster_centroids" in weight.name]
    assert len(clustered) == 1 and "conv2" in clustered[0]
    training.fit(keeping, tiny_data, recipe.but(epochs=20, learning_rate=2e-3))
    stripped = clustering.convert(keeping)
    table = measure.inspect(stripped).weights
    unique = table[table["role"] == "weight"]["unique per channel"].tolist()
    assert unique[1] <= 4 and unique[2] > 4
    free = quantization_aware.quantize(plain)
    for name in ("conv1", "letter"):
        ours, theirs = (
            next(layer for layer in aware.layers if layer.name == f"quant_{name}")
            for aware in (keeping, free)
        )
        assert len(ours.weights) == len(theirs.weights)
    with pytest.raises(CompressionError, match="'relu1' has no kernel whose clusters"):
        clustering.cluster_preserving(plain, only=["relu1"])


@pytest.mark.parametrize("preserve_sparsity", [False, True])
def test_fast_codebooks_are_tfmots(monkeypatch, preserve_sparsity):
    """Trained with tfmot's loops and without: the same weights, bit for bit."""
    rng = np.random.default_rng(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((5, 5, 2)), layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(3)]
    )
    codes = rng.permuted(np.tile(np.arange(18) % 4, (6, 1)), axis=1).T.reshape(3, 3, 2, 6)
    values = np.array([0.0, -0.5, 0.3, 0.9], np.float32)
    shared = values[codes], np.zeros(6), values[rng.integers(0, 4, (54, 3))], np.zeros(3)
    model.set_weights(shared)
    x = rng.normal(0, 1, (32, 5, 5, 2)).astype(np.float32)
    y = rng.normal(0, 1, (32, 3)).astype(np.float32)

    def trained():
        keeping = clustering.cluster_preserving(model, preserve_sparsity)
        algorithms = {
            type(variables["clst_impl"])
            for layer in keeping.layers
            for _, _, variables in getattr(layer, "_weight_vars", ())
            if "clst_impl" in variables
        }
        keeping.compile(tf.keras.optimizers.Adam(0.02), "mse")
        keeping.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        sharing = clustering.cluster(model, 4, preserve_sparsity=preserve_sparsity)
        sharing.compile(tf.keras.optimizers.Adam(0.02), "mse")
        sharing.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        for layer in sharing.layers:
            algorithms |= set(map(type, getattr(layer, "clustering_algorithms", {}).values()))
        return algorithms, keeping.get_weights() + sharing.get_weights()

    ours, fast = trained()
    monkeypatch.setattr(clustering, "_fast_codebooks", contextlib.nullcontext)
    theirs, slow = trained()
    assert {a.__name__ for a in ours} == {"_PerTensor", "_PerChannel"}
    assert {a.__base__ for a in ours} == theirs
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(a, b)
