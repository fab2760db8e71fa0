"""A `.tflite` file read into plain tensors and operators, without running anything."""

from __future__ import annotations

import math
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

#: Lengths of a tensor's dimensions; -1, or None while they are looked for, is one that is open.
Shape = tuple[int | None, ...]

#: Elements that a sparse constant may have: a few bytes could claim any number.
_LAID_OUT = 1 << 28


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `data` holds its bytes in the file if it is a constant.

    Attributes:
        laid_out: codes of a sparse constant, with those that the file leaves out.
        index_bytes: what a sparse constant takes beside its values: where they stand.
        blocks: scales and zero points of a constant that has some for each block of its values, in
            as many dimensions as itself; None for those of a form that is not read.
    """

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
    subgraph: int
    laid_out: np.ndarray | None = None
    index_bytes: int = 0
    blocks: tuple[np.ndarray, np.ndarray] | tuple[()] | None = ()

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return self.data is not None

    @property
    def is_per_channel(self) -> bool:
        """Whether each index of `axis` has a scale of its own."""
        return len(self.scales) > 1

    @property
    def is_sparse(self) -> bool:
        """Whether the file holds the values that are not zero, and where they stand."""
        return self.laid_out is not None

    @property
    def count(self) -> int | None:
        """Number of elements; None if a length is open."""
        return None if -1 in self.shape else math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return BITS.get(self.type, 0)

    @property
    def bytes(self) -> int | None:
        """Bytes of all elements: in the file if constant, else in memory; None if one is open."""
        if self.is_constant:
            return len(self.data) + self.index_bytes
        return None if self.count is None else -(-self.count * self.bits // 8)

    @cached_property
    def codes(self) -> np.ndarray:
        """A constant's elements as stored: integer codes, or floats; of its shape."""
        if not self.is_constant:
            raise ValueError(f"tensor {self.name!r} is not a constant: it has no values to read.")
        if self.is_sparse:
            return self.laid_out
        return _decode(self.data, self.type)[: self.count].reshape(self.shape)

    def values(self) -> np.ndarray:
        """A constant's real values, float32: S (q - Z) where it is quantised.

        Raises:
            ModelFileError: it is quantised in a form that labkit does not read.
        """
        codes = self.codes.astype(np.float32)
        if self.blocks is None:
            raise ModelFileError(
                f"tensor {self.name!r} is quantised neither as a whole, nor by channel, nor in "
                "blocks: what its codes stand for cannot be read."
            )
        if self.blocks:
            scales, zero_points = (_spread(array, self.shape) for array in self.blocks)
            return scales * (codes - zero_points)
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


#: Settings of operators that name a subgraph.
_CALLING = (
    *("cond_subgraph_index", "body_subgraph_index", "then_subgraph_index"),
    *("else_subgraph_index", "init_subgraph_index", "decomposition_subgraph_index", "subgraph"),
)


@dataclass(frozen=True)
class Operator:
    """An operator of the graph; an absent optional input is -1."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, object] = field(default_factory=dict)
    subgraph: int = 0

    @property
    def calls(self) -> tuple[int, ...]:
        """The subgraphs that it runs: condition and body of a loop, for example."""
        return tuple(int(self.options[name]) for name in _CALLING if name in self.options)


@dataclass(frozen=True)
class Graph:
    """All tensors and operators of a file, in the order of execution.

    Files with control flow hold several subgraphs: their tensors are numbered on, and their
    operators follow those of the main graph.

    Attributes:
        ends: inputs and outputs of each subgraph, the main one first.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    ends: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Inputs of the model."""
        return self.ends[0][0]

    @property
    def outputs(self) -> tuple[int, ...]:
        """Outputs of the model."""
        return self.ends[0][1]

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
            replace(t, shape=shapes[t.index], signature=shapes[t.index])
            if t.index in shapes and not t.is_constant
            else t
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
        self.more_option_names = _names(schema.BuiltinOptions2)

    def graph(self) -> Graph:
        model = self.model
        tensors: list[Tensor] = []
        operators: list[Operator] = []
        ends = []
        for number in range(self.length(model.SubgraphsLength(), "subgraphs")):
            subgraph = model.Subgraphs(number)
            first = len(tensors)
            for i in range(self.length(subgraph.TensorsLength(), "tensors")):
                tensors.append(self.tensor(subgraph.Tensors(i), first + i, number))
            count = len(tensors) - first
            for i in range(count):  # of a tensor that may follow its own
                blocks = self.blocks(subgraph.Tensors(i), tensors[first:])
                if blocks is None or blocks:
                    tensors[first + i] = replace(tensors[first + i], blocks=blocks)
            for i in range(self.length(subgraph.OperatorsLength(), "operators")):
                operators.append(self.operator(subgraph.Operators(i), first, count, number))
            ends.append(
                tuple(
                    _indices(array, first, count, "the model's inputs and outputs")
                    for array in (subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy())
                )
            )
        if not operators or not all(ends[0]):
            raise ModelFileError("the file holds no operators, no input or no output.")
        return Graph(tuple(tensors), tuple(operators), tuple(ends))

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
            signature=signature if len(signature) == len(shape) else shape,
            type=self.types[table.Type()].lower(),
            data=self.buffer(table.Buffer(), name),
            scales=scales,
            zero_points=zero_points,
            axis=axis,
            is_variable=table.IsVariable(),
            subgraph=subgraph,
        )
        if tensor.is_constant and table.Sparsity() is not None:
            tensor = _dense(tensor, self.schema.SparsityParametersT.InitFromObj(table.Sparsity()))
        _check(tensor)
        return tensor

    def blocks(self, table, tensors: list[Tensor]):
        """Scales and zero points of a tensor's blocks: () without, None in an unknown form."""
        quantization = table.Quantization()
        kind = self.schema.QuantizationDetails
        if quantization is None or quantization.DetailsType() == kind.NONE:
            return ()
        if quantization.DetailsType() != kind.BlockwiseQuantization:
            return None
        details = self.schema.BlockwiseQuantization()
        details.Init(quantization.Details().Bytes, quantization.Details().Pos)
        found = []
        for place, default in ((details.Scales(), 1.0), (details.ZeroPoints(), 0.0)):
            is_there = 0 <= place < len(tensors) and tensors[place].is_constant
            # 0, or -1, stands for "no zero points": symmetric.
            if default == 0 and (place <= 0 or not is_there):
                found.append(np.zeros((1,) * len(found[0].shape), np.float32))
            elif is_there:
                found.append(tensors[place].codes.astype(np.float32))
            else:
                return None
        return tuple(found)

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
        if name == "NONE":
            name = self.more_option_names.get(table.BuiltinOptions2Type(), "NONE")
            content = table.BuiltinOptions2()
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


