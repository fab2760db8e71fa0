"""Kernels in a TFLite file: as the floats of a converter, and codes of few bits in their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.transformations import dequant_insert, quantize_tensor
from ai_edge_quantizer.transformations.transformation_utils import TransformationInput

from labkit.flatbuffer import schema

#: The dimension of the output channels, of the operators whose second input is a kernel.
_CHANNEL_AXES = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
}


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel in a float file: a tensor of a graph, float64 (out, n), out along its `axis`."""

    graph: schema.SubGraphT
    tensor: int
    axis: int
    values: np.ndarray


def read(content: bytes) -> schema.ModelT:
    """The model of a file, as ai-edge-quantizer reads it: without a converter's empty buffers."""
    return flatbuffer_utils.read_model_from_bytearray(content)


def kernels(file: schema.ModelT) -> list[Kernel]:
    """The constant float32 kernels of convolutions and dense layers, by the tensors' order."""
    found = {}
    for number, graph in enumerate(file.subgraphs):
        for operator in graph.operators:
            axis = _CHANNEL_AXES.get(_code(file, operator))
            tensor = None if axis is None else graph.tensors[operator.inputs[1]]
            if tensor is None or file.buffers[tensor.buffer].data is None:
                continue
            data = np.frombuffer(file.buffers[tensor.buffer].data, np.float32)
            values = np.moveaxis(data.reshape(tensor.shape), axis, 0).astype(np.float64)
            key = number, operator.inputs[1]
            found[key] = Kernel(graph, key[1], axis, values.reshape(len(values), -1))
    return [found[key] for key in sorted(found)]


def _code(file: schema.ModelT, operator: schema.OperatorT) -> int:
    code = file.operatorCodes[operator.opcodeIndex]
    return flatbuffer_utils.get_builtin_code_from_operator_code(code)


def replace(
    file: schema.ModelT,
    kernel: Kernel,
    codes: np.ndarray,
    steps: np.ndarray,
    bits: int,
    unpacked: bool = True,
) -> None:
    """Put codes and their steps in the place of a kernel.

    By ai-edge-quantizer's transformations, not by its recipes, which have no 4 bits for depthwise
    convolutions, and take a channel's largest weight for the largest code, which it need not be.

    Args:
        file: from `read`; it is changed.
        kernel: one of its.
        codes: integer (out, n).
        steps: float32 (out,), of each channel; (1,) where all have the same.
        bits: of a code in the file: 2, 4 or 8.
        unpacked: a DEQUANTIZE in front of the layer, which computes in float32; else the layer
            takes the codes. Depthwise convolutions are always unpacked.
    """
    operators, shape = kernel.graph.operators, list(kernel.graph.tensors[kernel.tensor].shape)
    readers = [i for i, operator in enumerate(operators) if kernel.tensor in operator.inputs]
    depthwise = kernel.axis == _CHANNEL_AXES[schema.BuiltinOperator.DEPTHWISE_CONV_2D]
    transform = (
        dequant_insert.insert_dequant if unpacked or depthwise else quantize_tensor.quantize_tensor
    )
    shape.insert(0, shape.pop(kernel.axis))
    parameters = qtyping.UniformQuantParams(
        num_bits=bits,
        quantized_dimension=kernel.axis if len(steps) > 1 or len(codes) == 1 else None,
        scale=steps,
        zero_point=np.zeros(len(steps), np.int64),
        quantized_data=np.moveaxis(codes.astype(np.int8).reshape(shape), 0, kernel.axis),
    )
    transform(TransformationInput(kernel.tensor, file, kernel.graph, -1, readers, parameters))
