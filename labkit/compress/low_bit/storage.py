"""Real files with int4 and int2 weights: the codes of a network, one for one."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.quantizer import Quantizer

from labkit import flatbuffer, runtime
from labkit.compress import post_training
from labkit.compress.low_bit.network import codes, quantized_layers, to_float
from labkit.flatbuffer import schema

_TFLITE_TYPES = {2: schema.TensorType.INT2, 4: schema.TensorType.INT4}
MODES = ("weight_only", "dynamic_range")


def convert(model: tf.keras.Model, bits: int = 4, mode: str = "weight_only") -> bytes:
    """A TFLite file whose weights are int4 or int2: the codes of a QKeras model, one for one.

    The converter folds batch normalisation into the kernels, a factor for each output channel: it
    changes the step of a channel and not its codes (their sign, where γ is negative). Biases stay
    float32 in the file.

    Args:
        model: from `quantize`, its kernels quantised to codes that fit: `codes` gives them.
        bits: 4 or 2, of a weight in the file.
        mode: "weight_only" (a DEQUANTIZE before each layer, computed in float32) or, for 4 bits,
            "dynamic_range" (activations quantised to 8 bits at run time, computed in integers).

    Raises:
        ValueError: unknown bits or mode, codes that do not fit, or activations that are quantised.
            int2 convolutions in "dynamic_range" are refused: LiteRT 2.3 answers NaN.
    """
    if bits not in _TFLITE_TYPES or mode not in MODES:
        raise ValueError(
            f"bits is {bits!r} and mode {mode!r}, expected 4 or 2, and one of {', '.join(MODES)}."
        )
    if (bits, mode) == (2, "dynamic_range"):
        raise ValueError("LiteRT 2.3 computes NaN with int2 convolutions: take mode 'weight_only'.")
    stored = [codes(layer).values for layer in quantized_layers(model)]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if min(v.min() for v in stored) < low or max(v.max() for v in stored) > high:
        raise ValueError(
            f"codes from {min(v.min() for v in stored)} to {max(v.max() for v in stored)} do not "
            f"fit into {bits} bits, which hold {low} to {high}: choose a coarser quantiser."
        )
    content = post_training.convert(to_float(model), "float")
    with runtime.captured_stderr(), contextlib.redirect_stdout(io.StringIO()):
        converter = Quantizer(content)
        add = converter.add_weight_only_config
        if mode == "dynamic_range":
            add = converter.add_dynamic_config
        # As int4 in any case: there is no recipe for int2 weights behind a DEQUANTIZE, which runs.
        add(regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=4)
        quantized = converter.quantize().quantized_model
    return _with_codes(bytes(quantized), content, stored, bits)


def _with_codes(content: bytes, float_content: bytes, stored: list[np.ndarray], bits: int) -> bytes:
    """Put codes into a file that the quantiser of LiteRT has laid out, and the steps that fit.

    That quantiser takes the largest weight of a channel for the largest code, which it need not be:
    a channel that uses the codes -5 … 5 would get other ones.
    """
    model = flatbuffer.unpack(content)
    tensors = _constants(model, schema.TensorType.INT4)
    kernels = _kernels(flatbuffer.unpack(float_content))
    if not len(tensors) == len(kernels) == len(stored):
        raise ValueError(
            f"{len(stored)} kernels, but {len(kernels)} in the float file and {len(tensors)} of "
            "4 bits in the quantised one: the model has layers that this cannot write."
        )
    for tensor, kernel, values in zip(tensors, kernels, stored, strict=True):
        values = np.moveaxis(values, -1, 0).reshape(len(kernel), -1)
        values, steps = _signed(values, kernel, bits)
        tensor.type = _TFLITE_TYPES[bits]
        tensor.quantization.scale = steps
        tensor.quantization.zeroPoint = np.zeros(len(steps), np.int64)
        model.buffers[tensor.buffer].data = _packed(values, bits)
    return flatbuffer.pack(model)


def _signed(values: np.ndarray, kernel: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (out, n) and positive steps (out,) that give the folded kernel (out, n)."""
    power = (values**2).sum(axis=1)
    steps = (kernel * values).sum(axis=1) / np.maximum(power, 1)
    error = np.abs(kernel - steps[:, None] * values).max()
    if error > 1e-5 * max(np.abs(kernel).max(), 1e-30):
        raise ValueError("the kernels in the file are not the codes times a step for each channel.")
    values = values * np.where(steps < 0, -1, 1)[:, None]
    if values.max() >= 2 ** (bits - 1):
        raise ValueError(
            f"a channel with a negative γ turns the code {-(2 ** (bits - 1))} round, which has no "
            "opposite: take a symmetric quantiser, for example quantized_bits(4,0,1)."
        )
    return values, np.where(power > 0, np.abs(steps), 1).astype(np.float32)


def _constants(model: schema.ModelT, kind: int) -> list[schema.TensorT]:
    """The tensors of a type that operators read, in the order of execution."""
    graph = model.subgraphs[0]
    indices = [i for operator in graph.operators for i in operator.inputs if i >= 0]
    found = [graph.tensors[i] for i in dict.fromkeys(indices)]
    return [t for t in found if t.type == kind and model.buffers[t.buffer].data is not None]


def _kernels(model: schema.ModelT) -> list[np.ndarray]:
    """The weights of a float file's convolutions and dense layers, each float64 (out, n)."""
    graph = model.subgraphs[0]
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in kinds:
            tensor = graph.tensors[operator.inputs[1]]
            data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32)
            found.append(data.reshape(tensor.shape[0], -1).astype(np.float64))
    return found


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Codes as bytes, the first code in the lowest bits; the last byte is filled with zeros."""
    each = 8 // bits
    flat = values.ravel() & (2**bits - 1)
    flat = np.pad(flat, (0, -flat.size % each)).reshape(-1, each)
    return (flat << (bits * np.arange(each))).sum(axis=1).astype(np.uint8)
