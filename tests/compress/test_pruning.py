import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from labkit import measure, training
from labkit.compress import post_training, pruning, quantization_aware
from labkit.models import sign_cnn

# --- masks


def test_the_smallest_magnitudes_go():
    weights = np.array([[0.1, -0.5], [0.3, -0.2]])
    np.testing.assert_array_equal(
        pruning.magnitude_mask(weights, 0.5), [[False, True], [True, False]]
    )


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.95, 1])
def test_as_many_go_as_asked_for_even_where_all_are_equal(sparsity):
    mask = pruning.magnitude_mask(np.ones((4, 5)), sparsity)
    assert np.count_nonzero(~mask) == 20 * sparsity


@pytest.mark.parametrize("sparsity", [-0.1, 1.1])
def test_a_sparsity_is_a_part(sparsity):
    with pytest.raises(ValueError, match="0 to 1"):
        pruning.magnitude_mask(np.ones(4), sparsity)


def test_filters_go_by_their_norm():
    kernel = np.zeros((1, 1, 2, 3))
    kernel[0, 0] = [[1, 2, 0], [1, 0, 1.5]]
    mask = pruning.filter_mask(kernel, 1 / 3)
    np.testing.assert_array_equal(mask[0, 0], [[True, True, False]] * 2)
    # By L2 the spread weights (1, 1) are shorter than the single 1.5.
    mask = pruning.filter_mask(kernel, 1 / 3, order=2)
    np.testing.assert_array_equal(mask[0, 0], [[False, True, True]] * 2)


def test_one_filter_is_left():
    mask = pruning.filter_mask(np.array([[1.0, 3.0, 2.0]]), 1.0)
    np.testing.assert_array_equal(mask, [[False, True, False]])


def test_two_of_four_along_the_inputs():
    kernel = np.array([[1, 8], [-4, 7], [3, -6], [-2, 5]], float)
    np.testing.assert_array_equal(
        pruning.n_of_m_mask(kernel), [[False, True], [True, True], [True, False], [False, False]]
    )


def test_a_short_group_keeps_what_it_has():
    kernel = np.arange(1.0, 7).reshape(6, 1)
    np.testing.assert_array_equal(
        pruning.n_of_m_mask(kernel, 2, 4).ravel(), [False, False, True, True, True, True]
    )
    assert pruning.n_of_m_mask(np.ones((3, 3, 1, 16))).all()


def test_n_of_m_in_every_group_of_a_convolution():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 8, 5))
    mask = pruning.n_of_m_mask(kernel, 1, 4)
    assert mask.shape == kernel.shape
    groups = mask.reshape(3, 3, 2, 4, 5)
    assert (groups.sum(axis=3) == 1).all()
    kept = np.abs(np.where(mask, kernel, 0)).reshape(3, 3, 2, 4, 5).max(axis=3)
    np.testing.assert_array_equal(kept, np.abs(kernel).reshape(3, 3, 2, 4, 5).max(axis=3))


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4)])
def test_n_of_m_must_leave_some(n, m):
    with pytest.raises(ValueError, match="0 < n <= m"):
        pruning.n_of_m_mask(np.ones((4, 4)), n, m)


# --- where and when


def test_lamp_by_hand():
    # Squares 1, 4, 9: 1 of 14, 4 of 13, 9 of 9.
    np.testing.assert_allclose(
        pruning.lamp_scores(np.array([[-3.0, 1.0], [2.0, 0.0]])),
        [[1, 1 / 14], [4 / 13, 0]],
    )


def test_lamp_does_not_see_the_scale_of_a_layer():
    weights = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(pruning.lamp_scores(1000 * weights), pruning.lamp_scores(weights))


def test_layer_sparsities_make_the_one_of_the_network(sign_model):
    parts = pruning.layer_sparsities(sign_model, 0.9)
    kernels = pruning.prunable(sign_model)
    zeros = sum(parts[name] * np.size(kernel) for name, kernel in kernels.items())
    assert zeros / sum(np.size(k) for k in kernels.values()) == pytest.approx(0.9, abs=1e-4)
    assert parts["conv1"] < parts["conv4"] < 1  # the small layer is spared


def test_schedule_of_zhu_and_gupta():
    values = [pruning.polynomial_sparsity(s, 10, 110, 0.2, 0.8) for s in (0, 10, 60, 110, 500)]
    np.testing.assert_allclose(values, [0.2, 0.2, 0.8 - 0.6 / 8, 0.8, 0.8])
    assert pruning.polynomial_sparsity(60, 10, 110, 0.2, 0.8, power=1) == pytest.approx(0.5)


def test_schedule_is_the_one_of_tfmot():
    theirs = tfmot.sparsity.keras.PolynomialDecay(0.3, 0.9, 20, 220)
    for step in (20, 57, 120, 220):
        ours = pruning.polynomial_sparsity(step, 20, 220, 0.3, 0.9)
        assert ours == pytest.approx(float(theirs(tf.constant(step))[1]), abs=1e-6)


