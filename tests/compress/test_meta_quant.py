import numpy as np
import pytest
import tensorflow as tf
from counted import clusters_of

from labkit import measure, training
from labkit.compress import meta_quant, post_training
from labkit.compress.forwards import Forward, dorefa
from labkit.compress.kernels import CompressionError
from labkit.training import Recipe

L = tf.keras.layers
SGD = tf.keras.optimizers.SGD


def test_derivatives_by_hand():
    prepared = tf.constant([0.5, -0.25, 1.5])
    np.testing.assert_array_equal(meta_quant.StraightThrough(3)(prepared)[0], [1, 1, 0])
    of_gradient, of_weight = meta_quant.FCGrad(3, hidden=2), meta_quant.MultiFC(3, hidden=2)
    for variable in of_gradient.variables + of_weight.variables:
        variable.assign(tf.ones_like(variable))
    of_gradient.variables[0].assign([[1.0, 2.0]])
    of_weight.variables[0].assign([[1.0, 2.0]])
    np.testing.assert_array_equal(of_gradient(prepared)[0], [3, 3, 3])
    np.testing.assert_array_equal(of_weight(prepared)[0], [3, -1.5, 9])


def test_lstmfc_is_keras_lstm_with_a_state_for_each_weight():
    backward = meta_quant.LSTMFC(3, seed=1, hidden=4)
    of_input, of_output, bias, last, last_bias = backward.variables
    lstm = L.LSTM(4)
    lstm.build((None, None, 1))
    lstm.set_weights([of_input, of_output, bias])
    steps = np.random.default_rng(0).uniform(-1, 1, (3, 5, 1)).astype(np.float32)
    for step in range(5):
        found, state = backward(tf.constant(steps[:, step, 0]))
        expected = lstm(steps[:, : step + 1]) @ last + last_bias
        np.testing.assert_allclose(found, expected[:, 0], rtol=1e-4, atol=1e-6)
        for variable, value in zip(backward.state, state, strict=True):
            variable.assign(value)


def line(weights=(0.3, -0.6, 0.2)):
    model = tf.keras.Sequential([L.Input((3,)), L.Dense(1, use_bias=False, name="line")])
    model.set_weights([np.array(weights, np.float32)[:, None]])
    return model


X = np.random.default_rng(0).normal(0, 1, (32, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-1.0], [1.0]])).astype(np.float32)


def fitted(quantised, epochs, rate=0.1, optimizer=SGD):
    quantised.compile(optimizer(rate), "mse")
    quantised.fit(X, Y, batch_size=32, epochs=epochs, verbose=0, shuffle=False)
    return quantised.kernels["line"].numpy().ravel()


def test_the_gradient_is_taken_at_the_quantised_weights_and_moves_the_latent_ones():
    quantised = meta_quant.QuantizedTraining(line(), "dorefa", backward="ste")
    moved = fitted(quantised, 1)
    latent = np.array([0.3, -0.6, 0.2])
    at = np.array([1.0, -1.0, 1.0])
    gradient = 2 * X.T @ (X @ at - Y[:, 0]) / 32
    # These quantised weights are the target's: nothing moves.
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    np.testing.assert_allclose(moved, latent, rtol=1e-6)
    quantised = meta_quant.QuantizedTraining(line((0.3, 0.6, 0.2)), "dorefa", backward="ste")
    gradient = 2 * X.T @ (X @ np.ones(3) - Y[:, 0]) / 32
    latent = np.array([0.3, 0.6, 0.2])
    slope = (1 - np.tanh(latent) ** 2) / np.tanh(0.6)
    np.testing.assert_allclose(fitted(quantised, 1), latent - 0.1 * gradient * slope, rtol=1e-5)
    np.testing.assert_array_equal(quantised.quantized().get_weights()[0].ravel(), [1, 1, 1])


@pytest.mark.parametrize("forward", ["dorefa", "bwn"])
@pytest.mark.parametrize("optimizer", [SGD, tf.keras.optimizers.Adam])
def test_fcgrad_with_a_factor_of_one_is_the_straight_through_estimator(forward, optimizer):
    straight = meta_quant.QuantizedTraining(line((0.3, 0.6, 0.2)), forward, backward="ste")
    learned = meta_quant.QuantizedTraining(
        line((0.3, 0.6, 0.2)), forward, backward="fcgrad", hidden=1
    )
    for variable in learned.backward.variables:
        variable.assign([[1.0]])
    learned.meta_optimizer = SGD(0.0)
    expected = fitted(straight, 12, 0.02, optimizer)
    assert np.abs(expected - [0.3, 0.6, 0.2]).max() > 0.01
    np.testing.assert_array_equal(fitted(learned, 12, 0.02, optimizer), expected)


