import numpy as np
import pytest
import tensorflow as tf

from labkit.compress import dynamic_pruning, pruning


@pytest.fixture()
def line():
    """y = w1 x1 + w2 x2, a dense layer of two weights without a bias."""
    model = tf.keras.Sequential(
        [tf.keras.layers.Input((2,)), tf.keras.layers.Dense(1, use_bias=False, name="line")]
    )
    model.set_weights([np.array([[0.9], [0.3]], np.float32)])
    return model


#: The second input alone says what y is: the target weights are (0, 1).
X = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], np.float32)
Y = X[:, 1:]


def fit(training, epochs, schedule=None, rate=0.05):
    training.compile(tf.keras.optimizers.SGD(rate), "mse")
    callbacks = [] if schedule is None else [schedule]
    training.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)


def weights(training):
    return training.kernels["line"].numpy().ravel()


def test_gradient_is_taken_at_the_pruned_weights_and_applied_to_the_dense_ones(line):
    training = dynamic_pruning.MaskedTraining(line, 0.5)
    training.update_masks(1.0)
    fit(training, 1)
    # At (0.9, 0) the gradient of the mean squared error is 2 (w - (0, 1)) = (1.8, -2).
    np.testing.assert_allclose(weights(training), [0.9 - 0.05 * 1.8, 0.3 + 0.05 * 2], rtol=1e-5)
    np.testing.assert_allclose(training.pruned().get_weights()[0].ravel(), [0.81, 0], rtol=1e-5)


def test_one_way_keeps_zero_what_is_pruned(line):
    training = dynamic_pruning.MaskedTraining(line, 0.5, feedback=False)
    training.update_masks(1.0)
    fit(training, 1)
    np.testing.assert_allclose(weights(training), [0.81, 0], rtol=1e-5)


def test_the_weight_that_matters_comes_back_with_feedback_only(line):
    """The larger weight is the useless one: whoever prunes once keeps the wrong one for good."""
    ends = {}
    for feedback in (True, False):
        training = dynamic_pruning.MaskedTraining(line, 0.5, feedback)
        schedule = dynamic_pruning.MaskSchedule(end=1, period=1)
        fit(training, 40, schedule)
        ends[feedback] = training.pruned().get_weights()[0].ravel()
        reactivated = sum(update["reactivated"] for update in schedule.updates)
        assert reactivated == (1 if feedback else 0)
        assert schedule.updates[-1]["pruned"] == 1
    np.testing.assert_allclose(ends[True], [0, 1], atol=0.05)
    np.testing.assert_allclose(ends[False], [0, 0], atol=0.05)


def test_masks_follow_the_schedule(small_model, tiny_data, recipe):
    finals = pruning.layer_sparsities(small_model, 0.9)
    plain, updates = dynamic_pruning.train(small_model, tiny_data, finals, recipe.but(epochs=40))
    kernels = pruning.prunable(plain)
    assert pruning.sparsity_of(plain) == pytest.approx(0.9, abs=1e-3)
    for name, kernel in kernels.items():
        assert np.mean(kernel.numpy() == 0) == pytest.approx(finals[name], abs=0.02)
    assert list(updates["step"]) == [0, 16, 32]
    total = sum(np.size(kernel) for kernel in kernels.values())
    for step, pruned in zip(updates["step"], updates["pruned"], strict=True):
        expected = pruning.polynomial_sparsity(step, 0, 20, 0.0, 0.9)  # half of the steps
        assert pruned / total == pytest.approx(expected, abs=2e-3)


def test_the_model_that_is_given_stays_as_it_was(small_model, tiny_data, recipe):
    before = [w.copy() for w in small_model.get_weights()]
    plain, _ = dynamic_pruning.train(small_model, tiny_data, 0.5, recipe)
    for a, b in zip(before, small_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [type(layer) for layer in plain.layers] == [type(layer) for layer in small_model.layers]


def test_any_pattern_can_be_trained(small_model, tiny_data, recipe):
    plain, _ = dynamic_pruning.train(
        small_model,
        tiny_data,
        {"conv1": 0.5, "conv2": 0.5},
        recipe.but(epochs=2),
        pattern=lambda kernel, sparsity: pruning.n_of_m_mask(kernel, 2, 4),
    )
    groups = (plain.get_layer("conv2").kernel.numpy() != 0).reshape(3, 3, 2, 4, 8)
    assert (groups.sum(axis=3) == 2).all()


def test_an_unknown_layer_is_named(small_model):
    with pytest.raises(ValueError, match="'conv9' has no kernel"):
        dynamic_pruning.MaskedTraining(small_model, {"conv9": 0.5})
