"""The TFLite runtime behind one class: images in, class probabilities out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labkit import runtime
from labkit.measure import trial
from labkit.measure.graph import ModelFileError, read_bytes, read_graph

#: Images a step where the file allows it. Measured on the baseline: an int8 image takes 25 µs
#: alone, 8 in steps of 16, 6 from 64 on; 16x8 takes 0.8 ms in steps of any size.
BATCH = 64


class TFLiteModel:
    """A `.tflite` model that takes and returns floats, whatever types its file has.

    Args:
        source: path of the file, or its bytes.
        threads: CPU threads of the runtime.
        reference: compute with the plain reference kernels, which are slower: the fast ones may
            round an integer sum the other way.
        batch: samples per step where the file allows it; with 1 none is computed beside another.

    Raises:
        ModelFileError: not a model, damaged, with operators that the runtime does not have, or
            one that would end the process.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        threads: int = 2,
        reference: bool = False,
        batch: int = BATCH,
    ):
        # Read by Python first: an index out of bounds ends the process inside the runtime.
        content = read_bytes(source)
        self._where = str(source) if isinstance(source, (str, Path)) else "the model"
        graph = read_graph(content, self._where)
        trial.survived(content, graph, self._where, reference)
        # Of images of any size there is nothing to lay out yet: 1 × 1 may be too small to run.
        self._is_ready = not any(-1 in graph.tensors[i].signature[1:] for i in graph.inputs)
        self._interpreter = self._load(content, threads, reference)
        # An LSTM's state survives from one run to the next: such models start afresh each time.
        self._is_stateful = any(tensor.is_variable for tensor in graph.tensors)
        self._can_resize = all(graph.tensors[i].signature[:1] == (-1,) for i in graph.inputs)
        self._inputs, self._outputs = self._ends()
        self.threads = threads
        self.batch = batch

    def _load(self, content: bytes, threads: int, reference: bool):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        try:
            with runtime.captured_stderr():  # the first model of a process prints a line
                interpreter = Interpreter(
                    model_content=content,
                    num_threads=threads,
                    experimental_op_resolver_type=kernels,
                )
                if self._is_ready:
                    interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"{self._where} cannot be run by LiteRT: {error}") from error
        return interpreter

    def _ends(self) -> tuple[dict[str, int], dict[str, int]]:
        """Places of inputs and outputs by name; by the signature's names where there is one."""
        interpreter = self._interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        signatures = list(interpreter.get_signature_list())
        found = []
        for details, kind in ((inputs, "input"), (outputs, "output")):
            names = {d["index"]: d["name"] for d in details}
            if len(signatures) == 1 and len(details) > 1:
                runner = interpreter.get_signature_runner(signatures[0])
                signed = getattr(runner, f"get_{kind}_details")()
                names |= {d["index"]: name for name, d in signed.items()}
            found.append({names[d["index"]]: place for place, d in enumerate(details)})
        return found[0], found[1]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the file's signature if it has one."""
        return tuple(self._inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch; -1 is a dimension of any length."""
        details = self._interpreter.get_input_details()[0]
        return tuple(int(d) for d in details["shape_signature"][1:])

    @property
    def input_type(self) -> str:
        """Type of the file's input tensor, for example "int8"."""
        return np.dtype(self._interpreter.get_input_details()[0]["dtype"]).name

    @property
    def output_type(self) -> str:
        """Type of the file's output tensor, for example "int8"."""
        return np.dtype(self._interpreter.get_output_details()[0]["dtype"]).name

    @property
    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Shape of each tensor of the main graph by its number, as the runtime has found it last.

        Complete for a `reference` model that has run: others leave tensors to faster kernels.
        """
        details = self._interpreter.get_tensor_details()
        return {d["index"]: tuple(int(n) for n in d["shape"]) for d in details}

    def value(self, tensor: int) -> np.ndarray:
        """What a tensor of the main graph holds that lasts: a constant, or one made dense."""
        return self._interpreter.get_tensor(tensor)

    def predict(self, x):
        """Run the model.

        Inputs of a file in integers are quantised with its scale and zero point, its outputs are
        dequantised.

        Args:
            x: float (N, *input_shape), finite; or codes, of the very integer type that a file in
                integers has; of several inputs a dictionary by name, or a sequence in the order of
                `input_names`.

        Returns:
            float32 (N, ...), the model's outputs; of several outputs a dictionary by name.

        Raises:
            ValueError: x is empty, of another shape, not finite, or of integers that are not the
                file's codes.
            ModelFileError: the runtime fails.
        """
        arrays = self._checked(x)
        count = len(arrays[0])
        step = self.batch if self._can_resize and not self._is_stateful else 1
        parts = [self._run([a[i : i + step] for a in arrays]) for i in range(0, count, step)]
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return outputs[0] if len(outputs) == 1 else dict(zip(self._outputs, outputs, strict=True))

    def _checked(self, x) -> list[np.ndarray]:
        """An array for each input, in the file's order."""
        names = list(self._inputs)
        if isinstance(x, dict):
            if set(x) != set(names):
                raise ValueError(
                    f"x has the inputs {sorted(x)}, {self._where} expects {sorted(names)}."
                )
            given = [x[name] for name in names]
        else:
            given = list(x) if len(names) > 1 and isinstance(x, (tuple, list)) else [x]
        if len(given) != len(names):
            raise ValueError(
                f"x has {len(given)} arrays, {self._where} expects {len(names)} inputs: "
                f"{', '.join(names)}."
            )
        arrays = [
            self._checked_input(part, self._interpreter.get_input_details()[place])
            for part, place in zip(given, self._inputs.values(), strict=True)
        ]
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(
                f"the inputs have {[len(a) for a in arrays]} samples, expected one number."
            )
        return arrays

    def _checked_input(self, x, details: dict) -> np.ndarray:
        x = of_its_type(np.asarray(x), details, self._where)
        expected = tuple(int(d) for d in details["shape_signature"][1:])
        fits = len(x.shape) == len(expected) + 1 and all(
            e in (-1, d) for e, d in zip(expected, x.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"x has the shape {x.shape}, {self._where} expects (N, "
                f"{', '.join(map(str, expected))})."
            )
        if not len(x):
            raise ValueError("x is empty: there is nothing to run the model on.")
        if not np.isfinite(x).all():
            bad = int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0])
            raise ValueError(f"x holds NaN or infinity, first in row {bad}.")
        return x

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Run one batch; outputs in the order of their names."""
        interpreter = self._interpreter
        places = list(self._inputs.values())
        try:
            details = [interpreter.get_input_details()[place] for place in places]
            fits = all(tuple(d["shape"]) == x.shape for d, x in zip(details, arrays, strict=True))
            if not (fits and self._is_ready):
                for d, x in zip(details, arrays, strict=True):
                    interpreter.resize_tensor_input(d["index"], x.shape)
                interpreter.allocate_tensors()
                self._is_ready = True
            if self._is_stateful:
                interpreter.reset_all_variables()
            for d, x in zip(details, arrays, strict=True):
                interpreter.set_tensor(d["index"], quantize(x, d))
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"{self._where} fails when it runs: {error}") from error
        outputs = []
        for place in self._outputs.values():
            details = interpreter.get_output_details()[place]
            y = dequantize(interpreter.get_tensor(details["index"]), details)
            if len(y) != len(arrays[0]):
                raise ModelFileError(
                    f"{self._where} returns {len(y)} rows for {len(arrays[0])} samples."
                )
            outputs.append(y)
        return outputs


def of_its_type(x: np.ndarray, details: dict, where: str) -> np.ndarray:
    """What an input is given: its codes as they are, whole numbers if it counts, else floats.

    Args:
        x: of any type.
        details: type and quantisation of the input, as the runtime has them.
        where: what an error calls the file.

    Raises:
        ValueError: integers that are neither the input's codes nor, without a scale, in its range.
    """
    dtype, is_quantized = np.dtype(details["dtype"]), bool(details["quantization"][0])
    is_whole = x.dtype.kind in "iu"
    if dtype.kind == "f" or (is_quantized and not is_whole):
        return np.asarray(x, np.float32)
    if is_quantized:
        if x.dtype != dtype:
            raise ValueError(
                f"x is {x.dtype}; {where} takes floats as in training, or its own codes, {dtype}: "
                "scale the values as for the training (pixels / 255, for example)."
            )
        return x
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    whole = x if is_whole or x.dtype.kind == "b" else np.rint(np.nan_to_num(x.astype(float)))
    if x.size and ((whole != x).any() or whole.min() < limits[0] or whole.max() > limits[1]):
        raise ValueError(
            f"{where} takes whole numbers ({dtype}) without a scale: x holds others, or some that "
            f"do not fit into {dtype}."
        )
    return whole.astype(dtype)


def quantize(x: np.ndarray, details: dict) -> np.ndarray:
    """Codes of float values for an input of the runtime: round(x / S) + Z, clipped.

    Halves are rounded away from zero, as TFLite's QUANTIZE operator does. What is of an integer
    input's own type is its codes.
    """
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f" or x.dtype == dtype:
        return x.astype(dtype)
    scale, zero_point = _parameters(details)
    steps = x / scale
    codes = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + zero_point
    limits = np.iinfo(dtype)
    return np.clip(codes, limits.min, limits.max).astype(dtype)


def dequantize(codes: np.ndarray, details: dict) -> np.ndarray:
    """Float32 values of an output of the runtime: S (q - Z)."""
    if np.dtype(details["dtype"]).kind == "f":
        return codes.astype(np.float32)
    scale, zero_point = _parameters(details)
    return scale * (codes.astype(np.float32) - np.float32(zero_point))


def _parameters(details: dict) -> tuple[np.float32, int]:
    """Scale and zero point of an input or output; an integer tensor without them is taken as is."""
    scale, zero_point = details["quantization"]
    return (np.float32(scale), zero_point) if scale else (np.float32(1), 0)
