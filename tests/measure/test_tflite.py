import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from built import file, operator, tensor

from labkit import measure
from labkit.measure import ModelFileError, TFLiteModel, tflite
from labkit.measure.tflite import dequantize, quantize


@pytest.mark.parametrize("mode", ["float", "float16", "dynamic_range", "int16x8"])
def test_predict_equals_one_by_one_runs_of_the_interpreter(model_files, images, mode):
    got = TFLiteModel(model_files[mode]).predict(images)
    interpreter = Interpreter(str(model_files[mode]))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    for image, row in zip(images[:8], got, strict=False):
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(target["index"])[0], row, atol=1e-5)
    assert got.shape == (64, 5)
    assert got.dtype == np.float32


def test_int8_input_and_output_are_quantised_and_dequantised(model_files, images):
    model = TFLiteModel(model_files["int8"])
    assert (model.input_type, model.output_type) == ("int8", "int8")
    interpreter = Interpreter(str(model_files["int8"]))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    codes = np.clip(np.round(images[:1] / scale) + zero_point, -128, 127).astype(np.int8)
    interpreter.set_tensor(source["index"], codes)
    interpreter.invoke()
    scale, zero_point = target["quantization"]
    expected = (interpreter.get_tensor(target["index"]).astype(float) - zero_point) * scale
    np.testing.assert_allclose(model.predict(images[:1]), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["float", "int8", "int16x8"])
def test_predict_is_close_to_keras(model_files, network, images, mode):
    difference = TFLiteModel(model_files[mode]).predict(images) - network.predict(images, verbose=0)
    assert np.abs(difference).max() < {"float": 1e-5, "int8": 0.1, "int16x8": 0.05}[mode]


def test_steps_do_not_change_the_result(model_files, images, monkeypatch):
    whole = TFLiteModel(model_files["float"]).predict(images)
    monkeypatch.setattr(tflite, "BATCH", 10)  # 64 images: six steps and a rest of four
    np.testing.assert_allclose(TFLiteModel(model_files["float"]).predict(images), whole, atol=1e-6)


def test_a_file_with_a_fixed_batch_runs_one_by_one(network, convert, images):
    content = convert(network, "float", static=True)
    expected = network.predict(images, verbose=0)
    np.testing.assert_allclose(TFLiteModel(content).predict(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "x", "codes"),
    [
        (np.int8, [0.0, 0.5, -0.5, 1.5, 0.74, 1000, -1000], [3, 4, 2, 6, 4, 127, -128]),
        (np.uint8, [0.0, 0.5, -0.5, 1.5, 0.74, 1000, -1000], [3, 4, 2, 6, 4, 255, 0]),
        (np.int16, [0.0, 0.5, -0.5, 1.5, 0.74, 1e6, -1e6], [3, 4, 2, 6, 4, 32767, -32768]),
    ],
)
def test_codes_are_rounded_and_clipped(dtype, x, codes):
    details = {"dtype": dtype, "quantization": (0.5, 3)}
    # 0.5 / 0.5 = 1 exactly; 0.74 / 0.5 = 1.48 goes down.
    got = quantize(np.array(x, np.float32), details)
    assert got.dtype == dtype
    assert got.tolist() == codes
    np.testing.assert_allclose(dequantize(got[:4], details), [0, 0.5, -0.5, 1.5])


def test_halves_are_rounded_away_from_zero():
    details = {"dtype": np.int8, "quantization": (1.0, 0)}
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5], np.float32)
    assert quantize(x, details).tolist() == [1, 2, 3, -1, -3]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 6, 6)), r"expects \(N, 6, 6, 1\)"),
        (np.zeros((3, 5, 6, 1)), r"\(3, 5, 6, 1\)"),
        (np.zeros((0, 6, 6, 1)), "empty"),
        (np.full((3, 6, 6, 1), [[[np.nan]]]), "NaN.*row 0"),
    ],
)
def test_bad_inputs_are_refused(model_files, x, message):
    with pytest.raises(ValueError, match=message):
        TFLiteModel(model_files["float"]).predict(x)


