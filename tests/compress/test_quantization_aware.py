import numpy as np
import pytest

from labkit import measure, training
from labkit.compress import quantization_aware


@pytest.fixture(scope="module")
def aware(sign_model, tiny_data, recipe):
    model = quantization_aware.quantize(sign_model)
    training.fit(model, tiny_data, recipe.but(epochs=2, learning_rate=4e-4))
    return model


def test_quantize_leaves_the_model_as_it_was(sign_model, tiny_data, recipe):
    before = [w.copy() for w in sign_model.get_weights()]
    configuration = sign_model.to_json()
    outputs = sign_model.predict(tiny_data.x_test, verbose=0)
    copy = quantization_aware.quantize(sign_model)
    training.fit(copy, tiny_data, recipe)
    assert sign_model.to_json() == configuration
    for a, b in zip(before, sign_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(sign_model.predict(tiny_data.x_test, verbose=0), outputs)
    # It can still be wrapped by another technique, which a model changed by tfmot cannot.
    quantization_aware.quantize(sign_model)


def test_copy_starts_from_the_trained_weights(sign_model):
    copy = quantization_aware.quantize(sign_model)
    kernels = {v.name.split("/")[-1]: v for v in copy.trainable_variables}
    assert kernels
    ours = [v.numpy() for v in sign_model.trainable_variables if "kernel" in v.name]
    theirs = [v.numpy() for v in copy.trainable_variables if "kernel" in v.name]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_file_is_int8_throughout(aware):
    content = quantization_aware.convert(aware)
    inspection = measure.inspect(content)
    assert set(inspection.weight_types) == {"int8"}
    assert set(inspection.activation_types) == {"int8"}
    assert set(inspection.bias_types) == {"int32"}
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(inspection.operators["operator"])
    for column in ("inputs", "outputs"):
        assert {text.split()[-1] for text in inspection.operators[column]} == {"int8"}


def test_file_computes_what_the_trained_copy_does(aware, tiny_data):
    expected = aware.predict(tiny_data.x_test, verbose=0)
    got = measure.TFLiteModel(quantization_aware.convert(aware)).predict(tiny_data.x_test)
    assert np.abs(got - expected).max() < 0.1


def test_the_range_of_inputs_stays_as_it_was_chosen(sign_model, tiny_data, recipe):
    chosen = quantization_aware.quantize(sign_model)
    quantization_aware.calibrate(chosen, tiny_data.x_train, inputs=(-0.25, 0.5))
    measured = quantization_aware.quantize(sign_model)
    quantization_aware.calibrate(measured, tiny_data.x_train)
    steps = {}
    for name, model in (("chosen", chosen), ("measured", measured)):
        training.fit(model, tiny_data, recipe)
        graph = measure.read_graph(quantization_aware.convert(model))
        steps[name] = graph.tensors[graph.inputs[0]].scales[0]
    assert steps["chosen"] == pytest.approx(0.75 / 255, rel=1e-3)
    assert steps["measured"] > 0.9 / 255
    low, high = tiny_data.x_test.copy(), np.minimum(tiny_data.x_test, 0.5)
    np.testing.assert_array_equal(
        chosen.predict(low, verbose=0), chosen.predict(high, verbose=0)
    )  # what lies beyond is clipped
