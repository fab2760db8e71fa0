"""What is in a `.tflite` file: operators, types, bit widths, unique weights, sparsity, MACs."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from labkit.measure.flow import Flow
from labkit.measure.graph import Graph, ModelFileError, Operator, Tensor, read_graph

# Inputs of an operator that hold weights and biases (TensorFlow Lite's operator definitions).
_WEIGHTS = {
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (1,),
    "TRANSPOSE_CONV": (1,),
    "CONV_3D_TRANSPOSE": (1,),
    "BATCH_MATMUL": (0, 1),
    "EMBEDDING_LOOKUP": (1,),
    "GATHER": (0,),
    "LSTM": (*range(1, 12), 16, *range(20, 24)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 12), 16, *range(20, 24)),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 12), 16, *range(18, 29), 33, *range(40, 48)),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 5, 6, 10, 11),
    "SVDF": (1, 2),
}
_BIASES = {
    "CONV_2D": (2,),
    "CONV_3D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "TRANSPOSE_CONV": (3,),
    "CONV_3D_TRANSPOSE": (3,),
    "LSTM": (*range(12, 16), 17),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (*range(12, 16), 17),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(12, 16), 17, *range(29, 33), 34),
    "RNN": (3,),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (3,),
    "BIDIRECTIONAL_SEQUENCE_RNN": (3, 7),
    "SVDF": (3,),
}
#: Of these each weight that is a matrix, or a filter over time, is multiplied once a time step.
_RECURRENT = {
    "LSTM": (*range(1, 12), 16),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 12), 16),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 12), 16, *range(18, 29), 33, *range(40, 48)),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 5, 6, 10, 11),
    "SVDF": (1, 2),
}
#: The dimension of the output channels in a weight tensor; 0 for those not named.
CHANNEL_AXIS = {"DEPTHWISE_CONV_2D": 3, "CONV_3D": 4, "CONV_3D_TRANSPOSE": 3}

# A shape, a list of axes or a table of paddings: at most two numbers for each of TFLite's eight
# dimensions. Larger integer tensors count as weights, or they would be a place to hide some.
_STRUCTURE_VALUES = 16

# Whatever these take is data or weights, unless they compute a shape.
_ARITHMETIC = frozenset(
    {
        *("ADD", "CONCATENATION", "DIV", "MAXIMUM", "MINIMUM", "MUL"),
        *("PACK", "POW", "PRELU", "SQUARED_DIFFERENCE", "SUB"),
    }
)

_WEIGHT_COLUMNS = (
    "layer",
    "role",
    "operator",
    "shape",
    "type",
    "bits",
    "values",
    "bytes",
    "unique",
    "unique per channel",
    "bits needed",
    "sparsity",
    "tensor",
)

# These turn a constant into another form before the first image: their result is a weight.
UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True)
class Inspection:
    """A file's content as tables and totals.

    Attributes:
        operators: a row per operator, in the order of execution.
        tensors: a row per tensor.
        weights: a row per constant that holds weights, biases or other numbers of the network.
        macs: multiply-accumulate operations for one image (or for as many as the file fixes), in
            convolutions, fully connected, matrix and recurrent operators; None if they depend on
            the inputs: on the size of an image, or on how often a loop turns.
        peak_activation_bytes: most bytes of activations alive at once, for one image, if each
            operator writes to memory of its own (no operator works in place); None alike.
    """

    graph: Graph
    operators: pd.DataFrame
    tensors: pd.DataFrame
    weights: pd.DataFrame
    macs: int | None
    peak_activation_bytes: int | None

    @property
    def parameters(self) -> int:
        """Number of weights, biases and other constants."""
        return int(self.weights["values"].sum())

    @property
    def weight_bits(self) -> int:
        """Bits that the values of weights, biases and other constants take in the file."""
        return 8 * int(self.weights["bytes"].sum())

    @property
    def weight_types(self) -> tuple[str, ...]:
        """Types of the weight tensors, for example ("int8",)."""
        return self._types(self.weights.loc[self.weights["role"] == "weight", "type"])

    @property
    def bias_types(self) -> tuple[str, ...]:
        """Types of the biases, for example ("int32",)."""
        return self._types(self.weights.loc[self.weights["role"] == "bias", "type"])

    @property
    def activation_types(self) -> tuple[str, ...]:
        """Types of all tensors that hold data of the input: itself and the output included."""
        return self._types(self.tensors.loc[self.tensors["kind"] == "activation", "type"])

    @property
    def input_types(self) -> tuple[str, ...]:
        """Types of the model's inputs."""
        return self._types(self.graph.tensors[i].type for i in self.graph.inputs)

    @property
    def output_types(self) -> tuple[str, ...]:
        """Types of the model's outputs."""
        return self._types(self.graph.tensors[i].type for i in self.graph.outputs)

    @staticmethod
    def _types(column) -> tuple[str, ...]:
        return tuple(sorted(set(column)))

    @cached_property
    def summary(self) -> pd.Series:
        """The totals, with their units."""
        counts = self.operators["operator"].value_counts()
        return pd.Series(
            {
                "operators": ", ".join(f"{n} {name}" for name, n in counts.items()),
                "weights": ", ".join(self.weight_types),
                "biases": ", ".join(self.bias_types),
                "activations": ", ".join(self.activation_types),
                "parameters": f"{self.parameters:,}",
                "weights and biases": f"{self.weight_bits / 8:,.0f} bytes",
                "MACs per image": _total(self.macs),
                "peak activation memory": _total(self.peak_activation_bytes, " bytes"),
            }
        )

    def __str__(self) -> str:
        """The totals, a line each."""
        width = max(map(len, self.summary.index))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.summary.items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in self.summary.items()
        )
        return f"<table>{rows}</table>"


