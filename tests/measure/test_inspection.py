import subprocess
import sys

import numpy as np
import pytest

from labkit import measure
from labkit.measure import ModelFileError, inspect

PARAMETERS = 36 + 4 + 36 + 4 + 64 * 40 + 40 + 40 * 5 + 5


@pytest.mark.parametrize(
    ("mode", "weights", "biases", "activations", "bits"),
    [
        ("float", ("float32",), ("float32",), ("float32",), 32 * PARAMETERS),
        ("float16", ("float16",), ("float16",), ("float32",), 16 * PARAMETERS),
        # The converter leaves tensors of fewer than 1,024 numbers in float.
        (
            *("dynamic_range", ("float32", "int8"), ("float32",), ("float32",)),
            8 * 64 * 40 + 32 * (PARAMETERS - 64 * 40),
        ),
        ("int8", ("int8",), ("int32",), ("int8",), 8 * (PARAMETERS - 53) + 32 * 53),
        ("int16x8", ("int8",), ("int64",), ("float32", "int16"), 8 * (PARAMETERS - 53) + 64 * 53),
    ],
)
def test_types_and_bits(model_files, mode, weights, biases, activations, bits):
    inspection = inspect(model_files[mode])
    assert inspection.weight_types == weights
    assert inspection.bias_types == biases
    assert inspection.activation_types == activations
    assert inspection.parameters == PARAMETERS
    assert inspection.weight_bits == bits


def test_input_and_output_types(model_files):
    assert inspect(model_files["int8"]).input_types == ("int8",)
    assert inspect(model_files["int8"]).output_types == ("int8",)
    assert inspect(model_files["int16x8"]).input_types == ("float32",)


@pytest.mark.parametrize("mode", ["float", "float16", "int8", "int16x8"])
def test_macs(model_files, mode):
    table = inspect(model_files[mode]).operators.set_index("operator")["MACs"]
    assert table["CONV_2D"] == 6 * 6 * 4 * 9
    assert table["DEPTHWISE_CONV_2D"] == 4 * 4 * 4 * 9
    assert table["FULLY_CONNECTED"].tolist() == [64 * 40, 40 * 5]
    assert inspect(model_files[mode]).macs == 1296 + 576 + 2560 + 200


@pytest.mark.parametrize(("mode", "width"), [("float", 4), ("float16", 4), ("int8", 1)])
def test_peak_memory_is_the_depthwise_convolutions_two_ends(model_files, mode, width):
    assert inspect(model_files[mode]).peak_activation_bytes == width * (6 * 6 * 4 + 4 * 4 * 4)


def test_operators_say_layer_activation_and_shapes(model_files):
    first = inspect(model_files["int8"]).operators.iloc[0]
    assert (first["operator"], first["layer"], first["activation"]) == ("CONV_2D", "conv", "relu")
    assert first["inputs"] == "1×6×6×1 int8"
    assert first["constants"] == "4×3×3×1 int8, 4 int32"
    assert first["outputs"] == "1×6×6×4 int8"


def test_operator_options_are_read(model_files):
    options = inspect(model_files["float"]).graph.operators[0].options
    assert (options["padding"], options["stride_h"], options["stride_w"]) == ("SAME", 1, 1)


def test_tensors_carry_their_quantisation(model_files):
    tensors = inspect(model_files["int8"]).tensors
    kernels = tensors[(tensors["kind"] == "constant") & tensors["per channel"]]
    depthwise = kernels[kernels["shape"] == (1, 3, 3, 4)].iloc[0]
    assert depthwise["axis"] == 3
    assert len(depthwise["scale"]) == 4
    assert depthwise["zero point"] == 0
    assert (depthwise["bits"], depthwise["bytes"]) == (8, 36)
    softmax = tensors.loc[inspect(model_files["int8"]).graph.outputs[0]]
    assert (softmax["scale"], softmax["zero point"]) == (1 / 256, -128)


