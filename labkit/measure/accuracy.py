"""Accuracy of a model file, measured by running the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labkit.measure.coding import coding
from labkit.measure.inspection import inspect
from labkit.measure.size import size
from labkit.measure.tflite import TFLiteModel


def accuracy(source: str | Path | bytes, x: np.ndarray, y: np.ndarray, threads: int = 2) -> float:
    """Fraction of images whose largest output is their class (top-1).

    Outputs of few bits tie now and then; the class with the lower number wins, as in
    `numpy.argmax`.

    Args:
        source: path of the model file, or its bytes.
        x: float (N, ...), the images.
        y: integer (N,), their classes.
        threads: CPU threads of the runtime.

    Returns:
        accuracy in [0, 1].

    Raises:
        ValueError: x and y do not fit each other or the model.
        ModelFileError: not a model, or damaged.
    """
    x, y = np.asarray(x), np.asarray(y)
    if y.ndim != 1 or len(x) != len(y) or y.dtype.kind not in "iu":
        raise ValueError(
            f"x has the shape {x.shape} and y {y.shape} ({y.dtype}): expected one integer class "
            "for each image."
        )
    outputs = TFLiteModel(source, threads=threads).predict(x)
    if outputs.ndim != 2 or y.min() < 0 or y.max() >= outputs.shape[1]:
        raise ValueError(
            f"y holds the classes {y.min()} to {y.max()}, the model's outputs have the shape "
            f"{outputs.shape}: expected classes from 0 to one below the number of outputs."
        )
    return float(np.mean(outputs.argmax(axis=1) == y))


def evaluate(source: str | Path | bytes, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The figures that the ledger keeps of a model file.

    Args:
        source: path of the file, or its bytes.
        x: float (N, ...), the test images.
        y: integer (N,), their classes.

    Returns:
        "accuracy" (fraction), "bytes", "gzip_bytes", "weight_bits" (as stored) and "coded_bits"
        (each tensor in the shortest of the codes of `coding`).

    Raises:
        ValueError: x and y do not fit each other or the model.
        ModelFileError: not a model, or damaged.
    """
    measured = size(source)
    return {
        "accuracy": accuracy(source, x, y),
        "bytes": measured.bytes,
        "gzip_bytes": measured.gzip_bytes,
        "weight_bits": inspect(source).weight_bits,
        "coded_bits": int(coding(source)["best (bits)"].sum()),
    }