@pytest.mark.parametrize("backward", ["fcgrad", "multifc", "lstmfc"])
def test_meta_gradient_against_finite_differences(backward):
    """Of the loss at W - rate · g · f(W), by the meta network's parameters.

    The quantiser is the identity here, so that the loss is differentiable.
    """
    identity = Forward(32, lambda w: (w, tf.ones_like(w)), lambda w: w)
    quantised = meta_quant.QuantizedTraining(line(), identity, backward=backward, seed=3, hidden=2)
    quantised.meta_optimizer = SGD(1.0)
    rate, latent = 0.1, np.array([0.3, -0.6, 0.2])

    def loss_by(w):
        return np.mean((X.astype(float) @ w - Y[:, 0]) ** 2)

    gradient = 2 * X.T.astype(float) @ (X @ latent - Y[:, 0]) / 32
    fitted(quantised, 1, rate)
    variables = quantised.backward.variables
    phi = [v.numpy().copy() for v in variables]

    def next_loss(values):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        f = quantised.backward(tf.constant(latent, tf.float32))[0].numpy().astype(float)
        return loss_by(latent - rate * gradient * f)

    expected, step = [], 1e-2
    for i, values in enumerate(phi):
        for at in np.ndindex(values.shape):
            losses = []
            for sign in (1, -1):
                changed = [v.copy() for v in phi]
                changed[i][at] += sign * step
                losses.append(next_loss(changed))
            expected.append((losses[0] - losses[1]) / (2 * step))
    for variable, value in zip(variables, phi, strict=True):
        variable.assign(value)
    x, y = tf.constant(X), tf.constant(Y)
    quantised.train_step((x, y))
    moved = np.concatenate(
        [np.ravel(old - v.numpy()) for old, v in zip(phi, variables, strict=True)]
    )
    np.testing.assert_allclose(moved, expected, rtol=0.01, atol=1e-4)