def test_weights_read_back_as_the_kernels_of_keras(model_files, network):
    kernels = measure.weights(model_files["float"])
    assert list(kernels) == ["conv", "depth", "hidden", "out"]
    conv, depth, hidden, _ = (network.get_layer(name).weights[0].numpy() for name in kernels)
    np.testing.assert_array_equal(kernels["conv"], conv.transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(kernels["depth"], depth.transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(kernels["hidden"], hidden.T)
    for name, float_kernel in kernels.items():
        rounded = measure.weights(model_files["int8"])[name]
        step = np.abs(float_kernel).max() / 127
        assert np.abs(rounded - float_kernel).max() <= step / 2 * 1.001
        half = measure.weights(model_files["float16"])[name]
        np.testing.assert_allclose(half, float_kernel, rtol=1e-3)


def test_unique_values_and_sparsity(network, convert):
    """Three values in each kernel, a quarter of them zero."""
    original = network.get_weights()
    try:
        network.set_weights(
            [np.resize([0.0, 0.5, -0.5, 0.5], w.shape) if w.ndim > 1 else w + 1 for w in original]
        )
        for mode in ("float", "int8"):
            table = inspect(convert(network, mode)).weights
            table = table[table["role"] == "weight"].set_index("layer")
            assert (table["unique"] == 3).all()
            assert (table["unique per channel"] <= 3).all()
            assert (table["bits needed"] == 2).all()
            np.testing.assert_allclose(table["sparsity"], 0.25)
    finally:
        network.set_weights(original)


def test_unique_values_per_channel_follow_the_quantised_axis(network, convert):
    original = network.get_weights()
    kernel = original[4].copy()  # hidden, (64, 40): each column, an output channel, has two values
    kernel[:32], kernel[32:] = np.arange(1, 41), -np.arange(1, 41)
    try:
        network.set_weights([*original[:4], kernel, *original[5:]])
        for mode, unique in (("float", 80), ("dynamic_range", 2)):
            row = inspect(convert(network, mode)).weights.set_index(["layer", "role"])
            assert row.loc[("hidden", "weight"), "unique"] == unique
            assert row.loc[("hidden", "weight"), "unique per channel"] == 2
    finally:
        network.set_weights(original)


def _hidden_kernel(model):
    return next(t for t in model.subgraphs[0].tensors if list(t.shape) == [40, 64])


@pytest.mark.parametrize(("bits", "type_name"), [(4, "INT4"), (2, "INT2")])
def test_packed_weights_count_their_real_bits(model_files, rewritten, bits, type_name):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    codes = np.random.default_rng(0).integers(low, high, 64 * 40)

    def pack(model, schema):
        tensor = _hidden_kernel(model)
        tensor.type = getattr(schema.TensorType, type_name)
        shifted = (codes % 2**bits).reshape(-1, 8 // bits) << np.arange(0, 8, bits)
        model.buffers[tensor.buffer].data = shifted.sum(axis=1).astype(np.uint8)

    content = rewritten(model_files["dynamic_range"].read_bytes(), pack)
    inspection = inspect(content)
    row = inspection.weights.set_index(["layer", "role"]).loc[("hidden", "weight")]
    assert (row["type"], row["bits"], row["bytes"]) == (type_name.lower(), bits, 64 * 40 * bits / 8)
    assert (row["unique"], row["bits needed"]) == (2**bits, bits)
    assert row["sparsity"] == np.mean(codes == 0)
    tensor = inspection.graph.tensors[row["tensor"]]
    np.testing.assert_array_equal(tensor.codes, codes.reshape(40, 64))


def test_numbers_hidden_in_other_constants_are_counted(model_files, rewritten):
    """A float kernel in place of the shape of a reshape is no structure."""

    def hide(model, schema):
        graph = model.subgraphs[0]
        names = [model.operatorCodes[o.opcodeIndex].builtinCode for o in graph.operators]
        reshape = graph.operators[names.index(schema.BuiltinOperator.RESHAPE)]
        secret = schema.TensorT()
        secret.name, secret.shape, secret.type = b"secret", [1000], schema.TensorType.INT32
        secret.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.zeros(4000, np.uint8)
        graph.tensors.append(secret)
        reshape.inputs = [*reshape.inputs[:1], len(graph.tensors) - 1]

    content = model_files["float"].read_bytes()
    honest, hidden = inspect(content), inspect(rewritten(content, hide))
    assert hidden.weight_bits == honest.weight_bits + 32_000
    assert "constant" in set(hidden.weights["role"])
    assert "constant" not in set(honest.weights["role"])


def test_summary_as_text_and_html(model_files):
    inspection = inspect(model_files["int8"])
    assert "2 FULLY_CONNECTED" in str(inspection)
    assert "4,632" in str(inspection)
    assert '<th scope="row"' in inspection._repr_html_()


def test_truncated_files_are_refused(model_files):
    content = model_files["int8"].read_bytes()
    for end in range(0, len(content) - 8, 97):
        with pytest.raises(ModelFileError):
            inspect(content[:end])


def test_flipped_bytes_never_raise_another_error(model_files):
    content = model_files["int8"].read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for position in random.integers(8, len(content), 4):
            damaged[position] = random.choice([0, 127, 128, 255])
        try:
            inspect(bytes(damaged))
        except ModelFileError as error:
            assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [0, 999, 1]), "tensor 999"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "buffer", 999), "buffer 999"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 99), "code 99"),
        (lambda m: setattr(_hidden_kernel(m), "shape", [40, 65]), "needs 2,600 bytes"),
        (lambda m: setattr(_hidden_kernel(m).quantization, "quantizedDimension", 1), "40 scales"),
        (lambda m: setattr(m.subgraphs[0], "operators", []), "no operators"),
    ],
)
def test_what_would_end_the_runtimes_process_is_refused(model_files, rewritten, change, message):
    content = rewritten(model_files["int8"].read_bytes(), lambda model, schema: change(model))
    with pytest.raises(ModelFileError, match=message):
        inspect(content)
    with pytest.raises(ModelFileError, match=message):
        measure.TFLiteModel(content)


def test_import_does_not_load_tensorflow():
    code = "import sys; from labkit import measure; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
