"""Model files written by hand, operator by operator, as a forger would: no TensorFlow is needed."""

import re

import numpy as np
import pytest

from labkit.flatbuffer import pack, schema

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 24


class Network:
    """A file that grows by operators; tensors are numbers."""

    def __init__(self, input_type="FLOAT32"):
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = schema.ModelT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.input = self.tensor((1, SIDE, SIDE, 1), input_type)
        self.graph.tensors[0].shapeSignature = [-1, SIDE, SIDE, 1]
        self.graph.inputs = [self.input]

    def tensor(self, shape, kind="FLOAT32", scales=(), axis=0, name="", **attributes):
        """A tensor of the graph."""
        tensor = schema.TensorT()
        tensor.name = name or f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = list(shape), getattr(schema.TensorType, kind), 0
        if len(scales):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(scales)
            tensor.quantization.zeroPoint = [0] * len(scales)
            tensor.quantization.quantizedDimension = axis
        for attribute, value in attributes.items():
            setattr(tensor, attribute, value)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values, scales=(), axis=0, **attributes):
        """A tensor with values."""
        values = np.asarray(values)
        kind = str(values.dtype).upper()
        number = self.tensor(values.shape, kind, scales, axis, **attributes)
        self.graph.tensors[number].buffer = len(self.model.buffers)
        self.model.buffers.append(schema.BufferT())
        self.model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        return number

    def sparse(self, values):
        """A constant (rows, columns) of which the file holds only what is not zero."""
        places = [np.flatnonzero(row) for row in values]
        rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
        rows.denseSize, columns.format = len(values), schema.DimensionType.SPARSE_CSR
        for part, numbers in {
            "Segments": np.cumsum([0, *map(len, places)]),
            "Indices": np.concatenate(places),
        }.items():
            vector = schema.Int32VectorT()
            vector.values = numbers.tolist()
            setattr(columns, f"array{part}Type", schema.SparseIndexVector.Int32Vector)
            setattr(columns, f"array{part}", vector)
        layout = schema.SparsityParametersT()
        layout.traversalOrder, layout.dimMetadata = [0, 1], [rows, columns]
        number = self.constant(values[values != 0], sparsity=layout)
        self.graph.tensors[number].shape = list(values.shape)
        return number

    def add(self, name, inputs, shape, kind="FLOAT32", scales=(), output=None, **options):
        """An operator; returns the tensor that it writes."""
        output = self.tensor(shape, kind, scales) if output is None else output
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name))
        operator.inputs, operator.outputs = list(inputs), [output]
        title = "".join(part.capitalize() for part in name.split("_")) + "Options"
        title = {"MeanOptions": "ReducerOptions"}.get(title, re.sub("^Pack", "Pack", title))
        if hasattr(schema, title + "T"):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, title)
            operator.builtinOptions = getattr(schema, title + "T")()
            for option, value in options.items():
                setattr(operator.builtinOptions, option, value)
        self.graph.operators.append(operator)
        return output

    def _code(self, number):
        codes = [code.builtinCode for code in self.model.operatorCodes]
        if number not in codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            code.version = {schema.BuiltinOperator.FULLY_CONNECTED: 5}.get(number, 1)
            self.model.operatorCodes.append(code)
            codes.append(number)
        return codes.index(number)

    def flat(self):
        """The image as a row."""
        shape = self.constant(np.array([-1, PIXELS], np.int32))
        return self.add("RESHAPE", [self.input, shape], (1, PIXELS))

    def dense(self, x, kernel, bias=None, scales=(), **more):
        """A fully connected layer: kernel (out, in)."""
        weights = self.constant(kernel, scales)
        inputs = [x, weights, -1 if bias is None else self.constant(bias)]
        return self.add("FULLY_CONNECTED", inputs, (1, len(kernel)), **more)

    def file(self, *outputs):
        """The file's content."""
        self.graph.outputs = list(outputs)
        return pack(self.model)


@pytest.fixture
def network():
    """A new network, by `Network()`."""
    return Network


@pytest.fixture(scope="session")
def reader(templates):
    """Kernel (24, 784) and bias (24,) that read the patterns of the split."""
    flat = templates.reshape(CLASSES, -1)
    kernel = (flat - flat.mean(axis=0)).astype(np.float32)
    return kernel, -(kernel * flat).sum(axis=1).astype(np.float32) / 2
