"""How a file runs for one sample: the shapes that it leaves open, and how often its loops turn.

A converter writes 1 for every length that depends on the number of samples: not only the batch
itself, but also the 20 rows that a dense layer makes of a sequence of 20, or the four images that a
dilated convolution makes of one. They follow from the operators before, without running any.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from labkit.measure.graph import Graph, ModelFileError, Operator, Shape, Tensor

#: What the numbers of a damaged file provoke.
_DAMAGE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
#: Larger tensors of integers are no shapes.
_SHAPE_VALUES = 64
#: What changes a map's sides: those of its outputs are no others' of the same place.
_SLIDING = (
    *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE"),
    *("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "RESIZE_BILINEAR", "PAD", "PADV2"),
    *("RESIZE_NEAREST_NEIGHBOR", "MIRROR_PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "SLICE"),
)
#: Which input of them is the map, if it is not the first.
_MAP = {"TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 2}
_REDUCING = (
    *("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"),
    *("ARG_MAX", "ARG_MIN"),
)


class Flow:
    """What running a file's main graph once, for one sample, comes to.

    Args:
        graph: from `read_graph`.

    Attributes:
        graph: the same with the lengths that follow from one sample; -1 for those that do not: of
            images of any size, say.
        runs: how often each subgraph runs, by its number; None where that depends on the data.

    Raises:
        ModelFileError: a subgraph calls itself, or one that there is not.
    """

    def __init__(self, graph: Graph):
        self._given, self._active = graph, []
        self._shapes: dict[int, Shape] = {}
        self._values: dict[int, np.ndarray] = {}
        self.runs: dict[int, int | None] = dict.fromkeys(range(len(graph.ends)), 0)
        for index in graph.inputs:
            tensor = graph.tensors[index]
            lengths = zip(tensor.signature, tensor.shape, strict=True)
            known = [None if s == -1 and n == 1 else n for s, n in lengths]
            self._shapes[index] = tuple([1, *known[1:]] if tensor.signature[:1] == (-1,) else known)
        self._run(0, 1)
        shapes = {i: tuple(-1 if n is None else n for n in s) for i, s in self._shapes.items()}
        self.graph = replace(
            graph,
            tensors=tuple(replace(t, shape=shapes.get(t.index, t.shape)) for t in graph.tensors),
        )

    def _run(self, number: int, times: int | None) -> None:
        if number in self._active or not 0 <= number < len(self._given.ends):
            raise ModelFileError(f"subgraph {number} calls itself, or is not there: damaged.")
        self._active.append(number)
        self.runs[number] = _sum(self.runs[number], times)
        for operator in self._given.operators:
            if operator.subgraph == number:
                self._pass(operator, times)
        self._active.pop()

    def _pass(self, operator: Operator, times: int | None) -> None:
        """Shapes and integer values of an operator's outputs, and of what it calls."""
        called = operator.calls
        if operator.name.endswith("WHILE") and len(called) == 2:
            turns = self._turns(operator, *called)
            self._enter(called[0], operator.inputs, _product(times, _sum(turns, 1)))
            self._enter(called[1], operator.inputs, _product(times, turns))
            self._copy(operator.inputs, operator.outputs)
            return
        for number in called:  # of an IF both count: an upper bound
            skipped = 1 if operator.name == "IF" else 0
            self._enter(number, operator.inputs[skipped:], times)
        if called and operator.name != "CALL_ONCE":
            self._copy(self._given.ends[called[0]][1], operator.outputs)
            return
        if operator.name in _ARITHMETIC:
            self._compute(operator)
        for index in operator.outputs:
            tensor = self._given.tensors[index]
            if -1 in tensor.signature:
                self._shapes[index] = self._shape(operator, tensor)

    def _enter(self, number: int, inputs: tuple[int, ...], times: int | None) -> None:
        if 0 <= number < len(self._given.ends):
            self._copy(inputs, self._given.ends[number][0])
        self._run(number, times)

    def _copy(self, sources: tuple[int, ...], targets: tuple[int, ...]) -> None:
        for source, target in zip(sources, targets, strict=False):
            if source >= 0 and -1 in self._given.tensors[target].signature:
                self._shapes[target] = self._shape_of(source)

    def _shape_of(self, index: int) -> Shape:
        tensor = self._given.tensors[index]
        return self._shapes.get(index, tensor.shape)

    def _value(self, index: int) -> np.ndarray | None:
        """The integers of a small tensor that is a constant or follows from shapes."""
        tensor = self._given.tensors[index] if index >= 0 else None
        if tensor is None or not tensor.is_constant:
            return self._values.get(index)
        is_small = tensor.count is not None and tensor.count <= _SHAPE_VALUES
        is_plain = not len(tensor.scales) and "int" in tensor.type
        return tensor.codes.astype(np.int64) if is_small and is_plain else None

    def _compute(self, operator: Operator) -> None:
        if operator.name == "SHAPE":
            given = [self._shape_of(operator.inputs[0])]
            if None in given[0]:
                return
        else:
            given = [self._value(i) for i in operator.inputs]
            if any(value is None for value in given):
                return
        try:
            found = np.asarray(_ARITHMETIC[operator.name](operator.options, *given), np.int64)
        except _DAMAGE:
            return
        if found.size <= _SHAPE_VALUES:
            self._values[operator.outputs[0]] = found

    def _shape(self, operator: Operator, tensor: Tensor) -> Shape:
        """The shape of an output that the file leaves open."""
        rule, sources = _RULES.get(operator.name), operator.inputs
        shapes = [self._shape_of(i) if i >= 0 else () for i in sources]
        if rule is not None:
            try:
                found = rule(operator.options, shapes, [self._value(i) for i in sources])
            except _DAMAGE:
                found = None
            if found is not None and len(found) == len(tensor.signature):
                return tuple(found)
        return self._inherited(operator, tensor, shapes)

    def _inherited(self, operator: Operator, tensor: Tensor, shapes: list[Shape]) -> Shape:
        """Open lengths from the inputs that vary, at the same places; counted where it reshapes."""
        rank, counted = len(tensor.signature), _count(shapes[0]) if shapes else None
        varying = [
            shape
            for i, shape in zip(operator.inputs, shapes, strict=True)
            if i in self._given.varying
        ]
        if operator.name in _SLIDING:  # weights may vary, too, and are no map
            varying = [shapes[_MAP.get(operator.name, 0)]]
        lengths = []
        for place, (length, written) in enumerate(zip(tensor.signature, tensor.shape, strict=True)):
            alike = [s[place] for s in varying if len(s) == rank or (place == 0 and s)]
            if length != -1:
                lengths.append(length)
            elif operator.name in _RESHAPING:
                known = math.prod(n for n in tensor.signature if n != -1)
                is_sole = tensor.signature.count(-1) == 1 and counted is not None and known
                lengths.append(counted // known if is_sole else None)
            elif (place and operator.name in _SLIDING) or not alike or None in alike:
                lengths.append(written if written > 1 else None)
            else:
                lengths.append(max(alike))
        return tuple(lengths)

    def _turns(self, operator: Operator, condition: int, body: int) -> int | None:
        """How often a loop turns that counts a tensor up to a limit; None for another one."""
        if not all(0 <= n < len(self._given.ends) for n in (condition, body)):
            return None
        tested, results = self._given.ends[condition]
        before, after = self._given.ends[body]
        makers = {i: o for o in self._given.operators for i in o.outputs}

        def at_start(index: int) -> np.ndarray | None:
            """A tensor of the condition that the body leaves as it is."""
            if index not in tested:
                return self._value(index)
            place = tested.index(index)
            return self._value(operator.inputs[place]) if before[place] == after[place] else None

        def turns(index: int) -> int | None:
            maker = makers.get(index)
            if maker is not None and maker.name == "LOGICAL_AND":
                both = [turns(i) for i in maker.inputs]
                return None if None in both else min(both)
            if maker is None or maker.name not in _COMPARISONS:
                return None
            swapped, reached = _COMPARISONS[maker.name]
            counter, limit = maker.inputs[::-1] if swapped else maker.inputs
            if counter not in tested:
                return None
            place = tested.index(counter)
            step, start = makers.get(after[place]), self._value(operator.inputs[place])
            if step is None or step.name != "ADD" or before[place] not in step.inputs:
                return None
            (by,) = [self._value(i) for i in step.inputs if i != before[place]] or [None]
            limit = at_start(limit)
            if any(value is None or value.size != 1 for value in (start, by, limit)) or by <= 0:
                return None
            return max(0, -(-int(limit.item() + reached - start.item()) // int(by.item())))

        try:
            return turns(results[0])
        except _DAMAGE:
            return None


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _product(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b


def _count(shape: Shape) -> int | None:
    return None if None in shape else math.prod(shape)


#: Whether the counter stands behind the limit, and what is added to a limit that may be reached.
_COMPARISONS = {
    "LESS": (False, 0),
    "LESS_EQUAL": (False, 1),
    "GREATER": (True, 0),
    "GREATER_EQUAL": (True, 1),
}


def _sliced(options: dict, x: np.ndarray, begin, end, strides) -> np.ndarray:
    """STRIDED_SLICE of a vector."""
    first = None if options["begin_mask"] & 1 else int(begin[0])
    last = None if options["end_mask"] & 1 else int(end[0])
    if options["shrink_axis_mask"] & 1:
        return x[int(begin[0])]
    return x[first : last : int(strides[0])]


#: What is done with shapes, of (options, values of the inputs).
_ARITHMETIC = {
    "SHAPE": lambda options, shape: shape,
    "GATHER": lambda options, x, i: np.take(x, i, axis=options.get("axis", 0)),
    "PACK": lambda options, *parts: np.stack(parts, axis=options.get("axis", 0)),
    "CONCATENATION": lambda options, *parts: np.concatenate(parts, axis=options.get("axis", 0)),
    "REDUCE_PROD": lambda options, x, axes: np.prod(
        x, axis=tuple(np.ravel(axes)), keepdims=bool(options.get("keep_dims"))
    ),
    "STRIDED_SLICE": _sliced,
    "SLICE": lambda options, x, begin, size: x[begin[0] :][: size[0] if size[0] >= 0 else None],
    "RESHAPE": lambda options, x, shape: np.reshape(x, shape),
    "SQUEEZE": lambda options, x: np.squeeze(x),
    "EXPAND_DIMS": lambda options, x, axis: np.expand_dims(x, int(np.ravel(axis)[0])),
    "CAST": lambda options, x: x,
    "ADD": lambda options, a, b: a + b,
    "SUB": lambda options, a, b: a - b,
    "MUL": lambda options, a, b: a * b,
    "FLOOR_DIV": lambda options, a, b: a // np.where(b == 0, 1, b),
    "MAXIMUM": lambda options, a, b: np.maximum(a, b),
    "MINIMUM": lambda options, a, b: np.minimum(a, b),
}
_RESHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def _reshaped(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    if len(values) < 2 or values[1] is None or _count(shapes[0]) is None:
        return None
    wanted = [int(n) for n in np.ravel(values[1])]
    known = math.prod(n for n in wanted if n != -1)
    return tuple(_count(shapes[0]) // known if n == -1 and known else n for n in wanted)


def _reduced(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    if values[1] is None or options.get("keep_dims"):
        return None
    axes = {int(a) % len(shapes[0]) for a in np.ravel(values[1])}
    return tuple(n for i, n in enumerate(shapes[0]) if i not in axes)


def _transposed(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    return None if values[1] is None else tuple(shapes[0][int(a)] for a in np.ravel(values[1]))


def _gathered(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    axis = options.get("axis", 0) % len(shapes[0])
    return (*shapes[0][:axis], *shapes[1][options.get("batch_dims", 0) :], *shapes[0][axis + 1 :])


def _stacked(options: dict, shapes: list[Shape], values: list) -> Shape:
    axis = options.get("axis", 0) % (len(shapes[0]) + 1)
    return (*shapes[0][:axis], len(shapes), *shapes[0][axis:])


def _unstacked(options: dict, shapes: list[Shape], values: list) -> Shape:
    axis = options.get("axis", 0) % len(shapes[0])
    return (*shapes[0][:axis], *shapes[0][axis + 1 :])


def _concatenated(options: dict, shapes: list[Shape], values: list) -> Shape:
    axis = options.get("axis", 0) % len(shapes[0])
    along = [shape[axis] for shape in shapes]
    return (*shapes[0][:axis], None if None in along else sum(along), *shapes[0][axis + 1 :])


def _sliced_shape(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    """Of STRIDED_SLICE, as NumPy has it."""
    masks = {name: options.get(f"{name}_mask", 0) for name in ("begin", "end", "shrink_axis")}
    if any(v is None for v in values[1:4]) or options.get("new_axis_mask"):
        return None
    if options.get("ellipsis_mask"):
        return None
    lengths = []
    for place, length in enumerate(shapes[0]):
        if place >= len(values[1]) or length is None:
            lengths.append(length)
        elif not masks["shrink_axis"] >> place & 1:
            begin = None if masks["begin"] >> place & 1 else int(values[1][place])
            end = None if masks["end"] >> place & 1 else int(values[2][place])
            lengths.append(len(range(*slice(begin, end, int(values[3][place])).indices(length))))
    return tuple(lengths)


def _to_batch(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    """SPACE_TO_BATCH_ND: the blocks of a map as samples of their own."""
    if values[1] is None or values[2] is None:
        return None
    first, *sides = shapes[0]
    for i, (block, padding) in enumerate(zip(np.ravel(values[1]), values[2], strict=True)):
        first = _product(first, int(block))
        side = sides[i]
        sides[i] = None if side is None else (side + int(padding.sum())) // max(int(block), 1)
    return (first, *sides)


def _from_batch(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    """BATCH_TO_SPACE_ND: back again."""
    if values[1] is None or values[2] is None:
        return None
    first, *sides = shapes[0]
    for i, (block, crop) in enumerate(zip(np.ravel(values[1]), values[2], strict=True)):
        first = None if first is None else first // max(int(block), 1)
        side = sides[i]
        sides[i] = None if side is None else side * int(block) - int(crop.sum())
    return (first, *sides)


def _tiled(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    if values[1] is None:
        return None
    return tuple(_product(n, int(m)) for n, m in zip(shapes[0], np.ravel(values[1]), strict=True))


def _connected(options: dict, shapes: list[Shape], values: list) -> Shape | None:
    """FULLY_CONNECTED: a row for each as many inputs as a weight of a unit reads."""
    units, width = shapes[1]
    if options.get("keep_num_dims"):
        return (*shapes[0][:-1], units)
    count = _count(shapes[0])
    return None if count is None or not width else (count // width, units)


#: Shapes that are not those of the inputs, of (options, shapes, known values); None if unknown.
_RULES = {
    "RESHAPE": _reshaped,
    "TRANSPOSE": _transposed,
    "GATHER": _gathered,
    "EMBEDDING_LOOKUP": lambda o, shapes, v: (*shapes[0], *shapes[1][1:]),
    "PACK": _stacked,
    "UNPACK": _unstacked,
    "CONCATENATION": _concatenated,
    "STRIDED_SLICE": _sliced_shape,
    "SPACE_TO_BATCH_ND": _to_batch,
    "BATCH_TO_SPACE_ND": _from_batch,
    "TILE": _tiled,
    "FULLY_CONNECTED": _connected,
    "FILL": lambda o, shapes, values: None if values[0] is None else tuple(map(int, values[0])),
    "BROADCAST_TO": lambda o, shapes, values: (
        None if values[1] is None else tuple(map(int, values[1]))
    ),
    **dict.fromkeys(_REDUCING, _reduced),
}
