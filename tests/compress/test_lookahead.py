import numpy as np
import pytest
import tensorflow as tf

from labkit.compress import dynamic_pruning, pruning
from labkit.compress.kernels import CompressionError
from labkit.models.graph import copy_of
from labkit.training import Recipe

L = tf.keras.layers


def norm(kernel, axis):
    return np.sqrt(np.square(kernel).sum(axis=axis))


def drawn(model, seed=0):
    """The model with weights that are all different, positive where they must be."""
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.2, 1.5, w.shape) for w in model.get_weights()])
    return model


def kernels_of(model):
    return {n: k.numpy().astype(np.float64) for n, k in pruning.prunable(model).items()}


def check(model, expected):
    scores = pruning.lookahead_scores(model)
    assert list(scores) == list(expected)
    for name, by_hand in expected.items():
        np.testing.assert_allclose(scores[name], by_hand, rtol=1e-5, err_msg=name)


def test_three_dense_layers_by_hand():
    model = tf.keras.Sequential(
        [L.Input((2,)), *[L.Dense(n, use_bias=False, name=f"d{n}") for n in (2, 3, 1)]]
    )
    a = np.array([[3.0, 0.0], [4.0, 1.0]])
    b = np.array([[1.0, -2.0, 0.5], [2.0, 1.0, 0.0]])
    c = np.array([[2.0], [-1.0], [3.0]])
    model.set_weights([a, b, c])
    scores = pruning.lookahead_scores(model)
    np.testing.assert_allclose(scores["d2"], np.abs(a) * np.sqrt([5.25, 5]), rtol=1e-6)
    np.testing.assert_allclose(
        scores["d3"], np.abs(b) * np.array([[5.0], [1.0]]) * [2.0, 1.0, 3.0], rtol=1e-6
    )
    np.testing.assert_allclose(scores["d1"], np.abs(c) * np.sqrt([[5.0], [5.0], [0.25]]), rtol=1e-6)


@pytest.mark.parametrize("dims", [1, 2])
def test_convolution_flatten_dense(dims):
    """A channel is read by the rows of every position; row (t, c) reads channel c."""
    conv, pool = (L.Conv1D, L.MaxPooling1D) if dims == 1 else (L.Conv2D, L.MaxPooling2D)
    model = drawn(
        tf.keras.Sequential(
            [
                L.Input((6,) * dims + (2,)),
                conv(3, 3, activation="relu", name="conv"),
                pool(2),
                L.Flatten(),
                L.Dropout(0.5),
                L.Dense(4, name="dense"),
            ]
        )
    )
    k = kernels_of(model)
    positions = 2**dims
    rows = k["dense"].reshape(positions, 3, 4)
    space = tuple(range(dims))
    check(
        model,
        {
            "conv": k["conv"] * norm(rows, (0, 2)),
            "dense": k["dense"] * np.tile(norm(k["conv"], (*space, -2)), positions)[:, None],
        },
    )


def test_normalisation_counts_on_either_side():
    """The paper's variant: times |γ|/σ of the normalisation behind the layer before, and behind."""
    model = drawn(
        tf.keras.Sequential(
            [
                L.Input((5, 2)),
                L.Conv1D(3, 1, name="a"),
                L.BatchNormalization(name="norm"),
                L.ReLU(),
                L.GlobalAveragePooling1D(),
                L.Dense(2, name="b"),
            ]
        )
    )
    norm_layer = model.get_layer("norm")
    gamma, _, _, variance = norm_layer.get_weights()
    norm_layer.gamma.assign(-gamma)
    scale = gamma / np.sqrt(variance + norm_layer.epsilon)
    k = kernels_of(model)
    check(
        model,
        {
            "a": k["a"] * scale * norm(k["b"], 1),
            "b": k["b"] * (scale * norm(k["a"], (0, 1)))[:, None],
        },
    )


def test_a_normalisation_behind_an_activation_does_not_count():
    """A dead unit has no variance there: by |γ|/σ it would count most of all."""
    layers = [L.Conv1D(3, 1, activation="relu", name="a"), L.GlobalAveragePooling1D()]
    layers += [L.BatchNormalization(name="norm"), L.Dense(2, name="b")]
    model = drawn(tf.keras.Sequential([L.Input((5, 2)), *layers]))
    k = kernels_of(model)
    check(
        model,
        {"a": k["a"] * norm(k["b"], 1), "b": k["b"] * norm(k["a"], (0, 1))[:, None]},
    )


