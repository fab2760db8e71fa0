import sys

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

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


@pytest.mark.parametrize(
    ("mode", "inside"), [("int8", "int8"), ("int16x8", "float32"), ("dynamic_range", "float32")]
)
def test_type_of_input_and_output(contents, mode, inside):
    file = measure.TFLiteModel(contents[mode])
    assert (file.input_type, file.output_type) == (inside, inside)


@pytest.mark.parametrize("mode", post_training.MODES)
def test_same_model_gives_the_same_bytes(sign_model, contents, images, mode):
    assert post_training.convert(sign_model, mode, images) == contents[mode]


def test_the_fast_converter_writes_the_file_of_the_slow_one(sign_model, contents):
    slow = tf.lite.TFLiteConverter.from_keras_model(sign_model).convert()
    fast = contents["float"]
    assert len(fast) == len(slow)
    assert sum(a != b for a, b in zip(fast, slow, strict=True)) == 1


def test_a_fixed_batch_is_a_smaller_file_of_the_same(sign_model, contents, images):
    fixed = post_training.convert(sign_model, "int8", images, batch=1)
    assert len(fixed) < len(contents["int8"])
    graph = measure.read_graph(fixed)
    assert graph.tensors[graph.inputs[0]].signature == (1, 28, 28, 1)
    assert "SHAPE" not in {operator.name for operator in graph.operators}
    np.testing.assert_array_equal(
        measure.TFLiteModel(fixed).predict(images[:5]),
        measure.TFLiteModel(contents["int8"]).predict(images[:5]),
    )


@pytest.mark.parametrize("mode", post_training.MODES)
def test_file_takes_batches_of_any_size(contents, images, mode):
    """Results do not depend on the batch, and a batch is what the runtime is really given."""
    interpreter = Interpreter(model_content=contents[mode])
    assert interpreter.get_input_details()[0]["shape_signature"][0] == -1
    file = measure.TFLiteModel(contents[mode])
    together = file.predict(images[:5])
    alone = np.concatenate([file.predict(image[None]) for image in images[:5]])
    np.testing.assert_allclose(together, alone, atol=1e-6)


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


@pytest.mark.parametrize(
    ("mode", "spoil", "message"),
    [
        ("int4", lambda x: x, "expected one of float, float16"),
        ("int8", lambda x: None, "give representative images"),
        ("int8", lambda x: x[0], r"shape \(28, 28, 1\), expected \(N, 28, 28, 1\)"),
        ("int8", lambda x: x[:, :, :27], r"shape \(48, 28, 27, 1\)"),
        ("int8", lambda x: x[:0], "N > 0"),
        ("int16x8", lambda x: x.astype(np.float64), "float64, expected float32"),
        ("int8", lambda x: x * np.float32(np.nan), "NaN"),
    ],
)
def test_unusable_arguments(sign_model, images, mode, spoil, message):
    with pytest.raises(ValueError, match=message):
        post_training.convert(sign_model, mode, spoil(images))


def test_unusable_models():
    with pytest.raises(TypeError, match=r"builtins\.str, expected a Keras 2 model"):
        post_training.convert("model.h5", "float")
    with pytest.raises(ValueError, match="has no inputs yet"):
        post_training.convert(tf.keras.Sequential([tf.keras.layers.Dense(2)]), "float")


