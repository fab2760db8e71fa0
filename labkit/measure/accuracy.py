"""Accuracy of a model file, measured by running the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labkit.measure.coding import coding
from labkit.measure.inspection import inspect
from labkit.measure.metrics import ACCURACY, Metric, changed, sqnr
from labkit.measure.size import size
from labkit.measure.tflite import TFLiteModel


def accuracy(source: str | Path | bytes, x: np.ndarray, y: np.ndarray, threads: int = 2) -> float:
    """Fraction of images whose largest output is their class (top-1).

    Outputs of few bits tie now and then; the class with the lower number wins, as in
    `numpy.argmax`. A single output is the probability of the second of two classes.

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
    return ACCURACY.compute(y, _outputs(source, x, y, threads))


def _outputs(source, x, y, threads: int = 2):
    """What a file makes of samples, once it is clear that there are as many targets."""
    _as_many(x, y)
    return TFLiteModel(source, threads=threads).predict(x)


def _as_many(x, y, name: str = "x") -> None:
    counts = {len(part) for part in (*_parts(x), *_parts(y))}
    if len(counts) != 1:
        raise ValueError(f"{name} and y have {sorted(counts)} samples, expected as many of each.")


def _parts(samples) -> tuple:
    """The arrays of samples that may be a dictionary, or a sequence of several inputs."""
    if isinstance(samples, dict):
        return tuple(samples.values())
    return tuple(samples) if isinstance(samples, tuple) else (samples,)


def evaluate(
    source: str | Path | bytes, x, y, metrics: Sequence[Metric] = (ACCURACY,), outputs=None
) -> dict[str, float]:
    """The figures that the ledger keeps of a model file.

    Args:
        source: path of the file, or its bytes.
        x: float (N, ...), the test samples; of several inputs a dictionary by name, or a tuple.
        y: their targets, as the metrics take them, for example integer (N,).
        metrics: of the outputs; the file is run once for all of them.
        outputs: what the file has made of x already, from `TFLiteModel.predict`; it is not run
            again then.

    Returns:
        each metric by its name (accuracy as a fraction), "bytes", "gzip_bytes", "weight_bits" (as
        stored), "coded_bits" (each tensor in the shortest of the codes of `coding`) and
        "peak_activation_bytes" (the working memory that activations need at least).

    Raises:
        ValueError: x and y do not fit each other or the model.
        ModelFileError: not a model, or damaged.
    """
    if outputs is None:
        outputs = _outputs(source, x, y)
    else:
        _as_many(outputs, y, "the outputs")
    measured, found = size(source), inspect(source)
    return {
        **{metric.name: float(metric.compute(y, outputs)) for metric in metrics},
        "bytes": measured.bytes,
        "gzip_bytes": measured.gzip_bytes,
        "weight_bits": found.weight_bits,
        "coded_bits": int(coding(found)["best (bits)"].sum()),
        "peak_activation_bytes": found.peak_activation_bytes,
    }


def compare(source: str | Path | bytes, reference: str | Path | bytes, x, y) -> dict[str, float]:
    """What still moves where accuracy does not: a file against the one that it was made from.

    Args:
        source: path of the file, or its bytes.
        reference: of the float file; the same for "harder_accuracy" alone.
        x, y: samples as `evaluate` takes them, best such as are hard to read.

    Returns:
        "harder_accuracy" (a fraction) and, against another file, "changed_answers" (samples that
        get another class) and "output_sqnr" (decibels, left out where no output differs).

    Raises:
        ValueError: x and y do not fit each other or the model.
        ModelFileError: not a model, or damaged.
    """
    outputs = _outputs(source, x, y)
    figures = {"harder_accuracy": ACCURACY.compute(y, outputs)}
    if source == reference:
        return figures
    expected = _outputs(reference, x, y)
    figures |= {
        "changed_answers": changed(expected, outputs),
        "output_sqnr": sqnr(expected, outputs),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}
