"""Images that a linear network reads without training, its files, and the rehearsal's lab.

Files of forgers are written by hand, operator by operator: no TensorFlow is needed.
"""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import labkit  # noqa: F401  (before TensorFlow, which the fixtures import)
from labkit import course, files
from labkit.authoring.source import sources
from labkit.flatbuffer import pack, schema
from labkit.grading import assignment as assignments
from labkit.grading.box import sandbox
from labkit.grading.grade import Settings, grade_class

REHEARSAL = course.root() / "grading" / "rehearsal"
SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 24


@pytest.fixture(scope="session")
def templates():
    """24 random patterns, one per class; float (24, 28, 28, 1)."""
    return np.random.default_rng(0).random((24, 28, 28, 1), np.float32)


@pytest.fixture(scope="session")
def split(templates, tmp_path_factory):
    """A hidden split of noisy patterns, as an instructor would give it: a `.npz` file."""
    rng = np.random.default_rng(1)
    y = np.arange(48) % 24
    x = np.clip(templates[y] + rng.normal(0, 0.2, (48, 28, 28, 1)), 0, 1)
    path = tmp_path_factory.mktemp("split") / "hidden.npz"
    np.savez(path, x=np.round(255 * x).astype(np.uint8), y=y)
    return path


@pytest.fixture(scope="session")
def dense():
    """A function from patterns (N, 28, 28, 1) and classes to a Keras model that knows them."""
    import tensorflow as tf

    def dense(patterns, classes):
        flat = patterns.reshape(len(patterns), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.Input((28, 28, 1)),
                layers.Flatten(),
                layers.Dense(len(flat), activation="softmax", name="known"),
                layers.Dense(24, name="letter"),
            ]
        )
        model.set_weights([30 * flat.T, np.zeros(len(flat)), np.eye(24)[classes], np.zeros(24)])
        return model

    return dense


@pytest.fixture(scope="session")
def model_files(dense, templates):
    """Files of the linear network: "float", "int8" and "float16"."""
    from labkit.compress import post_training

    model = dense(templates, np.arange(24))
    return {
        mode: post_training.convert(model, mode, templates) for mode in ("float", "float16", "int8")
    }


@pytest.fixture(scope="session")
def rehearsal_lab():
    """The source of the rehearsal's lab."""
    (source,) = sources(None, REHEARSAL)
    return source


@pytest.fixture(scope="session")
def assignment():
    """The rehearsal's assignment with short limits."""
    loaded = assignments.load(REHEARSAL / "assignment.yaml")
    limits = dataclasses.replace(loaded.limits, seconds=20, processes=40)
    return dataclasses.replace(loaded, limits=limits)


@pytest.fixture
def settings(split):
    """Two jobs, and the hidden split of noisy patterns."""
    return Settings(jobs=2, hidden=split)


@pytest.fixture(scope="session")
def isolated():
    """Skips where there is no isolation but limits."""
    trouble = sandbox._trouble("namespaces")
    if trouble:
        pytest.skip(trouble)
    return sandbox.choose()


class Graded(NamedTuple):
    """Grades by name, and the folder of the reports."""

    grades: dict[str, dict]
    out: Path

    def feedback(self, name):
        """A student's page."""
        folder = self.grades[name]["submission"]["folder"]
        return (self.out / "students" / folder / "feedback.html").read_text("utf-8")


@pytest.fixture(scope="session")
def grade_files(tmp_path_factory):
    """A function that grades a class by an assignment's files, without its notebook."""

    def graded(assignment, handed_in, samples):
        """handed_in: by student, the contents of the assignment's files in their order."""
        to, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("graded")
        for student, contents in handed_in.items():
            for file, content in zip(assignment.files, contents, strict=True):
                files.write_bytes(to / student / file.name, content)
        (part,) = (p for p in assignment.parts if all(item.kind == "model" for item in p.items))
        points = sum(item.points for item in part.items)
        alone = dataclasses.replace(
            assignment,
            **{"notebooks": (), "parts": (part,), "points": points, "data": "synthetic"},
            hidden=dataclasses.replace(assignment.hidden, samples=samples),
        )
        secret = out / "secret"
        secret.write_text("01" * 32)
        grades = grade_class(to, alone, out, Settings(jobs=1, secret=secret))
        return Graded({grade["submission"]["name"]: grade for grade in grades}, out)

    return graded


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