def _total(number: int | None, unit: str = "") -> str:
    return "depends on the inputs" if number is None else f"{number:,}{unit}"


def inspect(source: str | Path | bytes | Graph) -> Inspection:
    """Read a `.tflite` file and measure what it holds; nothing is executed.

    Operators whose results reach no output, and tensors that none of the others use, are left out.

    Args:
        source: path of the file, its bytes, or its graph.

    Raises:
        ModelFileError: not a model, or damaged.

    Example:
        >>> inspect("sign_mnist_quant_dyn.tflite").weight_types
        ('float32', 'int8')
    """
    graph = (source if isinstance(source, Graph) else read_graph(source)).live
    try:
        flow = Flow(graph)
        graph, origins = flow.graph, _origins(graph)
        macs = [_macs(graph, o, flow.runs[o.subgraph]) for o in graph.operators]
        operators = [
            _operator_row(graph, operator, origins) | {"MACs": count}
            for operator, count in zip(graph.operators, macs, strict=True)
        ]
        return Inspection(
            graph=graph,
            operators=pd.DataFrame(operators),
            tensors=_tensor_table(graph, origins),
            weights=_weight_table(graph, origins),
            macs=None if None in macs else sum(macs),
            peak_activation_bytes=_peak_bytes(graph, origins, 0),
        )
    except ModelFileError:
        raise
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ModelFileError(
            "an operator lacks an input or an output, or a tensor a dimension: the file is damaged."
        ) from error


def weights(source: str | Path | bytes) -> dict[str, np.ndarray]:
    """The weight tensors of a file by layer, in the order of execution, without biases.

    Args:
        source: path of the file, or its bytes.

    Returns:
        float32 arrays, dequantised, in TFLite's layout: (out, height, width, in) for a
        convolution, (1, height, width, out) depthwise, (out, in) fully connected.

    Raises:
        ModelFileError: not a model, or damaged.
    """
    graph = read_graph(source).live
    table = _weight_table(graph, _origins(graph))
    table = table[table["role"] == "weight"]
    return {
        layer: graph.tensors[index].values()
        for layer, index in zip(_distinct(table["layer"]), table["tensor"], strict=True)
    }


def _origins(graph: Graph) -> dict[int, int]:
    """The constant that a tensor is, or is an unpacked form of, by tensor number."""
    origins = {tensor.index: tensor.index for tensor in graph.tensors if tensor.is_constant}
    for operator in graph.operators:
        if operator.name in UNPACKING and operator.inputs[0] in origins:
            origins[operator.outputs[0]] = origins[operator.inputs[0]]
    return origins


def _operator_row(graph: Graph, operator: Operator, origins: dict[int, int]) -> dict:
    named = [graph.tensors[i] for i in operator.inputs if i >= 0]
    constants = [graph.tensors[origins[t.index]] for t in named if t.index in origins]
    return {
        "operator": operator.name,
        "layer": _layer(graph, operator),
        "activation": operator.options.get("fused_activation_function", "NONE").lower(),
        "inputs": _signature(t for t in named if t.index not in origins),
        "constants": _signature(constants),
        "outputs": _signature(graph.tensors[i] for i in operator.outputs),
    }


def _signature(tensors) -> str:
    """Shapes and types in short, for example "1×28×28×1 int8"; "?" is an open length."""
    return ", ".join(
        f"{'×'.join('?' if n == -1 else str(n) for n in t.shape) or 'scalar'} {t.type}"
        for t in tensors
    )


