import numpy as np
import pytest
import tensorflow as tf

from labkit import measure
from labkit.compress import post_training


@pytest.fixture(scope="module")
def images(tiny_data):
    return tiny_data.x_train


@pytest.fixture(scope="module")
def contents(sign_model, images):
    return {m: post_training.convert(sign_model, m, images) for m in post_training.MODES}


def weighted_activation_types(inspection):
    """Types that the operators with weights read and write."""
    rows = inspection.operators[inspection.operators["operator"].isin(WEIGHTED)]
    assert len(rows) == 5
    return {text.split()[-1] for column in ("inputs", "outputs") for text in rows[column]}


WEIGHTED = ("CONV_2D", "FULLY_CONNECTED")
EXPECTED = {
    #                 weights      activations  biases
    "float": ({"float32"}, {"float32"}, {"float32"}),
    "float16": ({"float16"}, {"float32"}, {"float16"}),
    "int8": ({"int8"}, {"int8"}, {"int32"}),
    "int16x8": ({"int8"}, {"int16"}, {"int64"}),
}


@pytest.mark.parametrize("mode", EXPECTED)
def test_types_read_from_the_file(contents, mode):
    inspection = measure.inspect(contents[mode])
    weights, activations, biases = EXPECTED[mode]
    assert set(inspection.weight_types) == weights
    assert weighted_activation_types(inspection) == activations
    assert set(inspection.bias_types) == biases


def test_dynamic_range_has_int8_weights_and_float_activations(contents):
    inspection = measure.inspect(contents["dynamic_range"])
    kernels = inspection.weights[inspection.weights["role"] == "weight"]
    assert set(kernels.loc[kernels["values"] >= 1024, "type"]) == {"int8"}
    assert set(kernels.loc[kernels["values"] < 1024, "type"]) == {"float32"}
    assert set(inspection.activation_types) == {"float32"}


def test_int8_file_has_integer_input_and_output(contents):
    interpreter = tf.lite.Interpreter(model_content=contents["int8"])
    assert interpreter.get_input_details()[0]["dtype"] == np.int8
    assert interpreter.get_output_details()[0]["dtype"] == np.int8


@pytest.mark.parametrize(
    ("mode", "tolerance"),
    [("float", 1e-5), ("float16", 5e-3), ("dynamic_range", 0.1), ("int8", 0.15), ("int16x8", 0.05)],
)
def test_file_computes_what_the_model_does(sign_model, contents, images, mode, tolerance):
    expected = sign_model.predict(images, verbose=0)
    got = measure.TFLiteModel(contents[mode]).predict(images)
    assert np.abs(got - expected).max() < tolerance


def test_more_bits_of_activations_are_more_exact(sign_model, contents, images):
    expected = sign_model.predict(images, verbose=0)
    error = {
        mode: np.abs(measure.TFLiteModel(contents[mode]).predict(images) - expected).mean()
        for mode in contents
    }
    assert error["float"] < error["float16"] < error["int16x8"] < error["int8"]


def test_sizes(contents):
    size = {mode: len(content) for mode, content in contents.items()}
    assert 3.2 < size["float"] / size["int8"] < 4
    assert 1.8 < size["float"] / size["float16"] < 2
    bits = {mode: measure.inspect(content).weight_bits for mode, content in contents.items()}
    assert 3.8 < bits["float"] / bits["int8"] < 4


def test_model_is_left_as_it_was(sign_model, images):
    before = [w.copy() for w in sign_model.get_weights()]
    configuration, outputs = sign_model.to_json(), sign_model.predict(images, verbose=0)
    for mode in post_training.MODES:
        post_training.convert(sign_model, mode, images)
    assert sign_model.to_json() == configuration
    for a, b in zip(before, sign_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(sign_model.predict(images, verbose=0), outputs)


def test_errors(sign_model, images):
    with pytest.raises(ValueError, match="expected one of float, float16"):
        post_training.convert(sign_model, "int4")
    with pytest.raises(ValueError, match="give representative images"):
        post_training.convert(sign_model, "int8")
    with pytest.raises(ValueError, match=r"shape \(28, 28, 1\), expected \(N, 28, 28, 1\)"):
        post_training.convert(sign_model, "int8", images[0])
    with pytest.raises(ValueError, match="float64, expected float32"):
        post_training.convert(sign_model, "int16x8", images.astype(np.float64))
    with pytest.raises(ValueError, match="NaN"):
        post_training.convert(sign_model, "int8", np.full((2, 28, 28, 1), np.nan, np.float32))
