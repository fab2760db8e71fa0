"""What the grader reads from a model file besides how well it does: of what is live, as it runs.

Dead operators and tensors count for nothing, shapes are those that the runtime has found, and every
constant that data meets is a weight, whatever operator holds it. What a file may boast of (zeros, a
type that an assignment wants to see) is counted only where the outputs depend on it, and a type of
several only where it carries what the file is worth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from labkit import measure
from labkit.measure.coding import index_width
from labkit.measure.graph import Graph, Tensor
from labkit.measure.inspection import CHANNEL_AXIS, UNPACKING, Inspection
from labkit.measure.levels import levels

#: Up to this share of all numbers, constants of other operators than layers are shifts and scales
#: (of a normalisation that could not be folded), not weights.
SHIFTS = 0.05
#: A tensor does something if the outputs without it are another, by this share of their spread.
EFFECT = 0.02
#: A type carries what a file is worth if without its weights this share of it is lost.
CARRIES = 0.5
#: Of so many tensors, the largest ones, it is tried.
TRIED = 64
_REAL_BITS = 32
_TYPES = ("weight_types", "bias_types", "activation_types", "input_types", "output_types")


def figures(
    content: bytes, graph: Graph, samples: np.ndarray, lost: Callable[[bytes], float]
) -> dict:
    """Figures of a file that runs.

    Args:
        graph: of the file.
        samples: float (N, ...), what the file reads; the tensors' effect is tried on them.
        lost: of what the file is worth, in a changed file: 0 for none of it, 1 for all.

    Raises:
        ValueError: it holds no weights.
        ModelFileError: it does not run.
    """
    model = _having_run(content, samples[:1])
    graph = graph.with_shapes(model.shapes)
    found = measure.inspect(graph)
    kernels, numbers = _kernels(found.weights)
    if not kernels["values"].sum():
        raise ValueError("the file holds no weights")
    kernels = kernels.assign(does=_does(content, graph, kernels, samples))
    dense = {o.inputs[0]: model.value(o.outputs[0]) for o in graph.operators if o.name == "DENSIFY"}
    kernels["kept"], kernels["zeros"] = _counted(graph, kernels, dense)
    biases = found.weights[found.weights["role"] == "bias"]
    best = measure.coding(found)["best (bits)"]  # in the order of the weights
    return {
        "gzip_bytes": measure.size(content).gzip_bytes,
        "parameters": found.parameters,
        "weight_bits": found.weight_bits,
        "coded_bits": int(best.sum()) + _scale_bits(graph, found.weights),
        "storage_bits": int(kernels["bits"].max()),
        **_levels(graph, kernels, numbers.assign(best=best.loc[numbers.index])),
        "bias_code_bits": max(1, index_width(biases["unique"].max())) if len(biases) else 0,
        "sparsity": _sparsity(graph, kernels),
        "macs": found.macs if found.macs is None else int(found.macs),
        **{name: list(getattr(found, name)) for name in _TYPES},
        "weight_types": sorted(set(kernels["type"])),
        "shares": {
            name: _shares(table, carrying(content, graph, table, lost))
            for name, table in (("weight_types", kernels), ("activation_types", _layers(found)))
        },
    }


def _having_run(content: bytes, sample: np.ndarray) -> measure.TFLiteModel:
    """The file, run by the kernels that tell all shapes, or by others if those cannot."""

    def run(reference: bool) -> measure.TFLiteModel:
        model = measure.TFLiteModel(content, threads=1, reference=reference, batch=1)
        model.predict(sample)
        return model

    try:
        return run(reference=True)
    except measure.ModelFileError:
        return run(reference=False)


def _kernels(weights: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `Inspection.weights` that are weights, and those of all numbers but biases.

    They are the same unless the constants besides kernels are few.
    """
    numbers = weights[weights["role"] != "bias"]
    kernels = weights[weights["role"] == "weight"]
    others = numbers["values"].sum() - kernels["values"].sum()
    return (kernels if others <= SHIFTS * numbers["values"].sum() else numbers), numbers


def _levels(graph: Graph, kernels: pd.DataFrame, numbers: pd.DataFrame) -> dict[str, int]:
    """Bits of a weight and distinct weights in a channel, as far as there are enough to tell.

    Bits are those of the widest kernel's indices, and at least the mean of all that do something,
    with codebooks, steps and scales: what is cut into small tensors has few distinct values in
    each, and pays with more codebooks.
    """
    found = {
        row.tensor: levels(graph.tensors[row.tensor], row.operator, row.role)
        for row in numbers.itertuples()
    }
    does = kernels[kernels["does"]]
    rows = numbers[numbers["tensor"].isin(does["tensor"])] if len(does) else numbers
    paid = sum(min(found[row.tensor].bits, row.best) for row in rows.itertuples())
    mean = (paid + _scale_bits(graph, rows)) / max(
        1, (does if len(does) else kernels)["kept"].sum()
    )
    index = [found[tensor].index_bits for tensor in kernels["tensor"]]
    usual = round(np.average(index, weights=kernels["values"]))
    codes = [graph.tensors[tensor].codes.ravel() for tensor in kernels["tensor"]]
    together = len(np.unique(np.concatenate(codes)))
    return {
        "code_bits": max(*index, round(mean)),
        "unique_per_channel": max(
            int(kernels["unique per channel"].max()), min(2**usual, together)
        ),
    }


def _scale_bits(graph: Graph, weights: pd.DataFrame) -> int:
    return _REAL_BITS * sum(len(graph.tensors[i].scales) for i in weights["tensor"])