def _tensor_table(graph: Graph, origins: dict[int, int]) -> pd.DataFrame:
    kinds = _kinds(graph, origins)
    used = [tensor for tensor in graph.tensors if tensor.index in graph.used]
    rows = [
        {
            "name": tensor.name,
            "kind": kinds[tensor.index],
            "shape": tensor.shape,
            "type": tensor.type,
            "bits": tensor.bits,
            "bytes": tensor.bytes,
            "per channel": tensor.is_per_channel,
            "scale": _one_or_all(tensor.scales),
            "zero point": _one_or_all(tensor.zero_points) if len(tensor.scales) else None,
            "axis": tensor.axis if tensor.is_per_channel else None,
        }
        for tensor in used
    ]
    table = pd.DataFrame(rows, index=[tensor.index for tensor in used], dtype=object)
    sizes = "Int64" if table["bytes"].isna().any() else int
    types = {"bits": int, "bytes": sizes, "per channel": bool}
    return table.astype(types).rename_axis("tensor")


def _kinds(graph: Graph, origins: dict[int, int]) -> list[str]:
    """What each tensor is: "constant", "state", "shape", "activation", or what constants become."""
    shapes = _shapes(graph, origins)

    def kind(tensor: Tensor) -> str:
        if tensor.is_constant:
            return "constant"
        if tensor.is_variable:
            return "state"
        if tensor.index in origins:
            return "unpacked constant"
        if tensor.index in shapes:
            return "shape"
        return "activation" if tensor.index in graph.varying else "computed constant"

    return [kind(tensor) for tensor in graph.tensors]


def _shapes(graph: Graph, origins: dict[int, int]) -> set[int]:
    """Tensors that are computed from shapes alone, for a reshape."""
    shapes: set[int] = set()
    for operator in graph.operators:
        varying = [i for i in operator.inputs if i >= 0 and i not in origins]
        if operator.name == "SHAPE" or (varying and shapes.issuperset(varying)):
            shapes.update(operator.outputs)
    return shapes


def _one_or_all(values: np.ndarray):
    """None, the value that all share, or the array."""
    if not len(values):
        return None
    return values[0].item() if (values == values[0]).all() else values


def _weight_table(graph: Graph, origins: dict[int, int]) -> pd.DataFrame:
    """A row per constant, in the order of use; one that several operators use counts once."""
    rows: dict[int, dict] = {}
    shapes = _shapes(graph, origins)
    for operator in graph.operators:
        if operator.name in UNPACKING and operator.inputs[0] in origins:
            continue
        for position, index in enumerate(operator.inputs):
            if index not in origins or origins[index] in rows:
                continue
            tensor = graph.tensors[origins[index]]
            role = _role(operator, position, tensor, shapes)
            if role:
                rows[tensor.index] = _weight_row(graph, operator, role, tensor)
    return pd.DataFrame(list(rows.values()), columns=_WEIGHT_COLUMNS)


def _role(operator: Operator, position: int, tensor: Tensor, shapes: set[int]) -> str | None:
    """What a constant is to an operator; None if it is part of the graph's structure.

    Args:
        shapes: tensors that are computed from shapes alone.
    """
    if position in _WEIGHTS.get(operator.name, ()):
        return "weight"
    if position in _BIASES.get(operator.name, ()):
        return "bias"
    is_plain_integer = not len(tensor.scales) and "float" not in tensor.type
    is_small = is_plain_integer and tensor.count <= _STRUCTURE_VALUES
    touches_data = operator.name in _ARITHMETIC and not shapes.issuperset(operator.outputs)
    return None if not tensor.bits or (is_small and not touches_data) else "constant"


def _weight_row(graph: Graph, operator: Operator, role: str, tensor: Tensor) -> dict:
    unique = len(np.unique(tensor.codes))
    return {
        "layer": _layer(graph, operator),
        "role": role,
        "operator": operator.name,
        "shape": "×".join(map(str, tensor.shape)),
        "type": tensor.type,
        "bits": tensor.bits,
        "values": tensor.count,
        "bytes": tensor.bytes,
        "unique": unique,
        "unique per channel": _unique_per_channel(operator, role, tensor),
        "bits needed": max(1, int(np.ceil(np.log2(max(unique, 1))))),
        "sparsity": _zeros(tensor) / max(tensor.count, 1),
        "tensor": tensor.index,
    }


def _zeros(tensor: Tensor) -> int:
    """Number of elements whose real value is exactly zero: their code is the zero point."""
    return np.count_nonzero(tensor.codes == tensor.along_axis(tensor.zero_points))


def _unique_per_channel(operator: Operator, role: str, tensor: Tensor) -> int:
    """Most distinct codes in any one output channel of a weight tensor."""
    return max(len(np.unique(channel)) for channel in channels(tensor, operator.name, role))


