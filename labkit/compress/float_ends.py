"""An integer TFLite file with floats at its ends: for runtimes that take nothing else."""

from __future__ import annotations

from labkit import flatbuffer
from labkit.flatbuffer import schema

_Type, _Operator = schema.TensorType, schema.BuiltinOperator


def with_float_ends(content: bytes) -> bytes:
    """The same model with a QUANTIZE before each integer input and a DEQUANTIZE behind each output.

    In between nothing changes. LiteRT.js, for example, refuses int8 inputs and outputs.

    Args:
        content: of a `.tflite` file with one subgraph.

    Returns:
        the content of one whose inputs and outputs are float32; as it is, if they were.

    Raises:
        ModelFileError: not a TFLite file, or an end that is neither float32 nor quantised.
    """
    model = flatbuffer.unpack(content)
    (graph,) = model.subgraphs
    before = [_end(model, graph, i, _Operator.QUANTIZE) for i in graph.inputs]
    behind = [_end(model, graph, i, _Operator.DEQUANTIZE) for i in graph.outputs]
    if not any(before + behind):
        return content
    operators = [o for o in before if o] + list(graph.operators) + [o for o in behind if o]
    inputs = {o.outputs[0]: o.inputs[0] for o in before if o}
    outputs = {o.inputs[0]: o.outputs[0] for o in behind if o}
    graph.operators = operators
    graph.inputs = [inputs.get(i, i) for i in graph.inputs]
    graph.outputs = [outputs.get(i, i) for i in graph.outputs]
    for signature in model.signatureDefs or []:
        for entries, ends in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for entry in entries:
                entry.tensorIndex = ends.get(entry.tensorIndex, entry.tensorIndex)
    return flatbuffer.pack(model, share=True)


def _end(
    model: schema.ModelT, graph: schema.SubGraphT, index: int, operator: int
) -> schema.OperatorT | None:
    """The operator between an integer end and a new one in float; None for an end in float."""
    inside = graph.tensors[index]
    if inside.type == _Type.FLOAT32:
        return None
    if inside.quantization is None or inside.quantization.scale is None:
        raise flatbuffer.ModelFileError(
            "an input or output is neither float32 nor quantised: there is no scale for its values."
        )
    outside = schema.TensorT()
    outside.type, outside.shape = _Type.FLOAT32, inside.shape
    outside.shapeSignature, outside.hasRank = inside.shapeSignature, inside.hasRank
    graph.tensors.append(outside)
    ends = [len(graph.tensors) - 1, index]
    made = schema.OperatorT()
    made.opcodeIndex = _code(model, operator)
    made.inputs, made.outputs = (
        ([ends[0]], [ends[1]]) if operator == _Operator.QUANTIZE else ([ends[1]], [ends[0]])
    )
    return made


def _code(model: schema.ModelT, operator: int) -> int:
    """Where the model's list of operators has this one; it is added if it was not there."""
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == operator:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = operator
    code.deprecatedBuiltinCode = min(operator, 127)
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
