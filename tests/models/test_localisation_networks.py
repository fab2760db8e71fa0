"""The networks of indoor localisation, and the best weights of a training."""

import numpy as np
import pytest

from labkit import measure, runtime, training
from labkit.compress import post_training
from labkit.models import localisation
from labkit.training import Best


@pytest.mark.parametrize(
    ("build", "parameters", "shape"),
    [
        (localisation.mlp, 226, (4,)),
        (lambda: localisation.mlp((45,)), 317, (4,)),
        (lambda: localisation.mlp((8, 8)), 130, (4,)),
        (localisation.cnn, 34_818, (30, 4)),
        (localisation.lstm, 62, (30, 4)),
    ],
)
def test_parameters_of_the_thesis(build, parameters, shape):
    model = build()
    assert model.count_params() == parameters
    assert (model.input_shape, model.output_shape) == ((None, *shape), (None, 2))


def test_parameters_of_every_mlp_of_table_3_1():
    for neurons in range(22, 53):
        assert localisation.mlp((neurons,)).count_params() == 7 * neurons + 2


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_files_agree_with_keras(name):
    runtime.set_seed(0)
    model = localisation.NETWORKS[name].build()
    x = np.random.default_rng(0).normal(size=(20, *model.input_shape[1:])).astype(np.float32)
    expected = model.predict(x, verbose=0)
    found = measure.TFLiteModel(post_training.convert(model, "float")).predict(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rounded = measure.TFLiteModel(post_training.convert(model, "int8", x)).predict(x)
    assert np.abs(rounded - expected).mean() < 0.05 * np.ptp(expected)


def test_recipes_have_both_profiles():
    for network in localisation.NETWORKS.values():
        quick, full = (network.RECIPES[profile] for profile in runtime.PROFILES)
        assert quick.epochs < full.epochs and quick.loss == "mse"
        assert quick.optimizer.__name__ == "Adamax"


def test_the_best_weights_are_put_back():
    runtime.set_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)).astype(np.float32), rng.normal(size=(64, 2)).astype(np.float32)
    model, best = localisation.mlp((16,)), Best()
    recipe = localisation.NETWORKS["mlp"].RECIPES["quick"].but(epochs=30, learning_rate=3e-2)
    history = training.fit(
        model, (x[:32], y[:32]), recipe, callbacks=[best], validation=(x[32:], y[32:])
    )
    losses = history["val_loss"]
    assert best.value == pytest.approx(min(losses)) and best.epoch == 1 + int(np.argmin(losses))
    assert losses[-1] > 1.02 * best.value
    best.restore()
    found = measure.MEAN_SQUARED_ERROR.compute(y[32:], model.predict(x[32:], verbose=0))
    assert found == pytest.approx(best.value, rel=1e-5)
    untouched = Best()
    untouched.set_model(model)
    untouched.restore()
