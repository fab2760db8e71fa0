"""Classifiers on features: linear models as files, a forest's bytes, divide and conquer."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from labkit import measure, training
from labkit.compress import post_training
from labkit.datasets import Dataset
from labkit.models import har_classic as classic
from labkit.models.har_classic import FeatureError

NAMES = ("walk", "up", "down", "sit", "stand", "lie")


@pytest.fixture(scope="module")
def data():
    """Features of six classes around their own means, the first telling static from dynamic."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, (6, 24))
    means[:, 0] = np.where(np.arange(6) < classic.DYNAMIC, 6, -6)
    offset, size = rng.normal(size=24), rng.uniform(0.1, 10, 24)

    def part(count):
        y = np.arange(count) % 6
        x = (means[y] + rng.normal(0, 0.6, (count, 24))) * size + offset
        return x.astype(np.float32), y

    return Dataset("uci_har", "synthetic", *part(300), *part(120), NAMES)


@pytest.mark.parametrize(
    ("reduction", "shrinkage", "parameters"),
    [
        (None, True, 24 * 6 + 6),
        ("pca", True, 25 * 8 + 9 * 6),
        ("lda", True, 25 * 5 + 6 * 6),
        ("lda", False, 25 * 5 + 6 * 6),
    ],
)
def test_a_linear_model_is_a_file_like_any_other(data, reduction, shrinkage, parameters):
    pipeline = classic.linear(data, reduction, components=8, shrinkage=shrinkage)
    assert pipeline.score(data.x_test, data.y_test) > 0.9
    model = classic.to_keras(pipeline)
    assert model.count_params() == parameters
    expected = pipeline.predict_proba(data.x_test)
    for mode, tolerance in (("float", 1e-3), ("int8", 0.25)):
        content = post_training.convert(model, mode, data.x_train)
        found = measure.TFLiteModel(content).predict(data.x_test)
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_shrinkage_keeps_the_weights_of_features_that_say_the_same_small(data):
    """A feature and its twin, which differs in the fourth digit, as many of the 561 do."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name in ("x_train", "x_test"):
        x = getattr(data, name)
        twin = x * (1 + 1e-4 * rng.normal(size=x.shape))
        arrays[name] = np.concatenate([x, twin], axis=1).astype(np.float32)
    doubled = replace(data, **arrays)
    largest = [
        np.abs(
            classic.to_keras(classic.linear(doubled, "lda", shrinkage=on)).layers[1].kernel
        ).max()
        for on in (False, True)
    ]
    assert largest[0] > 10 * largest[1]


def test_a_reduction_by_itself(data):
    pipeline = make_pipeline(*classic.linear(data, "pca", components=3)[:-1])
    model = classic.to_keras(pipeline)
    np.testing.assert_allclose(model(data.x_test), pipeline.transform(data.x_test), atol=1e-3)


def test_steps_that_are_no_chain_of_linear_maps(data):
    with pytest.raises(FeatureError, match="'minmaxscaler' is a MinMaxScaler"):
        classic.to_keras(make_pipeline(StandardScaler(), MinMaxScaler()).fit(data.x_train))
    with pytest.raises(FeatureError, match="'tsne', expected 'pca'"):
        classic.linear(data, "tsne")


def test_bytes_of_a_forest(data):
    """Every tree has one leaf more than nodes that decide."""
    forest = classic.forest(data, trees=5, depth=4)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    assert classic.forest_bytes(forest) == 5 * (leaves - 5) + leaves
    assert classic.forest_bytes(forest.estimators_[0]) < classic.forest_bytes(forest)


@pytest.mark.parametrize(
    ("build", "parameters", "shapes"),
    [
        (classic.static_cnn, 186_273, [(559, 30), (557, 50), (555, 100)]),
        (classic.dynamic_cnn, 56_203, [(559, 100)]),
    ],
)
def test_divided_networks_of_the_slides(build, parameters, shapes):
    model = build()
    assert model.count_params() == parameters
    found = [layer.output.shape[1:] for layer in model.layers if layer.name.startswith("conv")]
    assert found == shapes
    assert model.layers[-1].name == "drop"
    assert build(after_softmax=False).layers[-1].name == "activity"


def test_sharpening_by_hand():
    x = np.zeros((2, 9), np.float32)
    x[0, 4] = 1
    weights = np.exp(-0.5 * (np.arange(-4, 5)) ** 2)
    weights /= weights.sum()
    expected = x[0] + 0.5 * (x[0] - weights)
    np.testing.assert_allclose(classic.sharpen(x, 1.0, 0.5)[0], expected, atol=1e-3)
    np.testing.assert_array_equal(classic.sharpen(x, 3.0, 0.0), x)
    np.testing.assert_allclose(
        classic.sharpen(x[..., None], 1.0, 0.5)[..., 0], classic.sharpen(x, 1.0, 0.5)
    )


def test_sharpening_is_measured_on_both_halves_of_the_subjects():
    groups = np.repeat(np.arange(10), 3)
    first = classic.halves(groups, seed=1)
    assert 0 < first.sum() < len(groups)
    assert not set(groups[first]) & set(groups[~first])
    y = np.arange(30) % 3
    x = np.eye(3)[y][:, [0, 1, 2]] + np.where(first, 0.0, 0.2)[:, None]
    table = classic.sharpening(lambda x: x, x, y, first, sigmas=(1,), alphas=(0.0, 0.5))
    assert list(table.columns) == ["sigma", "alpha", "chosen on (%)", "reported on (%)"]
    np.testing.assert_allclose(table.iloc[:, 2:], 100)
    wrong = classic.sharpening(lambda x: -x, x, y, first, sigmas=(1,), alphas=(0.0,))
    assert wrong["reported on (%)"][0] < 50


def test_divide_and_conquer_asks_the_right_network(data):
    asked = {}

    def network(name, answer):
        def predict(x):
            asked[name] = x
            return np.tile(np.eye(3)[answer], (len(x), 1))

        return predict

    both = classic.DivideAndConquer(network("static", 2), network("dynamic", 1)).fit(data)
    classes = both.predict(data.x_test)
    dynamic = data.y_test < classic.DYNAMIC
    np.testing.assert_array_equal(classes, np.where(dynamic, 1, 5))
    assert asked["static"].shape == ((~dynamic).sum(), 24, 1)
    both.predict(data.x_test, sharpened=(data.x_test + 1, data.x_test))
    np.testing.assert_allclose(asked["static"][:, :, 0], data.x_test[~dynamic] + 1)


def test_part_has_three_classes_from_zero(data):
    for dynamic, names in ((True, NAMES[:3]), (False, NAMES[3:])):
        found = classic.part(data, dynamic)
        assert found.class_names == names and set(found.y_train) == {0, 1, 2}
        assert found.x_train.shape == (150, 24, 1)


def test_a_small_cnn_along_components_learns(data):
    model = classic.feature_cnn(24)
    size = data.x_train.std(0)
    x = (data.x_train - data.x_train.mean(0)) / size
    history = training.fit(model, (x, data.y_train), training.Recipe(6, 1e-2, batch=50))
    assert history["accuracy"][-1] > 0.8
