"""What a `.tflite` file holds: operators, tensor types, weights, work and memory.

Read from the flat buffer itself, without running it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from ai_edge_litert import schema_py_generated as schema

from labkit.measure.tflite import ModelFileError, read


def _names(enumeration: type) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if not k.startswith("_")}


_OPERATORS = _names(schema.BuiltinOperator)
_TYPES = {code: name.lower() for code, name in _names(schema.TensorType).items()}
_BITS = {
    "float32": 32, "float16": 16, "float64": 64, "int64": 64, "int32": 32, "uint32": 32,
    "int16": 16, "uint16": 16, "int8": 8, "uint8": 8, "int4": 4, "int2": 2, "bool": 8,
}  # fmt: skip
#: Operators with a weight tensor as second and a bias as third input.
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


@dataclass(frozen=True)
class Inspection:
    """The content of a model file.

    Attributes:
        operators: a row an operator: name, activation fused into it, input and output types,
            output shape, MACs.
        tensors: a row a tensor: name, type, shape, whether constant, bytes, number of scales, first
            scale and zero point.
        weights: a row a weight or bias: role ("weight" or "bias"), type, shape, bits of a number,
            numbers, unique values (of the tensor, and the most of one output channel), sparsity
            (fraction of exact zeros), bytes.
        weight_types, bias_types, activation_types: names of types, each once.
        macs: multiply-accumulates for one input.
        peak_activation_bytes: most activation bytes alive at once, operators run in file order and
            no tensor overwritten in place.
        weight_bits: bits of all weights and biases.
    """

    operators: pd.DataFrame
    tensors: pd.DataFrame
    weights: pd.DataFrame
    activation_types: tuple[str, ...]
    macs: int
    peak_activation_bytes: int

    @cached_property
    def weight_types(self) -> tuple[str, ...]:
        """Types of the kernels."""
        return self._types("weight")

    @cached_property
    def bias_types(self) -> tuple[str, ...]:
        """Types of the biases."""
        return self._types("bias")

    @cached_property
    def weight_bits(self) -> int:
        """Bits of all weights and biases together."""
        return int((self.weights["bits"] * self.weights["numbers"]).sum())

    def _types(self, role: str) -> tuple[str, ...]:
        return tuple(sorted(set(self.weights.loc[self.weights["role"] == role, "type"])))


@dataclass
class _Tensor:
    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    data: bytes
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int

    @property
    def numbers(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def codes(self) -> np.ndarray:
        """The stored numbers, unpacked."""
        if self.type in ("int4", "int2"):
            return _unpack(self.data, _BITS[self.type], self.numbers).reshape(self.shape)
        return np.frombuffer(self.data, self.type)[: self.numbers].reshape(self.shape)

    def values(self) -> np.ndarray:
        """The real numbers, float32."""
        codes = self.codes()
        if len(self.scales) == 0 or codes.dtype.kind == "f":
            return codes.astype(np.float32)
        shape = [1] * len(self.shape)
        if len(self.scales) > 1:
            shape[self.axis] = len(self.scales)
        offset = self.zero_points if len(self.zero_points) else np.zeros(1)
        offset = np.broadcast_to(offset, self.scales.shape).reshape(shape)
        return ((codes - offset) * self.scales.reshape(shape)).astype(np.float32)


def inspect(model: str | Path | bytes) -> Inspection:
    """Read a model file.

    Args:
        model: path of a `.tflite` file, or its content.

    Raises:
        ModelFileError: not a TFLite file, or a damaged one.
    """
    tensors, operators, inputs = _parse(model)
    kinds = _constant_kinds(tensors, operators)
    rows = [_operator_row(kind, ins, outs, tensors, fused) for kind, ins, outs, fused in operators]
    activations = sorted(
        {tensors[t].type for _, ins, outs, _ in operators for t in (*ins, *outs)
         if t >= 0 and not tensors[t].data and tensors[t].type not in ("int32", "int64", "bool")
         and _numeric(tensors[t])}
    )  # fmt: skip
    return Inspection(
        operators=pd.DataFrame(rows),
        tensors=pd.DataFrame([_tensor_row(t) for t in tensors]),
        weights=pd.DataFrame([_weight_row(tensors[i], role) for i, role in kinds.items()]),
        activation_types=tuple(_inner(activations, operators, tensors, inputs)),
        macs=int(sum(row["MACs"] for row in rows)),
        peak_activation_bytes=_peak(tensors, operators, inputs),
    )


def weights(model: str | Path | bytes) -> dict[str, np.ndarray]:
    """The kernels of a file as real numbers: name of the operator's output to float32 array.

    Convolution kernels have shape (out, height, width, in), dense ones (out, in).
    """
    tensors, operators, _ = _parse(model)
    found = {}
    for kind, ins, outs, _ in operators:
        if kind in _WEIGHTED:
            name = f"{len(found) + 1} {kind.lower()}"
            found[name] = _source(ins[1], tensors, operators).values()
    return found


def _parse(model) -> tuple[list[_Tensor], list[tuple], list[int]]:
    content = read(model)
    try:
        parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        graph = parsed.subgraphs[0]
        tensors = [_tensor(i, t, parsed.buffers) for i, t in enumerate(graph.tensors)]
        operators = [_operator(op, parsed.operatorCodes) for op in graph.operators]
        if any(t >= len(tensors) for _, ins, outs, _ in operators for t in (*ins, *outs)):
            raise ValueError("an operator names a tensor that does not exist")
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelFileError(
            f"the model file is damaged: {type(error).__name__}: {error}. Was it cut off while "
            "copying?"
        ) from error
    return tensors, operators, list(graph.inputs)


def _tensor(index: int, tensor, buffers) -> _Tensor:
    data = buffers[tensor.buffer].data
    shape = tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
    kind = _TYPES[tensor.type]
    content = b"" if data is None or len(data) == 0 else bytes(bytearray(data))
    numbers = int(np.prod(shape, dtype=np.int64))
    if content and kind in _BITS and len(content) * 8 < numbers * _BITS[kind]:
        raise ValueError(f"tensor {tensor.name!r} has {len(content)} bytes for shape {shape}")
    scheme = tensor.quantization

    def parameters(values, dtype):
        return np.asarray(values if values is not None else [], dtype)

    return _Tensor(
        index=index,
        name=(tensor.name or b"").decode("utf-8", "replace"),
        type=kind,
        shape=shape,
        data=content,
        scales=parameters(scheme.scale if scheme else None, np.float64),
        zero_points=parameters(scheme.zeroPoint if scheme else None, np.int64),
        axis=int(scheme.quantizedDimension) if scheme else 0,
    )


def _operator(operator, codes) -> tuple[str, list[int], list[int], str]:
    code = codes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    kind = _OPERATORS[number]
    if kind == "CUSTOM":
        kind = f"CUSTOM {(code.customCode or b'').decode('utf-8', 'replace')}"
    activation = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
    fused = {v: k for k, v in vars(schema.ActivationFunctionType).items() if not k.startswith("_")}
    inputs = [int(i) for i in (operator.inputs if operator.inputs is not None else [])]
    outputs = [int(i) for i in (operator.outputs if operator.outputs is not None else [])]
    return kind, inputs, outputs, fused[activation]


def _source(index: int, tensors, operators) -> _Tensor:
    """The constant behind a tensor: float16 weights pass through a DEQUANTIZE operator."""
    for kind, ins, outs, _ in operators:
        if kind == "DEQUANTIZE" and outs == [index] and tensors[ins[0]].data:
            return tensors[ins[0]]
    return tensors[index]


def _constant_kinds(tensors, operators) -> dict[int, str]:
    """Index of every constant weight and bias, with its role."""
    found = {}
    for kind, ins, _, _ in operators:
        if kind not in _WEIGHTED:
            continue
        for position, role in ((1, "weight"), (2, "bias")):
            if len(ins) > position and ins[position] >= 0:
                source = _source(ins[position], tensors, operators)
                if source.data:
                    found[source.index] = role
    return found


def _numeric(tensor: _Tensor) -> bool:
    return tensor.type in _BITS


def _inner(types, operators, tensors, inputs) -> list[str]:
    """Types of the activations that weighted operators read and write."""
    used = set()
    for kind, ins, outs, _ in operators:
        if kind in _WEIGHTED:
            used |= {tensors[ins[0]].type, tensors[outs[0]].type}
    return sorted(used) or types


def _operator_row(kind, ins, outs, tensors, fused) -> dict:
    output = tensors[outs[0]] if outs else None
    return {
        "operator": kind,
        "activation": "" if fused == "NONE" else fused,
        "input": tensors[ins[0]].type if ins and ins[0] >= 0 else "",
        "weights": tensors[ins[1]].type if kind in _WEIGHTED else "",
        "output": output.type if output else "",
        "shape": "×".join(str(n) for n in output.shape[1:]) if output else "",
        "MACs": _macs(kind, ins, outs, tensors),
    }


def _macs(kind, ins, outs, tensors) -> int:
    if kind not in _WEIGHTED:
        return 0
    kernel, output = tensors[ins[1]].shape, tensors[outs[0]].shape
    pixels = int(np.prod(output[1:-1], dtype=np.int64))
    if kind == "DEPTHWISE_CONV_2D":
        return int(np.prod(kernel, dtype=np.int64)) * pixels
    return int(np.prod(kernel, dtype=np.int64)) * pixels


def _tensor_row(tensor: _Tensor) -> dict:
    return {
        "name": tensor.name,
        "type": tensor.type,
        "shape": "×".join(str(n) for n in tensor.shape),
        "constant": bool(tensor.data),
        "bytes": _bytes(tensor),
        "scales": len(tensor.scales),
        "scale": float(tensor.scales[0]) if len(tensor.scales) else np.nan,
        "zero point": int(tensor.zero_points[0]) if len(tensor.zero_points) else 0,
    }


def _weight_row(tensor: _Tensor, role: str) -> dict:
    values = tensor.values()
    channels = values.reshape(values.shape[0], -1) if role == "weight" else values.reshape(1, -1)
    if role == "weight" and tensor.axis not in (0,):
        channels = np.moveaxis(values, tensor.axis, 0).reshape(values.shape[tensor.axis], -1)
    return {
        "tensor": tensor.name.split(";")[0],
        "role": role,
        "type": tensor.type,
        "shape": "×".join(str(n) for n in tensor.shape),
        "bits": _BITS[tensor.type],
        "numbers": tensor.numbers,
        "scales": len(tensor.scales),
        "unique values": len(np.unique(values)),
        "unique in a channel": max(len(np.unique(channel)) for channel in channels),
        "sparsity": float(np.mean(values == 0)),
        "bytes": _bytes(tensor),
    }


def _bytes(tensor: _Tensor) -> int:
    return -(-tensor.numbers * _BITS.get(tensor.type, 0) // 8)


def _peak(tensors, operators, inputs) -> int:
    """Largest sum of activation bytes alive while one operator runs."""
    last_use = {t: step for step, (_, ins, _, _) in enumerate(operators) for t in ins if t >= 0}
    alive = {t for t in inputs if not tensors[t].data}
    peak = 0
    for step, (kind, ins, outs, _) in enumerate(operators):
        constant = kind == "DEQUANTIZE" and tensors[ins[0]].data  # float16 weights, not activations
        alive |= set() if constant else set(outs)
        peak = max(peak, sum(_bytes(tensors[t]) for t in alive))
        alive = {t for t in alive if last_use.get(t, len(operators)) > step}
    return peak


def _unpack(data: bytes, bits: int, numbers: int) -> np.ndarray:
    """Signed integers of 4 or 2 bits, the first one in the lowest bits of a byte."""
    raw = np.frombuffer(data, np.uint8)
    parts = [(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    codes = np.stack(parts, axis=1).ravel()[:numbers].astype(np.int8)
    return np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes).astype(np.int8)