def _spread(parameters: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Scales or zero points of blocks for each of the tensor's values."""
    for axis, (blocks, length) in enumerate(zip(parameters.shape, shape, strict=False)):
        if not blocks or length % blocks:
            raise ModelFileError(f"{blocks} blocks do not fit the shape {shape}: damaged.")
        parameters = np.repeat(parameters, length // blocks, axis)
    if parameters.shape != shape:
        raise ModelFileError(f"blocks in {parameters.ndim} dimensions, the shape is {shape}.")
    return parameters


def _dense(tensor: Tensor, sparsity) -> Tensor:
    """A sparse constant with its values laid out, those that are not stored being zero.

    Levels follow one another in the traversal order: of a dense one all indices are there, of a
    sparse one those that its segments list. Blocks come last, as dimensions of their own.

    Source: the format of TensorFlow Lite's schema, `SparsityParameters`.
    """
    rank, count = len(tensor.shape), tensor.count
    order, levels = list(sparsity.traversalOrder), sparsity.dimMetadata or []
    block_map = [] if sparsity.blockMap is None else list(sparsity.blockMap)
    damaged = ModelFileError(f"the sparse tensor {tensor.name!r} is damaged.")
    if sorted(order) != list(range(rank + len(block_map))) or len(levels) != len(order):
        raise damaged
    if not 0 < count <= _LAID_OUT or any(not 0 <= axis < rank for axis in block_map):
        raise damaged
    places, along, index_bytes = np.zeros(1, np.int64), {}, 0
    for dimension, level in zip(order, levels, strict=True):
        if level.format == 0:
            size = int(level.denseSize)
            if not 0 < size * len(places) <= count:
                raise damaged
            source = np.repeat(np.arange(len(places)), size)
            index = np.tile(np.arange(size), len(places))
            places = places[source] * size + index
        else:
            segments, indices = (
                np.asarray(vector.values) for vector in (level.arraySegments, level.arrayIndices)
            )
            index_bytes += segments.nbytes + indices.nbytes
            starts, ends = (segments[places + i].astype(np.int64) for i in (0, 1))
            lengths = ends - starts
            if (lengths < 0).any() or lengths.sum() > count or ends.max() > len(indices):
                raise damaged
            source = np.repeat(np.arange(len(places)), lengths)
            first = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
            places = first + np.arange(len(source))
            index = indices[places].astype(np.int64)
        along = {d: coordinates[source] for d, coordinates in along.items()} | {dimension: index}
    coordinates = [along[axis] for axis in range(rank)]
    for number, axis in enumerate(block_map):
        block = levels[order.index(rank + number)].denseSize
        coordinates[axis] = coordinates[axis] * block + along[rank + number]
    stored = _decode(tensor.data, tensor.type)
    if len(places) and places.max() >= len(stored):
        raise damaged
    zeros = np.broadcast_to(tensor.along_axis(tensor.zero_points), tensor.shape)
    laid_out = zeros.astype(stored.dtype)
    laid_out[tuple(coordinates)] = stored[places]
    return replace(tensor, laid_out=laid_out, index_bytes=index_bytes)


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
