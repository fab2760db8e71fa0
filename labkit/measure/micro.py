"""A `.tflite` file on a microcontroller: run by TensorFlow Lite Micro's own interpreter.

The package `tflite-micro` brings that interpreter to Python. It runs in a process of its own: some
files end it. There is no other source for its arena than the interpreter itself, and its kernels
are the C++ reference ones that a device has without a vendor's library.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from labkit.measure.graph import Graph, ModelFileError, Tensor, read_bytes, read_graph
from labkit.measure.tflite import TFLiteModel, dequantize, of_its_type, quantize

#: Of a file without codes: what float32 kernels that add in another order may differ by.
FLOAT_TOLERANCE = 1e-4

_CHILD = Path(__file__).with_name("micro_child.py")
MISSING = (
    "TensorFlow Lite Micro is not installed: pip install 'labkit[device]' (it has wheels for "
    "Linux on x86-64 only)."
)


@dataclass(frozen=True)
class MicroReport:
    """What TensorFlow Lite Micro makes of a file.

    Attributes:
        runs: whether it runs; None where the package is not installed.
        reason: why not, one sentence; empty if it runs.
        operators: those of the file, each once, in the order of execution.
        arena_bytes: the smallest arena that works, a multiple of 16. Measured on this computer,
            whose pointers have 64 bits: a device with 32 needs less for its structures.
        activation_bytes: the part of the arena that holds activations, the same on any device; the
            rest is the interpreter's structures.
        outputs: float32 (N, ...), of the inputs given; of several outputs the first.
        identical: share of the output values that are the same as those of LiteRT's reference
            kernels.
        within: share of them that differ by a code at most (`FLOAT_TOLERANCE` without codes).
        difference: the largest one between them: in codes, or the value's unit if `step` is None.
        step: value of one code of the output; None for a file that computes in floating point.
    """

    runs: bool | None
    reason: str = ""
    operators: tuple[str, ...] = ()
    arena_bytes: int | None = None
    activation_bytes: int | None = None
    outputs: np.ndarray | None = field(default=None, repr=False)
    identical: float | None = None
    within: float | None = None
    difference: float | None = None
    step: float | None = None
    verdict: str = "runs"  # for a cell of a table

    def __str__(self) -> str:
        """One or two sentences."""
        if not self.runs:
            return self.reason
        text = f"runs in an arena of {self.arena_bytes:,} bytes"
        if self.difference is None:
            return f"{text}."
        unit, tolerance = (" codes", "a code") if self.step else ("", f"{FLOAT_TOLERANCE:g}")
        return (
            f"{text}; {self.identical:.2%} of the outputs are LiteRT's, {self.within:.2%} within "
            f"{tolerance}, the largest difference is {self.difference:.3g}{unit}."
        )


def available() -> bool:
    """Whether the package `tflite-micro` is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def run(
    source: str | Path | bytes, x: np.ndarray | None = None, seconds: float = 60
) -> MicroReport:
    """Run a file in TensorFlow Lite Micro.

    Args:
        source: path of the file, or its bytes.
        x: float (N, *input shape), or codes of the file's own integer type, inputs to compare on
            with LiteRT; of several inputs a list of arrays. An LSTM's state is reset before each.
            Without: the file runs on zeros.
        seconds: the time that it may take.

    Raises:
        ModelFileError: not a model, or damaged.
        ValueError: x is of another shape, or not finite.

    Example:
        >>> print(run("har_int8.tflite", windows[:200]))
        runs in an arena of 8,128 bytes; 99.98% of the outputs are LiteRT's, ...
    """
    return run_all([source], x, seconds)[0]


def run_all(
    sources: Iterable[str | Path | bytes],
    x: np.ndarray | None = None,
    seconds: float = 60,
    compare: bool = True,
) -> list[MicroReport]:
    """`run` for several files, in one process: starting it takes longer than a small file.

    Args:
        sources: paths of the files, or their bytes.
        x, seconds: as `run` takes them, the time for each file.
        compare: with LiteRT, which does not run every file that TensorFlow Lite Micro runs.
    """
    contents = [read_bytes(source) for source in sources]
    graphs = [read_graph(content) for content in contents]
    if not available():
        return [
            MicroReport(None, MISSING, _operators(graph), verdict="not installed")
            for graph in graphs
        ]
    tasks = [
        {"model": np.frombuffer(content, np.uint8), "outputs": len(graph.outputs)}
        | _codes(graph, x)
        for content, graph in zip(contents, graphs, strict=True)
    ]
    return [
        _report(graph, answer, content, x, compare)
        for graph, answer, content in zip(graphs, answers(tasks, seconds), contents, strict=True)
    ]


