"""Folding: the same function without normalisations, or an error that names the hindrance."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.models import folding, squeezenet
from labkit.models.graph import NetworkError

layers = tf.keras.layers


def randomised(model, seed=0):
    """Every weight, means and variances too, at random."""
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.3, 1.5, w.shape) for w in model.get_weights()])
    return model


def assert_folds(model):
    x = [np.random.default_rng(1).normal(size=(2, *i.shape[1:])).astype("f") for i in model.inputs]
    folded = folding.fold(randomised(model))
    names = [type(layer) for layer in folded.layers]
    assert layers.BatchNormalization not in names and tf.keras.Model not in names
    expected = tf.nest.flatten(model(x if len(x) > 1 else x[0]))
    found = tf.nest.flatten(folded(x if len(x) > 1 else x[0]))
    for a, b in zip(expected, found, strict=True):
        assert np.std(a) > 0
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4 * np.abs(a).max())
    return folded


def test_folding_changes_no_output(small, images):
    folded = folding.fold(small)
    tap, folded_tap = (
        tf.keras.Model(m.inputs, m.get_layer("conv10").output) for m in (small, folded)
    )
    assert not any(isinstance(layer, tf.keras.layers.BatchNormalization) for layer in folded.layers)
    expected = tap.predict(images, verbose=0)
    assert expected.std() > 0.01
    np.testing.assert_allclose(
        folded_tap.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4
    )
    plain = squeezenet.build((32, 32, 3), 10, width=0.125)
    assert plain.count_params() == folded.count_params()


LINE, PLANE, BLOCK = (9, 4), (8, 8, 4), (4, 4, 4, 4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(3), (5,)),
        (layers.Dense(3, use_bias=False), LINE),
        (layers.Conv1D(3, 3, padding="causal"), LINE),
        (layers.Conv2D(6, 3, groups=2, strides=2, use_bias=False), PLANE),
        (layers.Conv3D(3, 2), BLOCK),
        (layers.Conv1DTranspose(3, 2, strides=2), LINE),
        (layers.Conv2DTranspose(3, 2, strides=2, use_bias=False), PLANE),
        (layers.Conv3DTranspose(3, 2), BLOCK),
        (layers.DepthwiseConv1D(3, depth_multiplier=2), LINE),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False), PLANE),
        (layers.SeparableConv1D(3, 3), LINE),
        (layers.SeparableConv2D(3, 3, use_bias=False), PLANE),
    ],
    ids=lambda x: getattr(x, "name", None),
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_every_layer_with_channels_is_folded_into(layer, shape, options):
    layer = type(layer).from_config(layer.get_config())
    norm = layers.BatchNormalization(**options)
    assert_folds(tf.keras.Sequential([layers.Input(shape), layer, norm, layers.ReLU()]))


def test_nested_and_shared_networks_are_folded():
    inner = tf.keras.Sequential(
        [layers.Input(PLANE), layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()]
    )
    one, two = layers.Input(PLANE), layers.Input(PLANE)
    shared = layers.Conv2D(4, 1)
    x = layers.Add()([shared(inner(one)), shared(two)])
    x = 2 * layers.ReLU()(x) + 1
    folded = assert_folds(tf.keras.Model([one, two], [x, layers.GlobalAveragePooling2D()(x)]))
    assert len(folded.inputs) == 2 and len(folded.outputs) == 2


def test_what_other_networks_read_does_not_matter():
    x = inputs = layers.Input(PLANE)
    convolved = layers.Conv2D(3, 3)(x)
    model = tf.keras.Model(inputs, layers.BatchNormalization()(convolved))
    tf.keras.Model(inputs, layers.ReLU()(convolved))  # a tap, built upon the same tensors
    assert_folds(model)


def test_mobilenet_is_folded():
    model = tf.keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)
    x = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            random = np.random.default_rng(len(layer.name))
            layer.set_weights([random.uniform(0.7, 1.4, w.shape) for w in layer.get_weights()])
    folded = folding.fold(model)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-3)


def behind(*before, axis=-1, shape=PLANE, **options):
    """A network with a normalisation "n" behind some layers."""
    x = inputs = layers.Input(shape, name="input")
    for layer in before:
        x = layer(x)
    return tf.keras.Model(inputs, layers.BatchNormalization(axis=axis, name="n")(x, **options))


def read_twice():
    x = inputs = layers.Input(PLANE)
    x = layers.Conv2D(3, 1, name="c")(x)
    return tf.keras.Model(inputs, [layers.BatchNormalization(name="n")(x), layers.ReLU()(x)])


def an_output_too():
    x = inputs = layers.Input((5,))
    x = layers.Dense(3, name="c")(x)
    return tf.keras.Model(inputs, [layers.BatchNormalization(name="n")(x), x])


def called_twice():
    x = inputs = layers.Input(PLANE)
    convolution = layers.Conv2D(4, 1, name="c")
    x = convolution(layers.BatchNormalization(name="n")(convolution(x)))
    return tf.keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: behind(layers.MaxPooling2D(name="c")), "'n' follows 'c': it can be folded into a"),
        (lambda: behind(), "'n' follows 'input'"),
        (lambda: behind(layers.Conv2D(4, 3, activation="sigmoid", name="c")), "activation inside"),
        (
            lambda: behind(layers.Conv2D(4, 3, name="c"), axis=1),
            r"has the axes \[1\], not the chan",
        ),
        (lambda: behind(layers.Conv2D(4, 3, name="c"), training=True), "'n' is called with train"),
        (read_twice, "follows 'c', which something else reads too"),
        (an_output_too, "follows 'c', which something else reads too"),
        (called_twice, "'n' follows 'c': it can be"),
    ],
)
def test_what_cannot_be_folded_is_named(model, message):
    with pytest.raises(NetworkError, match=message):
        folding.fold(model())


LONE = {
    "in front of a dense layer": [
        layers.Conv1D(4, 3, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.BatchNormalization(name="lone"),
        layers.Dropout(0.5),
        layers.Dense(3, use_bias=False),
    ],
    "in front of Flatten": [
        layers.Conv1D(4, 3, activation="relu"),
        layers.BatchNormalization(name="lone"),
        layers.AveragePooling1D(2),
        layers.Flatten(),
        layers.Dense(3),
    ],
    "in front of a convolution": [
        layers.BatchNormalization(scale=False, name="lone"),
        layers.Conv1D(4, 3),
    ],
    "padded with zeros": [
        layers.BatchNormalization(name="lone"),
        layers.Conv1D(4, 3, padding="same"),
    ],
    "in front of a maximum": [
        layers.Conv1D(4, 3, activation="relu"),
        layers.BatchNormalization(center=False, name="lone"),
        layers.MaxPooling1D(2),
        layers.Conv1D(3, 2),
    ],
    "in front of an activation": [
        layers.GlobalAveragePooling1D(),
        layers.BatchNormalization(name="lone"),
        layers.ReLU(),
        layers.Dense(3),
    ],
}


@pytest.mark.parametrize("case", LONE)
def test_a_lone_normalisation_becomes_weights(case):
    """Of the layer behind it, or, where that would not be the same, of a layer of its own."""
    model = tf.keras.Sequential([layers.Input(LINE), *LONE[case]])
    randomised(model)
    norm = model.get_layer("lone")
    for values in (norm.gamma if norm.scale else None, norm.beta if norm.center else None):
        if values is not None:
            values.assign(values * np.resize([-1, 1, 1], values.shape))
    folded = folding.fold_lone(model)
    kinds = [type(layer) for layer in folded.layers]
    assert layers.BatchNormalization not in kinds
    own = case in ("padded with zeros", "in front of a maximum", "in front of an activation")
    assert (layers.DepthwiseConv2D in kinds) == own
    x = np.random.default_rng(1).normal(size=(3, *LINE)).astype("f")
    expected = model(x)
    assert np.std(expected) > 0
    np.testing.assert_allclose(folded(x), expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def test_a_normalisation_that_the_layer_before_can_take_stays_and_so_does_one_that_is_left():
    chain = [layers.Conv1D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    model = tf.keras.Sequential([layers.Input(LINE), *chain])
    assert folding.fold_lone(model) is model
    lone = [layers.ReLU(), layers.BatchNormalization(name="lone"), layers.Dense(3)]
    model = tf.keras.Sequential([layers.Input(LINE), *lone])
    assert folding.fold_lone(model, leave=["lone"]) is model


def test_a_lone_normalisation_with_statistics_of_the_batch_is_named():
    inputs = layers.Input((4,))
    x = layers.BatchNormalization(name="lone")(layers.ReLU()(inputs), training=True)
    with pytest.raises(NetworkError, match="'lone' is called with training=True"):
        folding.fold_lone(tf.keras.Model(inputs, layers.Dense(2)(x)))


def test_only_into_some_layers_and_not_those_left():
    inputs = layers.Input((6, 6, 2))
    x = layers.BatchNormalization(name="of_conv")(layers.Conv2D(3, 3)(inputs))
    x = layers.BatchNormalization(name="of_dense")(layers.Dense(4)(layers.Flatten()(x)))
    x = layers.BatchNormalization(name="left")(layers.Dense(4)(x))
    model = randomised(tf.keras.Model(inputs, x))
    folded = folding.fold(model, into=(layers.Dense,), leave=["left"])
    norms = [n.name for n in folded.layers if isinstance(n, layers.BatchNormalization)]
    assert norms == ["of_conv", "left"]
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    expected = model(images)
    np.testing.assert_allclose(folded(images), expected, atol=1e-4 * np.abs(expected).max())
    assert folding.fold(folded, into=(layers.Dense,), leave=["left"]) is folded
