"""The time that one input takes on this computer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.measure.tflite import TFLiteModel


@dataclass(frozen=True)
class Latency:
    """Time for one input: median and quartiles of the repeats, in milliseconds."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    repeats: int
    threads: int

    def __str__(self) -> str:
        """Median, spread and how it was measured."""
        return (
            f"{self.median_ms:.3g} ms (half of {self.repeats} repeats between "
            f"{self.lower_quartile_ms:.3g} and {self.upper_quartile_ms:.3g} ms, {self.threads} "
            f"thread{'s' if self.threads > 1 else ''})"
        )


def latency(
    source: str | Path | bytes, x: np.ndarray, repeats: int = 50, threads: int = 1
) -> Latency:
    """Time a model on a single input, run after run.

    The median holds against the few runs that other programs disturb. It is a figure of this
    computer and its kernels, not of a device: compare files with one another, no more.

    Args:
        source: path of the file, or its bytes.
        x: float (1, ...), one input.
        repeats: timed runs; a tenth as many before them warm up the caches.
        threads: CPU threads of the runtime.

    Raises:
        ModelFileError: not a model, or damaged.
        ValueError: repeats is not positive, or x is not one input of the model.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, expected at least 1.")
    if len(x) != 1:
        raise ValueError(f"x holds {len(x)} inputs, expected one: x[:1].")
    model = TFLiteModel(source, threads=threads)
    for _ in range(max(1, repeats // 10)):
        model.predict(x)
    times = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        model.predict(x)
        times[i] = time.perf_counter() - start
    low, median, high = 1000 * np.percentile(times, [25, 50, 75])
    return Latency(float(median), float(low), float(high), repeats, threads)
