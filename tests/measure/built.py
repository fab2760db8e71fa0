"""Files of the format made by hand: what no converter writes here, or not on demand."""

import numpy as np

from labkit import flatbuffer
from labkit.flatbuffer import schema


def tensor(shape, data=None, kind="FLOAT32", signature=None, **fields):
    """A tensor; with `data`, an array, a constant. `fields` are those of the schema's table."""
    made = schema.TensorT()
    made.shape, made.type = list(shape), getattr(schema.TensorType, kind)
    made.shapeSignature = None if signature is None else list(signature)
    made.data = None if data is None else np.ascontiguousarray(data)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def operator(name, inputs, outputs, **options):
    """An operator; `options` are those of its own table."""
    made = schema.OperatorT()
    made.name, made.inputs, made.outputs = name, list(inputs), list(outputs)
    if options:
        kind = {"CONV_2D": "Conv2D", "SVDF": "SVDF", "WHILE": "While"}[name]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
        made.builtinOptions = getattr(schema, f"{kind}OptionsT")()
        for key, value in options.items():
            setattr(made.builtinOptions, key, value)
    return made


def file(*graphs):
    """The bytes of a file of graphs, each (tensors, operators, inputs, outputs)."""
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [], []
    model.buffers = [schema.BufferT()]
    for tensors, operators, inputs, outputs in graphs:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = tensors, operators
        graph.inputs, graph.outputs = inputs, outputs
        for number, each in enumerate(tensors):
            each.name = each.name or f"t{number}"
            each.buffer = 0
            if each.data is not None:
                each.buffer = len(model.buffers)
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = np.frombuffer(each.data.tobytes(), np.uint8)
        for each in operators:
            each.opcodeIndex = len(model.operatorCodes)
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, each.name)
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
            model.operatorCodes.append(code)
        model.subgraphs.append(graph)
    return flatbuffer.pack(model)