def _sparsity(graph: Graph, kernels: pd.DataFrame) -> float:
    """Share of zeros among weights that do something.

    A filter of zeros, or an input that no filter reads, is no pruned weight: it may as well not be
    there. Of what does nothing, zeros do not count.
    """
    zeros = (kernels["zeros"] * kernels["does"]).sum()
    values = (kernels["kept"] - kernels["zeros"] * ~kernels["does"]).sum()
    return float(zeros / values) if values else 0.0


def _counted(
    graph: Graph, kernels: pd.DataFrame, dense: dict[int, np.ndarray]
) -> tuple[list[int], list[int]]:
    """Of each kernel the weights without filters and inputs of zeros alone, and zeros among them.

    Args:
        dense: values of sparse tensors, by number; of others no zeros are counted.
    """
    kept, zeros = [], []
    for row in kernels.itertuples():
        tensor = graph.tensors[row.tensor]
        zero = tensor.along_axis(tensor.zero_points) if len(tensor.scales) else 0
        is_some = np.atleast_2d(dense.get(tensor.index, tensor.codes) != zero)
        for axis in (CHANNEL_AXIS.get(row.operator, 0), is_some.ndim - 1):
            if is_some.ndim == 2 and len(is_some) == 1:
                break  # a row of numbers is no filter
            rest = tuple(a for a in range(is_some.ndim) if a != axis)
            is_some = np.compress(is_some.any(axis=rest), is_some, axis=axis)
        kept.append(is_some.size)
        zeros.append(is_some.size - int(is_some.sum()))
    return kept, zeros


def _does(content: bytes, graph: Graph, kernels: pd.DataFrame, samples: np.ndarray) -> list[bool]:
    """Whether each kernel does something, as far as a file may boast of it: else it is believed.

    It may boast of zeros, of a type, and of many weights in few bits.
    """
    boasts = kernels
    if kernels["type"].nunique() == 1:
        is_large = kernels["values"] > SHIFTS * kernels["values"].sum()
        boasts = kernels[is_large | (kernels["sparsity"] > SHIFTS)]
    tried = boasts.nlargest(TRIED, "values")["tensor"]
    does = effective(content, [graph.tensors[i] for i in tried], samples) if len(tried) else set()
    believed = set(kernels["tensor"]) - set(boasts["tensor"])
    return [tensor in does | believed for tensor in kernels["tensor"]]


def effective(content: bytes, tensors: list[Tensor], samples: np.ndarray) -> set[int]:
    """Numbers of the constants of a file without which its outputs are others."""

    def outputs(model: bytes) -> np.ndarray:
        return measure.TFLiteModel(model, threads=1, batch=1).predict(samples)

    usual = outputs(content)
    spread = np.linalg.norm(usual - usual.mean(axis=0))
    found = set()
    for tensor in tensors:
        try:
            changed = outputs(_without(content, tensor))
        except measure.ModelFileError:
            continue
        if np.linalg.norm(changed - usual) > EFFECT * spread:
            found.add(tensor.index)
    return found


def carrying(
    content: bytes, graph: Graph, table: pd.DataFrame, lost: Callable[[bytes], float]
) -> set[str]:
    """Types without whose weights a file is not worth what it is.

    Args:
        table: "type" and number of the "tensor" of each weight.
        lost: as of `figures`.
    """
    types = set(table["type"])
    if len(types) == 1:
        return types
    found = set()
    for name, rows in table.groupby("type"):
        numbers = {int(number) for number in rows["tensor"] if number >= 0}
        try:
            if not lost(_without(content, *(graph.tensors[n] for n in numbers))) < CARRIES:
                found.add(name)
        except measure.ModelFileError:
            continue
    return found


def _without(content: bytes, *tensors: Tensor) -> bytes:
    """The file with zeros in place of constants."""
    changed, first = bytearray(content), _address(np.frombuffer(content, np.uint8))
    for tensor in tensors:
        start = _address(tensor.data) - first
        zeros = np.zeros(len(tensor.data), np.uint8)
        if len(tensor.scales) and tensor.bits >= 8 and not tensor.is_sparse:
            points = np.broadcast_to(tensor.along_axis(tensor.zero_points), tensor.shape)
            zeros = np.frombuffer(points.astype(tensor.codes.dtype).tobytes(), np.uint8)
        changed[start : start + len(zeros)] = zeros.tobytes()
    return bytes(changed)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _layers(found: Inspection) -> pd.DataFrame:
    """Of each layer the type of what it multiplies by its weights, how often ("values"), and the
    number of the constant that these are (-1 for none).
    """
    graph = found.graph
    unpacked = {o.outputs[0]: o.inputs[0] for o in graph.operators if o.name in UNPACKING}
    rows = []
    for operator, count in zip(graph.operators, found.operators["MACs"], strict=True):
        if count:
            kernel = operator.inputs[1]
            while kernel in unpacked:
                kernel = unpacked[kernel]
            is_constant = graph.tensors[kernel].is_constant
            kind = graph.tensors[operator.inputs[0]].type
            rows.append((kind, int(count), kernel if is_constant else -1, True))
    return pd.DataFrame(rows, columns=["type", "values", "tensor", "does"])


def _shares(table: pd.DataFrame, types: set[str]) -> dict[str, float]:
    """Share of some types in all values; what does nothing is in no share."""
    total = float(table["values"].sum())
    counted = table[table["does"] & table["type"].isin(types)]
    return {name: float(n) / total for name, n in counted.groupby("type")["values"].sum().items()}
