import pytest
import tensorflow as tf

from labkit.models import rules

layers = tf.keras.layers


def network(*middle):
    inputs = x = tf.keras.Input((8, 8, 1))
    for layer in middle:
        x = layer(x)
    return tf.keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


@pytest.mark.parametrize(
    "activation", [layers.ReLU(), layers.Activation("tanh"), layers.LeakyReLU()]
)
def test_normalisation_before_activation_passes(activation):
    rules.check(network(layers.Conv2D(4, 3), layers.BatchNormalization(), activation))


def test_normalisation_after_activation_fails():
    model = network(
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(name="late"),
        layers.MaxPooling2D(),
    )
    with pytest.raises(rules.RuleError, match=r"'late' is followed by .*MaxPooling2D.*before"):
        rules.check(model)


def test_normalisation_at_the_end_fails():
    inputs = tf.keras.Input((4,))
    model = tf.keras.Model(inputs, layers.BatchNormalization(name="last")(inputs))
    with pytest.raises(rules.RuleError, match="followed by nothing"):
        rules.check(model)


def test_normalisation_with_two_followers_fails():
    inputs = tf.keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="fork")(layers.Conv2D(4, 3)(inputs))
    joined = layers.Add()([layers.ReLU()(x), x])
    with pytest.raises(rules.RuleError, match="fork"):
        rules.check(tf.keras.Model(inputs, joined))


def test_what_others_build_upon_a_normalisation_does_not_count():
    model = network(layers.Conv2D(4, 3), layers.BatchNormalization(name="norm"), layers.ReLU())
    tf.keras.Model(model.input, layers.Flatten()(model.get_layer("norm").output))
    rules.check(model)


def test_operation_on_tensors_fails():
    inputs = tf.keras.Input((4,))
    with pytest.raises(rules.RuleError, match=r"multiply.* customised layer"):
        rules.check(tf.keras.Model(inputs, 2 * layers.Dense(2)(inputs)))


def test_rules_hold_inside_nested_models():
    inner = network(layers.Conv2D(4, 3), layers.BatchNormalization(name="deep"))
    inputs = tf.keras.Input((8, 8, 1))
    with pytest.raises(rules.RuleError, match="'deep' is followed by 'flatten"):
        rules.check(tf.keras.Model(inputs, inner(inputs)))


class Custom(layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.mark.parametrize("layer", [Custom(name="mine"), layers.Lambda(lambda x: x, name="mine")])
def test_customised_layer_fails(layer):
    with pytest.raises(rules.RuleError, match=r"'mine' .* customised layer"):
        rules.check(network(layer))