def table(
    sources: Mapping[str, str | Path | bytes], x: np.ndarray | None = None, seconds: float = 60
) -> pd.DataFrame:
    """A row per file: whether it runs, its bytes and arena, how its outputs agree with LiteRT's.

    Args:
        sources: path or bytes by name.
        x, seconds: as `run` takes them.

    Returns:
        columns "microcontroller" ("runs" or what is refused), "bytes", "arena (bytes)",
        "activations (bytes)"; with x "identical (%)", "within a code (%)", "largest difference"
        (text, with its unit).
    """
    rows = []
    reports = run_all(sources.values(), x, seconds)
    for (name, source), report in zip(sources.items(), reports, strict=True):
        row = {
            "file": name,
            "microcontroller": report.verdict,
            "bytes": len(read_bytes(source)),
            "arena (bytes)": report.arena_bytes,
            "activations (bytes)": report.activation_bytes,
        }
        if x is not None:
            compared = report.difference is not None
            unit = "" if report.step is None else " codes"
            row["identical (%)"] = round(100 * report.identical, 2) if compared else None
            row["within a code (%)"] = round(100 * report.within, 2) if compared else None
            row["largest difference"] = f"{report.difference:.3g}{unit}" if compared else ""
        rows.append(row)
    counted = ["bytes", "arena (bytes)", "activations (bytes)"]
    return pd.DataFrame(rows).set_index("file").astype(dict.fromkeys(counted, "Int64"))


@dataclass(frozen=True)
class Answer:
    """What a child says of a task: its notes and arrays, what was printed, or how it ended."""

    notes: dict
    arrays: dict[str, np.ndarray]
    printed: str
    end: str = ""


def answers(tasks: list[dict], seconds: float) -> list[Answer]:
    """Do tasks in a child, and the rest in another one after each that ends it.

    Args:
        tasks: arrays by name; `micro_child` says what they mean.
        seconds: the time that a task may take.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, task in enumerate(tasks):
            np.savez(folder / f"{number}.npz", **task)
        found: list[Answer] = []
        while len(found) < len(tasks):
            limit = seconds * (len(tasks) - len(found))
            command = [sys.executable, str(_CHILD), name, str(len(found)), str(len(tasks))]
            try:
                child = subprocess.run(command, capture_output=True, timeout=limit, check=False)
                end = _end(child.returncode)
                error = child.stderr.decode("utf-8", "replace").strip()
            except subprocess.TimeoutExpired:
                end, error = f"took longer than {limit:g} s", ""
            before = len(found)
            while len(found) < len(tasks) and (folder / f"{len(found)}.out.npz").exists():
                found.append(_answer(folder, len(found)))
            if len(found) < len(tasks):
                log = folder / f"{len(found)}.log"
                if not log.exists() and len(found) == before:  # it did not even start
                    raise ModelFileError(f"TensorFlow Lite Micro does not start: {error[-300:]}")
                printed = log.read_text("utf-8", "replace") if log.exists() else ""
                found.append(Answer({}, {}, printed, end))
        return found


def _answer(folder: Path, number: int) -> Answer:
    with np.load(folder / f"{number}.out.npz") as stored:
        arrays = dict(stored)
    notes = json.loads(str(arrays.pop("notes")))
    return Answer(notes, arrays, (folder / f"{number}.log").read_text("utf-8", "replace"))


def _end(status: int) -> str:
    if status < 0:
        return f"ended its process ({signal.Signals(-status).name})"
    return f"ended its process (exit status {status})"


def _codes(graph: Graph, x) -> dict[str, np.ndarray]:
    """The inputs as the file's tensors have them, by the names that the child expects."""
    if x is None:
        return {}
    given = list(x) if isinstance(x, (list, tuple)) and len(graph.inputs) > 1 else [x]
    if len(given) != len(graph.inputs):
        raise ValueError(f"x has {len(given)} arrays, the file has {len(graph.inputs)} inputs.")
    codes = {}
    for place, (index, values) in enumerate(zip(graph.inputs, given, strict=True)):
        tensor = graph.tensors[index]
        values = of_its_type(np.asarray(values), _details(tensor), "the file")
        if tensor.shape[0] != 1:
            raise ValueError(f"the file takes {tensor.shape[0]} samples at a time, expected 1.")
        if values.shape[1:] != tensor.shape[1:] or not len(values):
            raise ValueError(f"x has the shape {values.shape}, expected (N, *{tensor.shape[1:]}).")
        if not np.isfinite(values).all():
            raise ValueError("x holds NaN or infinity.")
        codes[f"x{place:03}"] = quantize(values, _details(tensor))
    return codes


