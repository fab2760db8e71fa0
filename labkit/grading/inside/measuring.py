"""Measures model files in a child process. Run as a program by `labkit.grading.box.execution`.

A file is parsed before anything interprets it, its operators must be on the list below, and it is
run in this process, which holds nothing else and may be killed. TensorFlow is not imported.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np

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
    from labkit.measure import ModelFileError, read_graph

    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        graph = read_graph(content, "the file")
        operators = sorted({operator.name for operator in graph.operators})
        refused = [name[:60] for name in operators if name not in ALLOWED]
        if refused:
            return facts | {"problem": f"operators that are not allowed: {', '.join(refused)}"}
        if len({operator.subgraph for operator in graph.operators}) > 1:
            return facts | {"problem": "several subgraphs: control flow is not allowed"}
        if _computes_weights(graph):
            return facts | {"problem": "weights that are computed at run time are not allowed"}
        return facts | {"operators": operators} | _figures(content) | _merit(content, split, metric)
    except (ModelFileError, ValueError, IndexError, MemoryError, RecursionError) as error:
        return facts | {"problem": str(error)[:300]}


def _computes_weights(graph) -> bool:
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


def _figures(content: bytes) -> dict:
    from labkit import measure

    found = measure.inspect(content)
    kernels = found.weights[found.weights["role"] == "weight"]
    biases = found.weights[found.weights["role"] == "bias"]
    if kernels.empty:
        raise ValueError("the file holds no weights")
    values = kernels["values"].sum()
    figures = {
        "gzip_bytes": measure.size(content).gzip_bytes,
        "parameters": found.parameters,
        "weight_bits": found.weight_bits,
        "storage_bits": int(kernels["bits"].max()),
        "code_bits": _bits(kernels["unique per channel"]),
        "bias_code_bits": _bits(biases["unique"]) if len(biases) else 0,
        "unique_per_channel": int(kernels["unique per channel"].max()),
        "sparsity": float((kernels["sparsity"] * kernels["values"]).sum() / values),
        "macs": int(found.macs),
    }
    for name in ("weight_types", "bias_types", "activation_types", "input_types", "output_types"):
        figures[name] = list(getattr(found, name))
    if hasattr(measure, "coding"):
        figures["coded_bits"] = int(measure.coding(content)["best (bits)"].sum())
    return figures


def _bits(unique) -> int:
    return max(1, math.ceil(math.log2(max(int(unique.max()), 1))))


def _merit(content: bytes, split: dict, name: str) -> dict:
    from labkit.measure import TFLiteModel
    from labkit.measure.metrics import KNOWN

    metric, model = KNOWN[name], TFLiteModel(content, threads=1)

    def value(part: str) -> float:
        x = split[f"{part}x"] / np.float32(split["scale"])
        if split.get("latest") and len(model.input_shape) == x.ndim - 2:
            x = x[:, -1]  # of a window what a file of one sample reads
        found = float(metric.compute(split[f"{part}y"], model.predict(x)))
        if not math.isfinite(found):
            raise ValueError(f"its {name} is not finite")
        return found

    found = {name: value("")}
    # A file that reads the hidden samples well has not merely memorised the public ones.
    is_good = metric.unit == "fraction" and found[name] >= SUSPICIOUS
    if len(split["public_x"]) and not is_good:
        found[f"public_{name}"] = value("public_")
    return found


if __name__ == "__main__":
    main()