def test_what_is_no_model_is_refused(tmp_path):
    for content in (b"", b"hello", b"x" * 1000, b"PK\x03\x04TFL3" + b"\x00" * 50):
        (tmp_path / "m.tflite").write_bytes(content)
        with pytest.raises(ModelFileError, match=r"m\.tflite"):
            TFLiteModel(tmp_path / "m.tflite")
    with pytest.raises(ModelFileError, match=r"missing\.tflite.*No such file"):
        TFLiteModel(tmp_path / "missing.tflite")


def test_a_model_with_two_outputs_has_no_accuracy(model_files, rewritten, images):
    def second_output(model, schema):
        graph = model.subgraphs[0]
        graph.outputs = [*graph.outputs, graph.operators[0].outputs[0]]

    content = rewritten(model_files["float"].read_bytes(), second_output)
    assert len(TFLiteModel(content).predict(images)) == 2
    with pytest.raises(ValueError, match="the model has the outputs"):
        measure.accuracy(content, images, np.zeros(len(images), int))


def test_state_does_not_leak_from_one_image_to_the_next():
    import tensorflow as tf

    inputs = tf.keras.Input((4, 3), batch_size=1)
    model = tf.keras.Model(inputs, tf.keras.layers.LSTM(8)(inputs))
    call = tf.function(model).get_concrete_function(tf.TensorSpec([1, 4, 3]))
    content = tf.lite.TFLiteConverter.from_concrete_functions([call], model).convert()
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    expected = np.concatenate([model(row[None]).numpy() for row in x])
    np.testing.assert_allclose(TFLiteModel(content).predict(x), expected, atol=1e-5)


def test_loading_a_model_prints_nothing(model_files):
    code = "import sys; from labkit import measure; measure.TFLiteModel(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", code, model_files["float"]], capture_output=True, check=True
    )
    assert (run.stdout, run.stderr) == (b"", b"")


def test_codes_are_taken_as_they_are_and_other_integers_are_refused(model_files, images):
    model = TFLiteModel(model_files["int8"])
    (details,) = model._interpreter.get_input_details()
    codes = quantize(images[:4], details)
    np.testing.assert_array_equal(model.predict(codes), model.predict(images[:4]))
    pixels = np.round(255 * images[:4])
    for integers in (pixels.astype(np.uint8), pixels.astype(int), codes.astype(np.int16)):
        with pytest.raises(ValueError, match=r"takes floats as in training, or its own.*int8"):
            model.predict(integers)
    # Of a file in floats an integer is the number that it is, as for Keras.
    whole = TFLiteModel(model_files["float"])
    np.testing.assert_array_equal(
        whole.predict(pixels.astype(np.uint8)), whole.predict(pixels.astype(np.float32))
    )


def test_whole_numbers_for_an_input_that_counts():
    """Tokens: no scale, and no float32 that would lose the last digits of a large one."""
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    tensors = [tensor([1, 2], kind="INT32"), tensor([4, 3], table), tensor([1, 2, 3])]
    model = TFLiteModel(file((tensors, [operator("GATHER", [1, 0], [2])], [0], [2])))
    tokens = np.array([[3, 0], [1, 2]])
    for given in (tokens, tokens.astype(np.int32), tokens.astype(np.float32), tokens.tolist()):
        np.testing.assert_array_equal(model.predict(given), table[tokens])
    for wrong in (tokens + 0.5, tokens + 2**40, np.full((1, 2), np.nan)):
        with pytest.raises(ValueError, match="whole numbers"):
            model.predict(wrong)


def test_images_of_any_size():
    """Allocated at 1 × 1, as the file says, a convolution of 3 × 3 has no output."""
    kernel = np.ones((1, 3, 3, 1), np.float32)
    tensors = [
        tensor([1, 1, 1, 1], signature=[-1, -1, -1, 1]),
        tensor([1, 3, 3, 1], kernel),
        tensor([1], np.zeros(1, np.float32)),
        tensor([1, 1, 1, 1], signature=[-1, -1, -1, 1]),
    ]
    convolution = operator("CONV_2D", [0, 1, 2], [3], strideH=1, strideW=1, padding=1)
    model = TFLiteModel(file((tensors, [convolution], [0], [3])))
    assert model.input_shape == (-1, -1, 1)
    for size in ((3, 3), (5, 4), (3, 7)):
        outputs = model.predict(np.ones((2, *size, 1)))
        assert outputs.shape == (2, size[0] - 2, size[1] - 2, 1) and (outputs == 9).all()