@pytest.fixture(scope="module")
def two_inputs():
    """Two inputs and two outputs, not in the order of their names."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    wide, few = layers.Input((6,), name="wide"), layers.Input((3,), name="few")
    both = layers.Concatenate()([layers.Dense(4, "relu")(wide), layers.Dense(4, "relu")(few)])
    outputs = [layers.Dense(3, "softmax", name="kind")(both), layers.Dense(1, name="size")(both)]
    return tf.keras.Model([wide, few], outputs)


def many(count=40):
    rng = np.random.default_rng(0)
    return {
        "wide": rng.normal(size=(count, 6)).astype(np.float32),
        "few": rng.normal(size=(count, 3)).astype(np.float32),
    }


@pytest.mark.parametrize("mode", post_training.MODES)
def test_several_inputs_and_outputs(two_inputs, mode):
    from ai_edge_litert.interpreter import Interpreter

    x = many()
    expected = two_inputs.predict([x["wide"], x["few"]], verbose=0)
    runner = Interpreter(model_content=post_training.convert(two_inputs, mode, x))
    runner.allocate_tensors()
    run = runner.get_signature_runner()
    inputs, outputs = run.get_input_details(), run.get_output_details()
    codes = {}
    for name, values in x.items():
        scale, zero = inputs[name]["quantization"]
        codes[name] = values[:1]
        if inputs[name]["dtype"] == np.int8:
            codes[name] = np.clip(np.round(values[:1] / scale) + zero, -128, 127).astype(np.int8)
    found = run(**codes)
    for name, wanted in zip(["kind", "size"], expected, strict=True):
        values = found[name].astype(np.float32)
        if outputs[name]["dtype"] == np.int8:
            scale, zero = outputs[name]["quantization"]
            values = (values - zero) * scale
        np.testing.assert_allclose(values, wanted[:1], atol=0.05)


def test_representative_samples_in_any_form_give_the_same_file(two_inputs):
    x = many()
    pairs = tf.data.Dataset.from_tensor_slices(((x["wide"], x["few"]), np.zeros(40))).batch(8)
    forms = [x, (x["wide"], x["few"]), pairs]
    contents = {post_training.convert(two_inputs, "int8", form) for form in forms}
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ({"wide": many()["wide"]}, "'few' is in one of them only"),
        ([many()["wide"]], "1 arrays, expected one for each of wide, few"),
        ({**many(), "few": many(39)["few"]}, r"\[40, 39\] samples"),
        ({**many(), "few": many()["wide"]}, "for the input 'few'"),
    ],
)
def test_representative_samples_that_do_not_fit(two_inputs, spoiled, message):
    with pytest.raises(ValueError, match=message):
        post_training.convert(two_inputs, "int8", spoiled)


def test_what_the_converter_prints_is_shown_only_if_it_fails(sign_model, capfd):
    post_training.convert(sign_model, "float")
    assert capfd.readouterr() == ("", "")
    inputs = tf.keras.Input((4,))
    outputs = tf.keras.layers.Lambda(tf.math.bessel_i0)(inputs)
    with pytest.raises(Exception, match="BesselI0") as caught:
        post_training.convert(tf.keras.Model(inputs, outputs), "float")
    if sys.version_info >= (3, 11):
        assert "failed while converting" in "".join(caught.value.__notes__)


def test_a_reshaping_layer_has_a_constant_shape_in_the_file():
    """Keras asks the input for the number of samples: three operators and 1.1 kB more."""
    layers = tf.keras.layers
    inputs = layers.Input((6, 4))
    x = layers.ReLU()(layers.Reshape((6, 2, -1))(inputs))
    model = tf.keras.Model(inputs, layers.Reshape((4, 6))(x))
    content = post_training.convert(model, "float")
    assert set(measure.inspect(content).operators["operator"]) == {"RELU", "RESHAPE"}
    images = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(measure.TFLiteModel(content).predict(images), model(images), 1e-5)
    assert "call" not in vars(model.layers[-1])


def test_what_stays_in_floating_point_is_told():
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(2, 3, activation="elu", name="odd"), layers.ReLU()]
    )
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 1)).astype(np.float32)
    with pytest.warns(post_training.ConversionWarning, match=r"int8 file.*ELU \(odd/"):
        content = post_training.convert(model, "int8", images)
    assert "float32" in measure.inspect(content).activation_types
    assert post_training.in_float(post_training.convert(model, "float"))


def test_files_in_integers_throughout_say_nothing(sign_model, tiny_data, recwarn):
    for mode in ("int8", "int16x8"):
        post_training.convert(sign_model, mode, tiny_data.representative(8, seed=0))
    assert not [w for w in recwarn if issubclass(w.category, post_training.ConversionWarning)]


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_a_loop_over_time_is_refused_in_integers_by_name(mode):
    """The converter would end the process."""
    layers = tf.keras.layers
    x = np.zeros((2, 4, 3), np.float32)
    model = tf.keras.Sequential([layers.Input((4, 3)), layers.GRU(2, name="memory")])
    with pytest.raises(ValueError, match=r"which 'memory' has.*unroll=True"):
        post_training.convert(model, mode, x)
