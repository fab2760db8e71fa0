import numpy as np
import pytest
import tensorflow as tf

from labkit import measure
from labkit.compress import minimal, post_training, quantization_aware


@pytest.fixture(scope="module")
def content(small_model, tiny_data):
    return post_training.convert(small_model, "int8", tiny_data.x_train)


def test_same_outputs_from_a_smaller_file(content, tiny_data):
    smaller = minimal.without_names(content)
    assert len(smaller) < len(content) - 500
    np.testing.assert_array_equal(
        measure.TFLiteModel(smaller).predict(tiny_data.x_test),
        measure.TFLiteModel(content).predict(tiny_data.x_test),
    )


def test_no_name_is_left_and_no_weight_is_lost(content):
    smaller = minimal.without_names(content)
    for word in (b"conv1", b"serving_default", b"MLIR", b"CONVERSION_METADATA"):
        assert word in content and word not in smaller
    before, after = measure.inspect(content), measure.inspect(smaller)
    assert after.parameters == before.parameters and after.macs == before.macs
    for column in ("bits", "unique", "sparsity", "shape"):
        assert list(after.weights[column]) == list(before.weights[column])


def test_twice_is_once(content):
    once = minimal.without_names(content)
    assert len(minimal.without_names(once)) == len(once)


@pytest.mark.parametrize("mode", ["int8", "int16x8", "float"])
def test_for_a_device_it_computes_the_same_from_less(small_model, tiny_data, mode):
    whole = post_training.convert(small_model, mode, tiny_data.x_train, batch=1)
    least = minimal.for_device(whole)
    named = minimal.without_names(whole)
    assert len(least) <= len(named) - {"int8": 500, "int16x8": 1000, "float": 0}[mode]
    x = tiny_data.x_test[:4]
    expected = measure.TFLiteModel(whole, reference=True).predict(x)
    np.testing.assert_array_equal(measure.TFLiteModel(least, reference=True).predict(x), expected)
    before, after = measure.inspect(whole), measure.inspect(least)
    assert after.parameters == before.parameters and after.macs == before.macs
    if measure.micro.available():
        before, after = measure.micro.run_all([whole, least], x, compare=False)
        assert before.arena_bytes == after.arena_bytes
        np.testing.assert_array_equal(before.outputs, after.outputs)


def test_a_dense_layer_of_small_differences_runs_too():
    """0.1 of outputs from inputs of 3: the bias's scale is a tenth of the output's."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 1)) + 0.1 * random.normal(size=(200, 2))
    model = tf.keras.Sequential([tf.keras.layers.Input((2,)), tf.keras.layers.Dense(1)])
    model.set_weights([np.array([[1.0], [-1.0]]), np.array([0.05])])
    aware = quantization_aware.quantize(model)
    quantization_aware.calibrate(aware, x.astype(np.float32))
    whole = quantization_aware.convert(aware, batch=1)
    least = minimal.for_device(whole)
    assert len(least) < len(minimal.without_names(whole))
    expected, found = (measure.TFLiteModel(c, reference=True).predict(x) for c in (whole, least))
    np.testing.assert_array_equal(found, expected)


def test_not_a_file():
    for function in (minimal.without_names, minimal.for_device):
        with pytest.raises(ValueError, match="TFL3"):
            function(b"not a model at all")