def toy(count=256):
    """Which of two waves a short series holds: amplitudes and phases differ."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, count)
    time = np.arange(16)
    phase = random.uniform(0, 6.28, (count, 1))
    x = np.sin(time * (0.6 + 0.9 * y[:, None]) + phase) + random.normal(0, 0.3, (count, 16))
    return x[..., None].astype(np.float32), y


def series():
    tf.keras.utils.set_random_seed(0)
    layers = [L.Conv1D(8, 5, activation="relu"), L.Conv1D(8, 3, activation="relu")]
    last = [L.GlobalAveragePooling1D(), L.BatchNormalization(momentum=0.9)]
    return tf.keras.Sequential([L.Input((16, 1)), *layers, *last, L.Dense(2, "softmax")])


@pytest.mark.parametrize(
    ("forward", "backward", "hidden"),
    [
        ("dorefa", "ste", 1),
        ("bwn", "fcgrad", 100),
        ("dorefa", "multifc", 100),
        ("bwn", "lstmfc", 8),
    ],
)
def test_it_learns_with_one_bit(forward, backward, hidden):
    x, y = toy()
    model, history = meta_quant.train(
        series(),
        (x, y),
        Recipe(15, 0.02, batch=32),
        forward=forward,
        backward=backward,
        hidden=hidden,
    )
    assert list(history) == ["loss", "accuracy", "derivative"]
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[0]
    assert np.mean(model.predict(x, verbose=0).argmax(1) == y) > 0.9
    assert set(clusters_of(model).values()) == {2}
    # The file has one bit a weight: an index into a codebook of two values. (The normalisation is
    # folded into the dense layer, row by row.)
    table = measure.coding(post_training.convert(model, "float"))
    kernels = table[(table["role"] == "weight") & table["layer"].str.startswith("conv")]
    assert set(kernels["unique"]) == {2}
    assert (kernels["codebook (bits)"] == kernels["values"] + 2 * 32).all()


def test_the_meta_network_learns_a_rate():
    """Where the rate is too small, FCGrad makes it larger."""
    x, y = toy()
    recipe = Recipe(12, 1e-3, batch=32, optimizer=SGD)
    _, history = meta_quant.train(series(), (x, y), recipe, backward="fcgrad")
    assert history["derivative"].iloc[-1] > 2
    assert history["derivative"].is_monotonic_increasing


def test_a_seed_decides_and_the_model_that_is_given_stays_as_it_was():
    given, recipe = line(), Recipe(3, 0.01, batch=8, loss="mse", metrics=())
    before = given.get_weights()
    runs = [
        meta_quant.train(given, (X, Y), recipe, seed, bits=4, backward="multifc")
        for seed in (1, 1, 2)
    ]
    # The same but for rounding, which depends on where in memory a sum lies: the meta network's
    # Adam makes steps of one size of gradients that are nearly zero.
    first, same, other = (history for _, history in runs)
    np.testing.assert_allclose(same, first, rtol=0.03)
    assert not np.allclose(other["derivative"], first["derivative"], rtol=0.1)
    for a, b in zip(runs[0][0].get_weights(), runs[1][0].get_weights(), strict=True):
        assert np.mean(a == b) > 0.9
    np.testing.assert_array_equal(before[0], given.get_weights()[0])


def test_two_inputs_inner_models_layers_left_or_frozen_and_validation():
    inner = tf.keras.Sequential([L.Input((4,)), L.Dense(6, "relu", name="first")], name="inner")
    image, facts = L.Input((8, 8, 1), name="image"), L.Input((4,), name="facts")
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, activation="relu", name="conv")(image))
    x = L.Concatenate()([x, inner(facts)])
    model = tf.keras.Model([image, facts], L.Dense(3, "softmax", name="last")(x))
    frozen = model.get_layer("conv")
    frozen.trainable = False
    random = np.random.default_rng(0)
    inputs = {
        "image": random.normal(0, 1, (48, 8, 8, 1)).astype(np.float32),
        "facts": random.normal(0, 1, (48, 4)).astype(np.float32),
    }
    y = random.integers(0, 3, 48)
    plain, history = meta_quant.train(
        model,
        (inputs, y),
        Recipe(2, 0.01, batch=16),
        bits=2,
        backward="multifc",
        leave=["last"],
        validation=(inputs, y),
    )
    np.testing.assert_array_equal(plain.get_layer("conv").kernel, dorefa(2).quantise(frozen.kernel))
    clusters = clusters_of(plain)
    assert list(clusters) == ["conv", "inner/first", "last"]
    assert clusters["conv"] <= 4 and clusters["inner/first"] <= 4 and clusters["last"] > 20
    # The validation is of the quantised weights: that of the last epoch is the plain model's.
    plain.compile(loss="sparse_categorical_crossentropy")
    assert history["val_loss"].iloc[-1] == pytest.approx(plain.evaluate(inputs, y, verbose=0))


def test_steps_of_the_rate():
    rates = Recipe(1, 1.0, schedule="steps").rates(9)
    np.testing.assert_allclose(rates, [1] * 3 + [0.1] * 3 + [0.01] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forward": "ternary"}, "no 'ternary', only dorefa, bwn, full_range"),
        ({"backward": "mlp"}, "no 'mlp', only ste, fcgrad, multifc, lstmfc"),
        ({"bits": 0}, "1 to 8 bits, not 0"),
        ({"forward": "bwn", "bits": 2}, "BWN has 1 bit, not 2"),
        ({"leave": ["conv9"]}, "'conv9' has no kernel"),
        ({"leave": ["line"]}, "nothing of .* is left to be quantised"),
    ],
)
def test_what_there_is_not_is_named(options, message):
    with pytest.raises(CompressionError, match=message):
        meta_quant.train(line(), (X, Y), Recipe(1), **options)


def test_a_network_trained_by_the_engine_is_not_touched_by_meta_variables():
    """The engine's optimizer has slots for the network alone."""
    quantised = meta_quant.QuantizedTraining(line(), backward="fcgrad")
    assert [v.name for v in quantised.trainable_variables] == ["line/kernel:0"]
    training.fit(quantised, (X, Y), Recipe(1, loss="mse", metrics=()))