def test_depthwise_and_separable_convolutions_scale_channels():
    inputs = L.Input((6, 6, 2))
    x = L.Conv2D(3, 1, use_bias=False, name="a")(inputs)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depth")(x)
    outputs = L.Conv2D(4, 1, use_bias=False, name="b")(x)
    model = drawn(tf.keras.Model(inputs, outputs))
    k, depth = kernels_of(model), norm(model.get_layer("depth").get_weights()[0], (0, 1))
    b_rows = norm(k["b"], (0, 1, 3)).reshape(3, 2)
    made = (norm(k["a"], (0, 1, 2))[:, None] * depth).ravel()
    check(
        model,
        {
            "a": k["a"] * np.sqrt(np.square(b_rows * depth).sum(1)),
            "b": k["b"] * made[:, None],
        },
    )
    x = L.Conv2D(3, 1, use_bias=False, name="a")(inputs)
    outputs = L.SeparableConv2D(4, 3, depth_multiplier=2, use_bias=False, name="b")(x)
    one = tf.keras.Model(inputs, outputs)
    one.set_weights(model.get_weights())
    for name, score in pruning.lookahead_scores(model).items():
        np.testing.assert_allclose(pruning.lookahead_scores(one)[name], score, rtol=1e-6)


def test_grouped_and_transposed_convolutions():
    inputs = L.Input((6, 6, 2))
    x = L.Conv2D(4, 1, use_bias=False, name="a")(inputs)
    x = L.Conv2D(6, 1, groups=2, use_bias=False, name="b")(x)
    outputs = L.Conv2DTranspose(2, 3, use_bias=False, name="c")(x)
    model = drawn(tf.keras.Model(inputs, outputs))
    k = kernels_of(model)
    dense = np.zeros((4, 6))  # the grouped one, written out
    dense[:2, :3], dense[2:, 3:] = k["b"][0, 0, :, :3], k["b"][0, 0, :, 3:]
    written_out = np.abs(dense) * norm(k["a"], (0, 1, 2))[:, None] * norm(k["c"], (0, 1, 2))
    check(
        model,
        {
            "a": k["a"] * norm(dense, 1),
            "b": np.concatenate([written_out[:2, :3], written_out[2:, 3:]], axis=1)[None, None],
            "c": k["c"] * norm(dense, 0),  # (height, width, out, in)
        },
    )


def test_branches_count_by_the_root_of_the_sum_of_squares():
    """Two sources in a sum, two side by side, two readers; the input itself counts as 1."""
    inputs = L.Input((3,))
    x = L.Dense(3, name="a")(inputs)
    summed = L.Add()([x, inputs, L.Dense(3, name="b")(x)])
    outputs = L.Dense(2, name="c")(L.Concatenate()([summed, x]))
    model = drawn(tf.keras.Model(inputs, outputs))
    k = kernels_of(model)
    top, bottom = norm(k["c"][:3], 1), norm(k["c"][3:], 1)
    made = norm(k["a"], 0)
    through = np.sqrt(made**2 + 1 + norm(k["b"], 0) ** 2)
    check(
        model,
        {
            "a": k["a"] * np.sqrt(top**2 + norm(k["b"], 1) ** 2 + bottom**2),
            "b": k["b"] * made[:, None] * top,
            "c": k["c"] * np.concatenate([through, made])[:, None],
        },
    )


def test_a_layer_called_twice_and_an_inner_model():
    shared = L.Dense(2, name="shared")
    inner = tf.keras.Sequential([L.Input((2,)), L.Dense(2, name="first")], name="inner")
    inputs = L.Input((2,))
    model = drawn(tf.keras.Model(inputs, shared(shared(inner(inputs)))))
    k = kernels_of(model)
    check(
        model,
        {
            "inner/first": k["inner/first"] * norm(k["shared"], 1),
            "shared": k["shared"]
            * np.sqrt(norm(k["inner/first"], 0) ** 2 + norm(k["shared"], 0) ** 2)[:, None]
            * np.sqrt(norm(k["shared"], 1) ** 2 + 1),
        },
    )


