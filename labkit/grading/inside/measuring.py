"""Measures model files in a child process. Run as a program by `labkit.grading.box.execution`.

A file is parsed before anything interprets it, its operators must be on the list below, and it is
run in this process, which holds nothing else and may be killed. TensorFlow is not imported.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit.errors import LabkitError

if TYPE_CHECKING:
    from labkit.measure.graph import Graph

#: What convolutional networks need, quantised or not. No control flow, no tables of strings or
#: numbers to look answers up in, no variables, nothing custom and no TensorFlow operator.
ALLOWED = frozenset(
    {
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DENSIFY",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "ELU",
        "EXP",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "NEG",
        "PACK",
        "PAD",
        "PADV2",
        "PRELU",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RSQRT",
        "SHAPE",
        "SOFTMAX",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
    }
)
#: Below this share on the hidden samples, the public ones are read for comparison; errors, which
#: know no such bound, are always compared.
SUSPICIOUS = 0.7
#: So many samples are read once more, in another order.
AGAIN = 200
#: On so many it is tried what a tensor does.
TRIED_ON = 8
#: What this program needs, a statement a line.
IMPORTS = "import labkit.measure\nimport labkit.grading.inside.figures"
HIDDEN, FILES, FIGURES = "hidden.npz", "files", "figures"


def main() -> None:
    """Measure the files that standard input names by its metric, one JSON file of figures each."""
    from labkit.grading.inside import started

    with np.load(HIDDEN, allow_pickle=False) as stored:
        split = {name: stored[name] for name in stored.files}
    started()
    Path(FIGURES).mkdir(exist_ok=True)
    task = json.load(sys.stdin)
    for name in task["files"]:
        # Written first: should the runtime crash on this file, the grader knows which it was.
        result = Path(FIGURES, f"{name}.json")
        result.write_text(json.dumps({"problem": "it crashes the interpreter"}))
        content = Path(FILES, name).read_bytes()
        result.write_text(json.dumps(measure(content, split, task["metric"])))


def measure(content: bytes, split: dict, metric: str = "accuracy") -> dict:
    """All figures of a file, or {"problem": why there are none}.

    Args:
        split: the arrays of `hidden.Split.to_bytes`.
        metric: name of one of labkit's.
    """
    from labkit.grading.inside.figures import figures
    from labkit.measure import read_graph

    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        graph = read_graph(content, "the file")
        problem = refused(graph)
        if problem:
            return facts | {"problem": problem}
        split = _as_read(split, graph)
        samples = split["x"][:TRIED_ON] / np.float32(split["scale"])
        facts["operators"] = sorted({operator.name for operator in graph.live.operators})
        merit, lost = _merit(content, split, metric), _lost(content, split, metric)
        return facts | merit | figures(content, graph, samples, lost)
    except LabkitError as error:
        return facts | {"problem": str(error)[:300]}
    except ValueError as error:
        return facts | {"problem": str(error)[:300] or "its values make no sense"}
    except Exception as error:  # whatever a stranger's file provokes is the file's problem
        return facts | {"problem": f"{type(error).__name__}: {error}"[:300]}


def _as_read(split: dict, graph: Graph) -> dict:
    """The split as a file reads it: of windows, one that takes a sample reads the last."""
    taken = len(graph.tensors[graph.inputs[0]].shape)
    if not split.get("latest") or taken != split["x"].ndim - 1:
        return split
    return split | {part: split[part][:, -1] for part in ("x", "public_x") if len(split[part])}


def refused(graph: Graph) -> str | None:
    """Why a file is not even run: what it is made of, or figures that could not be measured."""
    names = sorted({operator.name for operator in graph.operators})
    others = [name[:60] for name in names if name not in ALLOWED]
    if others:
        return f"operators that are not allowed: {', '.join(others)}"
    if len({operator.subgraph for operator in graph.operators}) > 1:
        return "several subgraphs: control flow is not allowed"
    if _computes_weights(graph):
        return "weights that are computed at run time are not allowed"
    return _disorder(graph)


def _disorder(graph: Graph) -> str | None:
    """What would let a sample's values reach another: memory that is read before it is written."""
    tensors = graph.tensors
    if any(tensors[i].is_variable for i in graph.used):
        return "it keeps variables from one sample to the next"
    written = {t.index for t in tensors if t.is_constant or not t.count} | {-1, *graph.inputs}
    for operator in graph.operators:
        if not written.issuperset(operator.inputs):
            return f"{operator.name} reads what nothing has written before it"
        if written.intersection(operator.outputs):
            return f"{operator.name} writes over what is there already"
        written.update(operator.outputs)
    return None if written.issuperset(graph.outputs) else "nothing writes its output"


def _computes_weights(graph: Graph) -> bool:
    """Whether a layer's weights are no constants: what they are could not be measured."""
    constant = {tensor.index for tensor in graph.tensors if tensor.is_constant}
    for operator in graph.operators:
        if operator.name in ("DEQUANTIZE", "DENSIFY") and operator.inputs[0] in constant:
            constant.add(operator.outputs[0])
    return any(
        operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        and operator.inputs[1] not in constant
        for operator in graph.operators
    )


def _merit(content: bytes, split: dict, name: str) -> dict:
    """The metric on the hidden samples, and on the public ones where that says something."""
    from labkit.measure import TFLiteModel
    from labkit.measure.metrics import KNOWN

    metric, model = KNOWN[name], TFLiteModel(content, threads=1, batch=1)

    def value(part: str) -> float:
        x = split[f"{part}x"] / np.float32(split["scale"])
        outputs = model.predict(x)
        found = float(metric.compute(split[f"{part}y"], outputs))
        if not math.isfinite(found) or np.isnan(outputs).any():
            raise ValueError(f"its {name} is not finite: there are outputs that are no numbers")
        order = np.random.default_rng(0).permutation(len(x))[:AGAIN]
        if not np.array_equal(model.predict(x[order]), outputs[order]):
            raise ValueError("what it makes of a sample depends on the samples before it")
        return found

    found = {name: value("")}
    # A file that reads the hidden samples well has not merely memorised the public ones.
    is_good = metric.unit == "fraction" and found[name] >= SUSPICIOUS
    if len(split["public_x"]) and not is_good:
        found[f"public_{name}"] = value("public_")
    return found


def _lost(content: bytes, split: dict, name: str) -> Callable[[bytes], float]:
    """A function that tells of a changed file how much is lost of what this one is worth.

    All of it: it does no better than if it said the same of every sample.
    """
    from labkit.measure import TFLiteModel
    from labkit.measure.metrics import KNOWN

    metric, x, y = KNOWN[name], split["x"][:AGAIN] / np.float32(split["scale"]), split["y"][:AGAIN]

    def outputs(file: bytes) -> np.ndarray:
        return TFLiteModel(file, threads=1, batch=1).predict(x)

    @cache
    def bounds() -> tuple[float, float]:
        usual = outputs(content)
        constant = np.broadcast_to(usual.mean(axis=0), usual.shape)
        return metric.compute(y, usual), metric.compute(y, constant)

    def lost(changed: bytes) -> float:
        best, none = bounds()
        worth = metric.lost(best, none)
        return metric.lost(best, metric.compute(y, outputs(changed))) / worth if worth > 0 else 1.0

    return lost


if __name__ == "__main__":
    main()
