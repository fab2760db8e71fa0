"""A `.tflite` file read into plain tensors and operators, without running anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from labkit.flatbuffer import IDENTIFIER, ModelFileError, schema

#: Width of one element in the file, by type. Types without a fixed width are missing.
BITS = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "float8_e4m3fn": 8,
    "float8_e5m2": 8,
    "int64": 64,
    "uint64": 64,
    "int32": 32,
    "uint32": 32,
    "int16": 16,
    "uint16": 16,
    "int8": 8,
    "uint8": 8,
    "bool": 8,
    "int4": 4,
    "uint4": 4,
    "int2": 2,
    "complex64": 64,
    "complex128": 128,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `data` holds its bytes in the file if it is a constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # the shape with -1 where a dimension may be resized
    type: str
    data: np.ndarray | None
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int  # the dimension that `scales` runs along, where there are several
    is_variable: bool
    is_sparse: bool
    subgraph: int

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return self.data is not None

    @property
    def is_per_channel(self) -> bool:
        """Whether each index of `axis` has a scale of its own."""
        return len(self.scales) > 1

    @property
    def count(self) -> int:
        """Number of elements, of a batch of one."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return BITS.get(self.type, 0)

    @property
    def bytes(self) -> int:
        """Bytes of all elements: in the file if constant, else of a batch of one in memory."""
        return len(self.data) if self.is_constant else -(-self.count * self.bits // 8)

    @cached_property
    def codes(self) -> np.ndarray:
        """A constant's elements as stored: integer codes, or floats; of its shape.

        A sparse tensor gives its stored elements alone, in one dimension.
        """
        if not self.is_constant:
            raise ValueError(f"tensor {self.name!r} is not a constant: it has no values to read.")
        values = _decode(self.data, self.type)
        return values if self.is_sparse else values[: self.count].reshape(self.shape)

    def values(self) -> np.ndarray:
        """A constant's real values, float32: S (q - Z) where it is quantised."""
        codes = self.codes.astype(np.float32)
        if not len(self.scales):
            return codes
        zero_points = self.along_axis(self.zero_points).astype(np.float32)
        return self.along_axis(self.scales) * (codes - zero_points)

    def along_axis(self, parameters: np.ndarray) -> np.ndarray:
        """Scales or zero points in a shape that broadcasts against the tensor."""
        if len(parameters) == 1:
            return parameters[0]
        shape = [1] * len(self.shape)
        shape[self.axis] = len(parameters)
        return parameters.reshape(shape)


@dataclass(frozen=True)
class Operator:
    """An operator of the graph; an absent optional input is -1."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, object] = field(default_factory=dict)
    subgraph: int = 0


@dataclass(frozen=True)
class Graph:
    """All tensors and operators of a file, in the order of execution.

    Files with control flow hold several subgraphs: their tensors are numbered on, and their
    operators follow those of the main graph.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def live(self) -> Graph:
        """The graph without operators of the main graph whose results reach no output.

        Tensors keep their numbers. What writes nothing (a variable is assigned, say) stays.
        """
        needed, kept = set(self.outputs), []
        for operator in reversed(self.operators):
            if operator.subgraph or not operator.outputs or needed.intersection(operator.outputs):
                kept.append(operator)
                needed.update(operator.inputs)
        return replace(self, operators=tuple(reversed(kept)))

    @cached_property
    def varying(self) -> frozenset[int]:
        """Tensors that depend on an input, or on a state; no constants and what is made of them."""
        found = {*self.inputs, *(t.index for t in self.tensors if t.is_variable or t.subgraph)}
        for operator in self.operators:
            if not operator.inputs or found.intersection(operator.inputs):
                found.update(operator.outputs)
        return frozenset(found)

    @cached_property
    def used(self) -> frozenset[int]:
        """Tensors that an operator reads or writes, inputs and outputs among them."""
        ends = (i for operator in self.operators for i in (*operator.inputs, *operator.outputs))
        return frozenset({*self.inputs, *self.outputs, *ends} - {-1})

    def with_shapes(self, shapes: Mapping[int, tuple[int, ...]]) -> Graph:
        """The graph with other shapes than the file's for what is no constant.

        Args:
            shapes: by tensor number, for example those that the runtime has found.
        """
        tensors = [
            replace(t, shape=shapes[t.index]) if t.index in shapes and not t.is_constant else t
            for t in self.tensors
        ]
        return replace(self, tensors=tuple(tensors))


def read_bytes(source: str | Path | bytes) -> bytes:
    """The bytes of a model file, or `source` itself if it holds them.

    Raises:
        ModelFileError: there is no such file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{source}: cannot read the model file ({error.strerror or error})."
        ) from error


def read_graph(source: str | Path | bytes, name: str | None = None) -> Graph:
    """Read a `.tflite` file.

    Args:
        source: path of the file, or its bytes.
        name: what errors call it; by default its path.

    Returns:
        its graph.

    Raises:
        ModelFileError: not a TFLite file, truncated, or with an index or size out of bounds.
    """
    content = read_bytes(source)
    where = name or (str(source) if isinstance(source, (str, Path)) else "these bytes")
    if content[4:8] != IDENTIFIER:
        raise ModelFileError(
            f"{where}: not a TFLite model ({len(content):,} bytes, no {IDENTIFIER.decode()} at "
            "byte 4). Write the bytes that the converter returns, nothing around them."
        )
    try:
        return _Reader(content).graph()
    except ModelFileError as error:
        raise ModelFileError(f"{where}: {error}") from error
    except Exception as error:  # whatever damaged bytes provoke in the FlatBuffers library
        raise ModelFileError(
            f"{where}: a damaged or truncated TFLite model ({len(content):,} bytes): "
            f"{type(error).__name__}: {error}. Convert and write it again."
        ) from error


class _Reader:
    """Walks the FlatBuffers tables of one file and checks every index and size."""

    def __init__(self, content: bytes):
        self.schema = schema
        self.content = content
        self.model = schema.Model.GetRootAs(content, 0)
        self.types = _names(schema.TensorType)
        self.operator_names = _names(schema.BuiltinOperator)
        self.option_names = _names(schema.BuiltinOptions)

    def graph(self) -> Graph:
        model = self.model
        tensors: list[Tensor] = []
        operators: list[Operator] = []
        ends = ((), ())
        for number in range(self.length(model.SubgraphsLength(), "subgraphs")):
            subgraph = model.Subgraphs(number)
            first = len(tensors)
            for i in range(self.length(subgraph.TensorsLength(), "tensors")):
                tensors.append(self.tensor(subgraph.Tensors(i), first + i, number))
            count = len(tensors) - first
            for i in range(self.length(subgraph.OperatorsLength(), "operators")):
                operators.append(self.operator(subgraph.Operators(i), first, count, number))
            if number == 0:
                ends = tuple(
                    _indices(array, first, count, "the model's inputs and outputs")
                    for array in (subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy())
                )
        if not operators or not all(ends):
            raise ModelFileError("the file holds no operators, no input or no output.")
        return Graph(tuple(tensors), tuple(operators), *ends)

    def length(self, value: int, what: str) -> int:
        """A vector's length, unless it could not fit into the file (each entry takes 4 bytes)."""
        if not 0 <= value <= len(self.content) // 4:
            raise ModelFileError(f"damaged: it claims {value:,} {what}.")
        return value

    def tensor(self, table, index: int, subgraph: int) -> Tensor:
        name = (table.Name() or b"").decode()  # the runtime, too, refuses other than UTF-8
        if table.Type() not in self.types:
            raise ModelFileError(f"tensor {name!r} has the unknown type {table.Type()}.")
        quantization = table.Quantization()
        scales, zero_points, axis = np.empty(0, np.float32), np.zeros(1, np.int64), 0
        if quantization is not None and quantization.ScaleLength():
            scales = np.array(quantization.ScaleAsNumpy(), np.float32)
            if quantization.ZeroPointLength():
                zero_points = np.array(quantization.ZeroPointAsNumpy(), np.int64)
            axis = quantization.QuantizedDimension()
        shape = _shape(table.ShapeAsNumpy(), table.ShapeIsNone())
        signature = _shape(table.ShapeSignatureAsNumpy(), table.ShapeSignatureIsNone())
        tensor = Tensor(
            index=index,
            name=name,
            shape=tuple(max(d, 1) if d < 0 else d for d in shape),
            signature=signature or shape,
            type=self.types[table.Type()].lower(),
            data=self.buffer(table.Buffer(), name),
            scales=scales,
            zero_points=zero_points,
            axis=axis,
            is_variable=table.IsVariable(),
            is_sparse=table.Sparsity() is not None,
            subgraph=subgraph,
        )
        _check(tensor)
        return tensor

    def buffer(self, index: int, name: str) -> np.ndarray | None:
        """The bytes of a constant; None if the tensor has none."""
        if not 0 <= index < self.length(self.model.BuffersLength(), "buffers"):
            raise ModelFileError(f"tensor {name!r} names buffer {index}, which does not exist.")
        buffer = self.model.Buffers(index)
        if buffer.DataLength():
            return np.asarray(buffer.DataAsNumpy())
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1:  # 0: no data; 1: written by a converter for "filled in later"
            return None
        # Models of more than 2 GB keep their constants behind the FlatBuffer.
        if start + size > len(self.content):
            raise ModelFileError(f"truncated: the values of tensor {name!r} are missing.")
        return np.frombuffer(self.content, np.uint8, size, start)

    def operator(self, table, first: int, count: int, subgraph: int) -> Operator:
        codes = self.length(self.model.OperatorCodesLength(), "operator codes")
        if not 0 <= table.OpcodeIndex() < codes:
            raise ModelFileError(f"an operator names code {table.OpcodeIndex()} of {codes}.")
        code = self.model.OperatorCodes(table.OpcodeIndex())
        # Old files have only the first field, which ends at 127; the larger one is right.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.operator_names.get(number, f"UNKNOWN_{number}")
        if name == "CUSTOM":
            name = (code.CustomCode() or b"CUSTOM").decode("utf-8", "replace")
        return Operator(
            name=name,
            inputs=_indices(table.InputsAsNumpy(), first, count, name, optional=True),
            outputs=_indices(table.OutputsAsNumpy(), first, count, name),
            options=self.options(table),
            subgraph=subgraph,
        )

    def options(self, table) -> dict[str, object]:
        """The operator's settings by name, for example {"padding": "SAME", "stride_h": 1}."""
        name = self.option_names.get(table.BuiltinOptionsType(), "NONE")
        content = table.BuiltinOptions()
        if name == "NONE" or content is None:
            return {}
        options = getattr(self.schema, name)()
        options.Init(content.Bytes, content.Pos)
        plain = getattr(self.schema, name + "T").InitFromObj(options)
        settings = {_snake_case(key): value for key, value in vars(plain).items()}
        if "fused_activation_function" in settings:
            names = _names(self.schema.ActivationFunctionType)
            settings["fused_activation_function"] = names[settings["fused_activation_function"]]
        if "padding" in settings:
            settings["padding"] = _names(self.schema.Padding)[settings["padding"]]
        return settings


def _check(tensor: Tensor) -> None:
    """Refuse a shape, scale or number of bytes that does not fit the rest of the tensor."""
    name, shape = tensor.name, tensor.shape
    if len(tensor.scales) > 1 and (
        tensor.axis >= len(shape) or shape[tensor.axis] != len(tensor.scales)
    ):
        raise ModelFileError(
            f"tensor {name!r} of shape {shape} has {len(tensor.scales)} scales on axis "
            f"{tensor.axis}."
        )
    if len(tensor.zero_points) not in (1, max(len(tensor.scales), 1)):
        raise ModelFileError(
            f"tensor {name!r} has {len(tensor.zero_points)} zero points for "
            f"{len(tensor.scales)} scales."
        )
    expected = -(-tensor.count * tensor.bits // 8)
    known = tensor.bits and not tensor.is_sparse
    if tensor.is_constant and known and len(tensor.data) != expected:
        raise ModelFileError(
            f"tensor {name!r} of shape {shape} and type {tensor.type} needs {expected:,} bytes, "
            f"the file holds {len(tensor.data):,}."
        )


def _decode(data: np.ndarray, type_name: str) -> np.ndarray:
    """Elements of a constant from its bytes; two, or four, share a byte in the narrow types."""
    if type_name in ("int4", "uint4", "int2"):
        bits = BITS[type_name]
        shifts = np.arange(0, 8, bits, dtype=np.uint8)  # the first element has the low bits
        codes = ((data[:, None] >> shifts) & (2**bits - 1)).astype(np.int8).ravel()
        if type_name.startswith("int"):
            codes[codes >= 2 ** (bits - 1)] -= 2**bits
        return codes
    if type_name == "bfloat16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if BITS.get(type_name, 0) < 8 or type_name.startswith("float8"):
        raise ModelFileError(f"values of type {type_name} cannot be read.")
    return data.view(np.dtype(type_name).newbyteorder("<"))


def _names(enumeration: type) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if not k.startswith("_")}


def _shape(array, is_none: bool) -> tuple[int, ...]:
    return () if is_none or isinstance(array, int) else tuple(int(d) for d in array)


def _indices(array, first: int, count: int, what: str, optional: bool = False) -> tuple[int, ...]:
    """Tensor numbers of a subgraph as numbers of the whole file, checked."""
    numbers = () if isinstance(array, int) else tuple(int(i) for i in array)
    for i in numbers:
        if not (0 <= i < count or (optional and i == -1)):
            raise ModelFileError(f"{what} names tensor {i}, there are {count}.")
    return tuple(-1 if i == -1 else first + i for i in numbers)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
