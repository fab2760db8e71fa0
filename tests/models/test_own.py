"""A student's own network is kept as a description, and carried by the labs."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.models import own, rules, sign_cnn

layers = tf.keras.layers


def small(filters=4, name="mine"):
    inputs = layers.Input((28, 28, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3)(inputs)))
    x = layers.Dense(24, "softmax")(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(inputs, x, name=name)


def test_nothing_kept_gives_the_default(tmp_path):
    assert own.find(tmp_path, sign_cnn) is sign_cnn


def test_a_network_is_found_again_untrained_and_under_one_name(tmp_path):
    model = small()
    own.keep(tmp_path, model)
    found = own.find(tmp_path, sign_cnn)
    built = found.build()
    assert built.name == own.NAME and found.RECIPES is sign_cnn.RECIPES
    assert [w.shape for w in built.weights] == [w.shape for w in model.weights]
    copy = found.build()
    copy.set_weights(model.get_weights())
    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))


def test_another_architecture_has_other_facts(tmp_path):
    """Else weights of the one would be taken for the other's."""
    own.keep(tmp_path, small(4))
    before = own.find(tmp_path, sign_cnn).facts
    own.keep(tmp_path, small(5))
    assert own.find(tmp_path, sign_cnn).facts != before


def test_the_default_written_out_is_the_default(tmp_path):
    """So that nothing is trained twice."""
    inputs = sign_cnn.build()
    own.keep(tmp_path, tf.keras.Model(inputs.inputs, inputs.outputs, name="written_out"))
    assert own.find(tmp_path, sign_cnn) is sign_cnn


def test_the_rules_are_the_judge(tmp_path):
    inputs = layers.Input((8, 8, 1))
    x = layers.BatchNormalization(name="late")(layers.Conv2D(2, 3, activation="relu")(inputs))
    with pytest.raises(rules.RuleError, match="late"):
        own.keep(tmp_path, tf.keras.Model(inputs, layers.Flatten()(x)))
    assert own.find(tmp_path, sign_cnn) is sign_cnn


def test_a_damaged_description_is_named(tmp_path):
    own.keep(tmp_path, small()).write_text("{")
    with pytest.raises(own.OwnNetworkError, match=r"own_network\.json is damaged"):
        own.find(tmp_path, sign_cnn)