def test_without_neighbours_the_score_is_the_magnitude():
    """An LSTM, an embedding, a product of two tensors: no kernel to be looked at."""
    words = L.Input((4,), dtype="int32")
    x = memory = L.LSTM(3)(L.Dense(3, name="a")(L.Embedding(10, 4)(words)))
    x = L.Dense(3, name="b")(x)
    model = drawn(tf.keras.Model(words, L.Multiply()([x, memory])))
    check(model, {name: np.abs(kernel) for name, kernel in kernels_of(model).items()})


def test_what_a_hidden_unit_is_scaled_by_does_not_matter():
    """The network computes the same; LookAhead prunes the same weights, magnitude others."""
    model = tf.keras.Sequential(
        [L.Input((8,)), L.Dense(10, "relu", name="a"), L.Dense(10, "relu", name="b"), L.Dense(4)]
    )
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, 1, w.shape) for w in model.get_weights()])
    scaled, by = copy_of(model), random.uniform(0.1, 10, 10)
    weights = model.get_weights()
    scaled.set_weights([weights[0] * by, weights[1] * by, weights[2] / by[:, None], *weights[3:]])
    x = random.normal(0, 1, (16, 8)).astype(np.float32)
    np.testing.assert_allclose(model(x), scaled(x), rtol=1e-4, atol=1e-4)
    masks = {
        (by, which): pruning.layer_masks(one, 0.7, by)
        for by in ("lookahead", "magnitude")
        for which, one in (("given", model), ("scaled", scaled))
    }
    for name in ("a", "b"):
        given, other = masks["lookahead", "given"][name], masks["lookahead", "scaled"][name]
        np.testing.assert_array_equal(given, other)
        given, other = masks["magnitude", "given"][name], masks["magnitude", "scaled"][name]
        assert np.mean(given != other) > 0.1


def test_a_weight_beside_a_dead_unit_goes_first_but_is_told_from_a_zero():
    model = tf.keras.Sequential([L.Input((2,)), L.Dense(2, name="a"), L.Dense(2, name="b")])
    kernels = np.array([[[3.0, 1.0], [2.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
    model.set_weights([kernels[0], np.zeros(2), kernels[1], np.zeros(2)])
    scores = pruning.lookahead_scores(model)["a"]
    assert scores[0, 1] > scores[0, 0] > scores[1, 0] > scores[1, 1] == 0


def test_masks_by_name(small_model):
    for by in ("magnitude", "lookahead"):
        masks = pruning.layer_masks(small_model, {"conv2": 0.75}, by)
        model = pruning.masked(small_model, masks)
        assert masks["conv1"].all()
        assert np.mean(model.get_layer("conv2").kernel.numpy() == 0) == 0.75
    with pytest.raises(CompressionError, match=r"ranked by magnitude, lookahead.*no 'size'"):
        pruning.layer_masks(small_model, 0.5, "size")
    with pytest.raises(CompressionError, match="no 'size'"):
        dynamic_pruning.MaskedTraining(small_model, 0.5, by="size")


def test_training_by_lookahead_at_once(small_model, tiny_data, recipe):
    """From the first step on the masks are those of the scores; one way, they stay."""
    masks = pruning.layer_masks(small_model, 0.9, "lookahead")
    options = {"feedback": False, "by": "lookahead", "part": 0.0}
    model, updates = dynamic_pruning.train(
        small_model, tiny_data, 0.9, recipe.but(epochs=20), **options
    )
    assert list(updates["step"]) == [0, 16]
    assert updates["pruned"].nunique() == 1
    for name, mask in masks.items():
        np.testing.assert_array_equal(pruning.prunable(model)[name].numpy() != 0, mask)


def test_training_by_lookahead_along_the_schedule(small_model, tiny_data):
    recipe = Recipe(40, 4e-3, batch=64)
    model, updates = dynamic_pruning.train(small_model, tiny_data, 0.8, recipe, by="lookahead")
    assert updates["pruned"].is_monotonic_increasing
    assert pruning.sparsity_of(model) == pytest.approx(0.8, abs=1e-2)