def channels(tensor: Tensor, operator: str, role: str) -> list[np.ndarray]:
    """A constant's stored codes by output channel; all in one where it has no channels."""
    codes = tensor.codes
    if role != "weight" or codes.ndim < 2:
        return [codes]
    axis = tensor.axis if tensor.is_per_channel else CHANNEL_AXIS.get(operator, 0)
    return list(np.moveaxis(codes, axis, 0))


def _layer(graph: Graph, operator: Operator) -> str:
    """The Keras layer's name, as far as the converter has kept it.

    Names look like "model/conv1/Conv2D;model/conv1/Relu"; the kernel's name is the most telling.
    """
    positions = _WEIGHTS.get(operator.name, ())[:1]
    indices = [operator.inputs[p] for p in positions if p < len(operator.inputs)]
    for index in (*indices, *operator.outputs):
        parts = graph.tensors[index].name.split(";")[0].split("/") if index >= 0 else []
        if len(parts) > 1:
            return parts[-2].removeprefix("quant_")
    return operator.name.lower()


def _distinct(names) -> list[str]:
    """Names with a number behind those that occur again."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _macs(graph: Graph, operator: Operator, runs: int | None) -> int | None:
    """Multiply-accumulate operations of an operator that runs so often; None if it is open.

    Those with constants alone are none: a runtime does them once.
    """

    def shape(position: int) -> tuple[int, ...]:
        return graph.tensors[operator.inputs[position]].shape

    def size(*lengths: int) -> int:
        return math.prod(lengths)

    name = operator.name
    if name not in _WEIGHTS or not graph.varying.intersection(operator.outputs):
        return 0
    if name in _RECURRENT:
        return _each_step(graph, operator, runs)
    involved = (*operator.inputs[:3], operator.outputs[0])
    outputs = graph.tensors[operator.outputs[0]].count
    if runs is None or any(i >= 0 and -1 in graph.tensors[i].shape for i in involved):
        return 0 if name in ("GATHER", "EMBEDDING_LOOKUP") else None
    if name in ("CONV_2D", "FULLY_CONNECTED"):  # weights (out, ...): the rest feeds one output
        return runs * outputs * size(*shape(1)[1:])
    if name == "DEPTHWISE_CONV_2D":  # (1, height, width, out)
        return runs * outputs * shape(1)[1] * shape(1)[2]
    if name == "CONV_3D":  # (depth, height, width, in, out)
        return runs * outputs * size(*shape(1)[:4])
    if name == "TRANSPOSE_CONV":  # weights (out, height, width, in); every input feeds a patch
        return runs * size(*shape(2)) * size(*shape(1)[:3])
    if name == "CONV_3D_TRANSPOSE":  # weights (depth, height, width, out, in)
        return runs * size(*shape(2)) * size(*shape(1)[:4])
    if name == "BATCH_MATMUL":
        return runs * outputs * shape(0)[-2 if operator.options.get("adj_x") else -1]
    return 0


def _each_step(graph: Graph, operator: Operator, runs: int | None) -> int | None:
    """Multiplications of a recurrent operator: all its matrices, once for each time step."""
    given = graph.tensors[operator.inputs[0]]
    matrices = [
        graph.tensors[operator.inputs[p]].count
        for p in _RECURRENT[operator.name]
        if p < len(operator.inputs) and operator.inputs[p] >= 0
    ]
    if runs is None or given.count is None:
        return None
    return runs * given.count // max(given.shape[-1], 1) * sum(matrices)


def _peak_bytes(graph: Graph, origins: dict[int, int], number: int) -> int | None:
    """Most bytes of activations alive at once in a subgraph and those that it calls.

    A tensor lives from the operator that writes it (inputs: from the first) to the last one that
    reads it (outputs and states: to the last), and both ends of an operator are alive while it
    runs. What a subgraph needs comes on top of what is alive where it is called: an upper bound.
    """
    operators = [operator for operator in graph.operators if operator.subgraph == number]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    called = []
    for step, operator in enumerate(operators):
        called.append([_peak_bytes(graph, origins, subgraph) for subgraph in operator.calls])
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0 and index not in origins:
                first.setdefault(index, 0 if index not in operator.outputs else step)
                last[index] = step
    states = {index for index in last if graph.tensors[index].is_variable}
    for index in (set(graph.ends[number][1]) & set(last)) | states:
        last[index] = len(operators) - 1
    if any(graph.tensors[i].bytes is None for i in first) or any(None in peaks for peaks in called):
        return None
    return max(
        (
            sum(graph.tensors[i].bytes for i in first if first[i] <= step <= last[i])
            + max(called[step], default=0)
            for step in range(len(operators))
        ),
        default=0,
    )