def test_schedule_must_end_after_it_begins():
    with pytest.raises(ValueError, match="ends at 5"):
        pruning.polynomial_sparsity(0, 5, 5, 0, 0.9)


@pytest.mark.parametrize(
    ("sparsity", "message"), [({"relu1": 0.5}, "'relu1' has no kernel"), (1.5, "0 to 1")]
)
def test_a_wrong_sparsity_is_named(sign_model, sparsity, message):
    with pytest.raises(ValueError, match=message):
        pruning.prune(sign_model, sparsity, end=1)


# --- training


@pytest.fixture(scope="module")
def pruned(small_model, tiny_data, recipe):
    finals = {"conv2": 0.8, "letter": 0.9}
    wrapped = pruning.prune(small_model, finals, end=2, frequency=1)
    training.fit(wrapped, tiny_data, recipe.but(epochs=4), callbacks=pruning.callbacks())
    return wrapped, pruning.strip(wrapped)


def test_prune_leaves_the_model_as_it_was(small_model, tiny_data, recipe):
    before = [w.copy() for w in small_model.get_weights()]
    copy = pruning.prune(small_model, 0.9, end=1, frequency=1)
    training.fit(copy, tiny_data, recipe, callbacks=pruning.callbacks())
    for a, b in zip(before, small_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    quantization_aware.quantize(small_model)  # it can still be wrapped


@pytest.mark.parametrize("end", [1, 7, 16, 35])
def test_a_short_training_is_pruned_too(small_model, tiny_data, recipe, end):
    model = pruning.prune(small_model, 0.8, end)
    training.fit(model, tiny_data, recipe.but(epochs=40, batch=64), callbacks=pruning.callbacks())
    for kernel in pruning.prunable(pruning.strip(model)).values():
        assert np.mean(kernel.numpy() == 0) == pytest.approx(
            0.8, abs=1 / kernel.shape.num_elements()
        )


def test_each_layer_gets_its_sparsity(pruned):
    _, plain = pruned
    zeros = {n: np.mean(k.numpy() == 0) for n, k in pruning.prunable(plain).items()}
    assert zeros["conv1"] == 0  # not asked for
    assert zeros["conv2"] == pytest.approx(0.8, abs=2e-3)
    assert zeros["letter"] == pytest.approx(0.9, abs=2e-3)


def test_strip_gives_a_plain_model_that_computes_the_same(pruned, small_model, tiny_data, tmp_path):
    training, plain = pruned
    assert plain.count_params() == small_model.count_params()
    assert [type(x) for x in plain.layers] == [type(x) for x in small_model.layers]
    expected = plain.predict(tiny_data.x_test, verbose=0)
    np.testing.assert_allclose(training.predict(tiny_data.x_test, verbose=0), expected, atol=1e-6)
    plain.save(tmp_path / "plain.keras")
    again = tf.keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_array_equal(again.predict(tiny_data.x_test, verbose=0), expected)


def test_tfmot_keeps_two_of_four_where_we_do(small_model, tiny_data, recipe):
    wrapped = pruning.prune(small_model, {"conv2": 0.5}, end=1, n_of_m=(1, 4))
    training.fit(wrapped, tiny_data, recipe.but(epochs=2), callbacks=pruning.callbacks())
    kernel = pruning.prunable(pruning.strip(wrapped))["conv2"].numpy()
    groups = (kernel != 0).reshape(3, 3, 2, 4, 8)
    assert (groups.sum(axis=3) == 1).all()


def test_zeros_survive_prune_preserving_training_and_not_plain(pruned, tiny_data, recipe):
    _, plain = pruned
    sparsities = {}
    for name, quantize in [
        ("preserving", pruning.quantize_preserving),
        ("plain", quantization_aware.quantize),
    ]:
        aware = quantize(plain)
        training.fit(aware, tiny_data, recipe.but(epochs=3, learning_rate=1e-2))
        table = measure.inspect(quantization_aware.convert(aware)).weights
        table = table[table["role"] == "weight"].set_index("layer")
        sparsities[name] = table.loc["conv2", "sparsity"]
    assert sparsities["preserving"] >= 0.8 - 2e-3
    assert sparsities["plain"] < 0.5


def test_zeros_of_the_model_are_zeros_of_the_file(pruned, tiny_data):
    _, plain = pruned
    content = post_training.convert(plain, "int8", tiny_data.x_train)
    table = measure.inspect(content).weights.set_index("layer")
    table = table[table["role"] == "weight"]
    assert table.loc["conv2", "sparsity"] >= 0.8 - 2e-3


def test_statistics_are_measured_anew_and_nothing_is_trained(small_model, tiny_data):
    images = np.concatenate([tiny_data.x_train] * 100)
    new = pruning.with_new_statistics(small_model, images, batch=48)
    inner = tf.keras.Model(new.input, new.get_layer("conv1").output)
    activations = inner.predict(tiny_data.x_train, verbose=0).reshape(-1, 8)
    norm = new.get_layer("norm1")
    np.testing.assert_allclose(norm.moving_mean, activations.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(norm.moving_variance, activations.var(axis=0), atol=0.01)
    for old, kept in zip(small_model.trainable_variables, new.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, kept)


def test_statistics_are_those_of_the_batches_the_last_one_shorter_and_inputs_by_name():
    one, other = tf.keras.Input((3,), name="one"), tf.keras.Input((2,), name="other")
    norm = tf.keras.layers.BatchNormalization(momentum=0.9)
    model = tf.keras.Model([one, other], norm(tf.keras.layers.Concatenate()([one, other])))
    rng = np.random.default_rng(3)
    images = {"one": rng.normal(2, 3, (20, 3)), "other": rng.normal(-1, 0.5, (20, 2))}
    new = pruning.with_new_statistics(model, images, batch=8).layers[-1]
    mean, variance = np.zeros(5), np.ones(5)
    for rows in np.split(np.hstack([images["one"], images["other"]]), [8, 16]):
        mean = 0.9 * mean + 0.1 * rows.mean(axis=0)
        variance = 0.9 * variance + 0.1 * rows.var(axis=0)
    np.testing.assert_allclose(new.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(new.moving_variance, variance, rtol=1e-4)


# --- filters


@pytest.fixture()
def keep():
    rng = np.random.default_rng(0)
    keep = {f"conv{i}": rng.random(n) < 0.6 for i, n in enumerate(sign_cnn.FILTERS, start=1)}
    del keep["conv3"]
    return keep


def test_removing_filters_computes_what_masking_them_does(sign_model, tiny_data, keep):
    masked, smaller = (f(sign_model, keep) for f in (pruning.mask_filters, pruning.remove_filters))
    expected = masked.predict(tiny_data.x_test, verbose=0)
    np.testing.assert_allclose(smaller.predict(tiny_data.x_test, verbose=0), expected, atol=1e-6)
    assert not np.allclose(sign_model.predict(tiny_data.x_test, verbose=0), expected, atol=1e-3)
    assert smaller.get_layer("conv1").filters == np.count_nonzero(keep["conv1"])
    assert smaller.get_layer("conv4").kernel.shape[2:] == (48, np.count_nonzero(keep["conv4"]))


def test_filters_in_front_of_flatten_and_with_biases():
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu", bias_initializer="normal", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(5, activation="relu", bias_initializer="normal", name="hidden"),
            layers.Dense(3, name="out"),
        ]
    )
    keep = {"conv": np.array([1, 0, 0, 1], bool), "hidden": np.array([1, 1, 0, 1, 0], bool)}
    x = np.random.default_rng(0).normal(size=(7, 6, 6, 2)).astype(np.float32)
    smaller = pruning.remove_filters(model, keep)
    expected = pruning.mask_filters(model, keep).predict(x, verbose=0)
    np.testing.assert_allclose(smaller.predict(x, verbose=0), expected, atol=1e-6)
    assert smaller.count_params() == 2 * (9 * 2 + 1) + 3 * (2 * 16 + 1) + 3 * (3 + 1)


def test_fewer_multiplications_are_left(sign_model, keep):
    macs = [
        measure.inspect(post_training.convert(m, "float")).macs
        for m in (sign_model, pruning.remove_filters(sign_model, keep))
    ]
    assert macs[1] < 0.7 * macs[0]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"letter": np.ones(24, bool)}, "'letter' cannot lose"),
        ({"conv1": np.ones(15, bool)}, r"shape \(15,\)"),
        ({"conv1": np.zeros(16, bool)}, "at least one"),
    ],
)
def test_masks_that_do_not_fit_are_named(sign_model, keep, message):
    with pytest.raises(ValueError, match=message):
        pruning.remove_filters(sign_model, keep)


def test_filters_do_not_come_out_of_branches():
    inputs = tf.keras.layers.Input((4, 4, 1))
    x = tf.keras.layers.Conv2D(2, 3, name="conv")(inputs)
    outputs = tf.keras.layers.Conv2D(2, 1, name="one")(x)
    model = tf.keras.Model(inputs, tf.keras.layers.Add(name="sum")([x, outputs]))
    with pytest.raises(ValueError, match="branches"):
        pruning.remove_filters(model, {"conv": np.array([True, False])})


def test_a_network_without_a_kernel_has_nothing_to_prune():
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((4, 4, 2)), layers.DepthwiseConv2D(3, name="all")])
    assert pruning.sparsity_of(model) == 0
    assert pruning.sparsity_of(tf.keras.Sequential([layers.Input((4,)), layers.ReLU()])) == 0
    for work in (pruning.layer_sparsities, pruning.layer_masks):
        with pytest.raises(ValueError, match="no kernel to be pruned"):
            work(model, 0.5)
    with pytest.raises(ValueError, match="no kernel to be pruned"):
        pruning.prune(model, 0.5, end=10)