def _details(tensor: Tensor) -> dict:
    """Type and quantisation as the runtime's details give them."""
    scale = float(tensor.scales[0]) if len(tensor.scales) else 0.0
    return {"dtype": np.dtype(tensor.type), "quantization": (scale, int(tensor.zero_points[0]))}


def _report(graph: Graph, answer: Answer, content: bytes, x, compare: bool) -> MicroReport:
    operators = _operators(graph)
    if answer.end or "error" in answer.notes:
        reason, verdict = _refusal(graph, answer)
        return MicroReport(False, reason, operators, verdict=verdict)
    measured = answer.notes["arena"], answer.notes["head"]
    if x is None:
        return MicroReport(True, "", operators, *measured)
    outputs = [
        dequantize(answer.arrays[f"y{place}"], _details(graph.tensors[index]))
        for place, index in enumerate(graph.outputs)
    ]
    if not compare:
        return MicroReport(True, "", operators, *measured, outputs[0])
    expected = TFLiteModel(content, threads=1, reference=True).predict(x)
    expected = list(expected.values()) if isinstance(expected, dict) else [expected]
    step = _step(graph)
    gaps = np.concatenate(
        [np.abs(a - b).ravel() for a, b in zip(outputs, expected, strict=True)]
    ) / np.float32(step or 1)
    gaps = np.round(gaps) if step else gaps
    shares = float((gaps == 0).mean()), float((gaps <= (1 if step else FLOAT_TOLERANCE)).mean())
    return MicroReport(True, "", operators, *measured, outputs[0], *shares, float(gaps.max()), step)


def _step(graph: Graph) -> float | None:
    """Value of a code of the first output; None if it is computed in floating point."""
    tensor = graph.tensors[graph.outputs[0]]
    for operator in graph.operators:
        if tensor.index in operator.outputs and operator.name == "DEQUANTIZE":
            tensor = graph.tensors[operator.inputs[0]]
    return float(tensor.scales[0]) if len(tensor.scales) else None


def _operators(graph: Graph) -> tuple[str, ...]:
    return tuple(dict.fromkeys(operator.name for operator in graph.operators))


def _refusal(graph: Graph, answer: Answer) -> tuple[str, str]:
    """Why a file does not run: a sentence, and a few words for a table."""
    if answer.end:
        return f"TensorFlow Lite Micro {answer.end} on this file.", f"no: {answer.end}"
    lines = [_plain(line) for line in answer.printed.splitlines() if line.strip()]
    failed = re.search(r"Node (\w+) \(number (\d+)\) failed to (\w+)", answer.printed)
    missing = re.search(r"Didn't find op for builtin opcode '(\w+)'", answer.printed)
    if failed and int(failed[2]) < len(graph.operators):
        message = next((line for line in lines if not line.startswith("Node ")), "")
        types = _types(graph, int(failed[2]))
        where = f"{failed[1]} (operator {failed[2]}, {types})"
        return f"TensorFlow Lite Micro refuses {where}: {message}.", f"no: {failed[1]}, {types}"
    if missing:
        return f"TensorFlow Lite Micro has no operator {missing[1]}.", f"no: {missing[1]}"
    said = (lines[0] if lines else answer.notes["error"]).rstrip(".")
    return f"TensorFlow Lite Micro refuses the file: {said}.", "no"


def _plain(line: str) -> str:
    """A line that TFLM printed, without its place in the source, types as they are written here."""
    line = re.sub(r"^\S+\.(cc|h)(:\d+)?\s*", "", line.strip())
    line = re.sub(r"kTfLite(\w+)", lambda m: m[1].lower(), line)
    line = re.sub(r"(.*) was not true\.?", r"it needs \1", line).replace("||", "or")
    return line.rstrip(".")


def _types(graph: Graph, number: int) -> str:
    operator = graph.operators[number]
    sides = (
        [graph.tensors[i].type for i in indices if i >= 0]
        for indices in (operator.inputs[:2], operator.outputs[:1])
    )
    return " → ".join(" × ".join(side) for side in sides)