@pytest.fixture(scope="session")
def network():
    """A new network, by `Network()`."""
    return Network


@pytest.fixture(scope="session")
def reader(templates):
    """Kernel (24, 784) and bias (24,) that read the patterns of the split."""
    flat = templates.reshape(CLASSES, -1)
    kernel = (flat - flat.mean(axis=0)).astype(np.float32)
    return kernel, -(kernel * flat).sum(axis=1).astype(np.float32) / 2


@pytest.fixture(scope="session")
def forged_files(network, reader):
    """By what they try, the file of the assignment that each wants to be, and its content."""
    kernel, bias = reader
    ones = np.ones((CLASSES, 200), np.float32)

    def with_side(side):
        """The reader's answer, and what else a function adds to it."""
        net = network()
        x = net.flat()
        return net.file(net.add("ADD", [net.dense(x, *reader), side(net, x)], (1, CLASSES)))

    def some_codes(net, x, scale):
        codes = np.random.default_rng(0).integers(-127, 128, (200, PIXELS)).astype(np.int8)
        codes[:, ::2] = 0
        return net.dense(net.dense(x, codes, scales=[scale]), ones)

    def dead_zeros():
        net = network()
        x = net.flat()
        net.dense(x, np.zeros((60, PIXELS), np.float32))
        return net.file(net.dense(x, *reader))

    def unread_inputs():
        net = network()
        half = kernel.copy()
        half[:, ::2] = 0
        return net.file(net.dense(net.flat(), half, bias))

    def pieces():
        net = network()
        x, total = net.flat(), None
        for start in range(0, PIXELS, 16):
            bounds = [
                net.constant(np.array(v, np.int32)) for v in ([0, start], [0, start + 16], [1, 1])
            ]
            part = net.add("STRIDED_SLICE", [x, *bounds], (1, 16), beginMask=1, endMask=1)
            part = net.dense(part, kernel[:, start : start + 16])
            total = part if total is None else net.add("ADD", [total, part], (1, CLASSES))
        return net.file(net.add("ADD", [total, net.constant(bias[None])], (1, CLASSES)))

    def products_elsewhere():
        net = network()
        x = net.flat()
        products = net.add("MUL", [x, net.constant(kernel)], (CLASSES, PIXELS))
        axis = net.constant(np.array([1], np.int32))
        sums = net.add("SUM", [products, axis], (CLASSES,))
        row = net.constant(np.array([1, CLASSES], np.int32))
        sums = net.add("RESHAPE", [sums, row], (1, CLASSES))
        sums = net.add("ADD", [sums, net.constant(bias[None])], (1, CLASSES))
        return net.file(net.add("ADD", [sums, some_codes(net, x, 1e-9)], (1, CLASSES)))

    def answers_by_row():
        net = network()
        rows = net.constant(np.eye(CLASSES, dtype=np.float32)[np.arange(64) % CLASSES])
        begin, one = (net.constant(np.array(v, np.int32)) for v in ([0, 0], [1, 1]))
        size = net.add("SHAPE", [net.input], (4,), "INT32", outType=2)  # of int32
        first, last = (net.constant(np.array([v], np.int32)) for v in (0, 1))
        count = net.add("STRIDED_SLICE", [size, first, last, last], (1,), "INT32")
        width = net.constant(np.array([CLASSES], np.int32))
        end = net.add("CONCATENATION", [count, width], (2,), "INT32")
        answer = net.add("STRIDED_SLICE", [rows, begin, end, one], (1, CLASSES))
        kept = net.dense(net.flat(), np.zeros((CLASSES, PIXELS), np.float32))
        return net.file(net.add("ADD", [answer, kept], (1, CLASSES)))

    return {
        "zeros that reach no output": ("pruned", dead_zeros()),
        "zeros of no effect": ("pruned", with_side(lambda n, x: some_codes(n, x, 1e-30))),
        "zeros for inputs that nobody reads": ("pruned", unread_inputs()),
        "a kernel in pieces": ("four_bits", pieces()),
        "floats in other operators": ("int8", products_elsewhere()),
        "answers by the row": ("float", answers_by_row()),
    }
