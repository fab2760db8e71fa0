"""A TFLite file as a function of arrays, its size, accuracy and latency.

The only place that names the runtime (LiteRT).
"""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_BATCH = 256


class ModelFileError(ValueError):
    """A file that is not a TFLite model that can be read and run."""


@dataclass(frozen=True)
class Size:
    """Bytes of a file, and bytes after `gzip -9`."""

    bytes: int
    gzip_bytes: int


@dataclass(frozen=True)
class Latency:
    """Time for one image: median and quartiles over the repeats, in milliseconds."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    repeats: int
    threads: int


class TFLiteModel:
    """A model file that maps float inputs to float outputs, whatever types it uses inside.

    Args:
        model: path of a `.tflite` file, or its content.
        threads: of the runtime.

    Raises:
        ModelFileError: no such file, not a TFLite file, or one that the runtime refuses.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 2):
        self.content = read(model)
        self.threads = threads
        try:
            self._interpreter = Interpreter(model_content=self.content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"the runtime refuses {_name(model)}: {error}") from error
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or len(self._interpreter.get_output_details()) != 1:
            raise ModelFileError(f"{_name(model)} has {len(inputs)} inputs, expected one, and one output.")
        self._refresh()
        self.input_shape = tuple(int(n) for n in self._input["shape"][1:])

    def _refresh(self) -> None:
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Run a batch.

        Args:
            x: real inputs (N, *input_shape); integer inputs of the file are quantised from them.

        Returns:
            float32 (N, ...), dequantised where the file's output is an integer.

        Raises:
            ValueError: wrong shape, no images, or NaN.
        """
        x = np.asarray(x, np.float32)
        if x.shape[1:] != self.input_shape or len(x) == 0:
            raise ValueError(f"x has shape {x.shape}, expected (N, *{self.input_shape}) with N > 0.")
        if np.isnan(x).any():
            raise ValueError("x holds NaN.")
        parts = [self._run(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
        return np.concatenate(parts)

    def _run(self, x: np.ndarray) -> np.ndarray:
        self._resize(len(x))
        self._interpreter.set_tensor(self._input["index"], _quantize(x, self._input))
        self._interpreter.invoke()
        return _dequantize(self._interpreter.get_tensor(self._output["index"]), self._output)

    def _resize(self, count: int) -> None:
        if self._input["shape"][0] == count:
            return
        shape = (count, *self.input_shape)
        self._interpreter.resize_tensor_input(self._input["index"], shape)
        self._interpreter.allocate_tensors()
        self._refresh()

    def latency(self, x: np.ndarray, repeats: int = 50) -> Latency:
        """Time one image (1, *input_shape) `repeats` times, after a tenth as many to warm up."""
        times = []
        for i in range(-max(1, repeats // 10), repeats):
            started = time.perf_counter()
            self._run(np.asarray(x[:1], np.float32))
            if i >= 0:
                times.append(1000 * (time.perf_counter() - started))
        low, middle, high = np.percentile(times, [25, 50, 75])
        return Latency(float(middle), float(low), float(high), repeats, self.threads)


def accuracy(model: str | Path | bytes, x: np.ndarray, y: np.ndarray) -> float:
    """Top-1 accuracy (0 to 1) of a model file on inputs x (N, ...) and classes y (N,)."""
    if len(x) != len(y):
        raise ValueError(f"{len(x)} inputs and {len(y)} classes.")
    return float(np.mean(TFLiteModel(model).predict(x).argmax(axis=1) == y))


def size(model: str | Path | bytes) -> Size:
    """Size of a file as it is, and compressed by `gzip -9`."""
    content = read(model)
    return Size(len(content), len(gzip.compress(content, 9, mtime=0)))


def latency(model: str | Path | bytes, x: np.ndarray, repeats: int = 50, threads: int = 1) -> Latency:
    """Time of one image on this machine; a fact about the file and the machine."""
    return TFLiteModel(model, threads).latency(x, repeats)


def read(model: str | Path | bytes) -> bytes:
    """The content of a model file, after a look at its identifier."""
    if not isinstance(model, bytes):
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise ModelFileError(f"{model} cannot be read: {error.strerror}.") from error
    else:
        content = model
    if content[4:8] != b"TFL3":
        raise ModelFileError(
            f"{_name(model)} is not a TFLite file: bytes 4 to 8 are {content[4:8]!r}, expected "
            "b'TFL3'."
        )
    return content


def _name(model: str | Path | bytes) -> str:
    return f"a model of {len(model)} bytes" if isinstance(model, bytes) else str(model)


def _quantize(x: np.ndarray, tensor: dict) -> np.ndarray:
    if tensor["dtype"] == np.float32:
        return x
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    codes = np.round(x / np.float32(scale)) + zero_point
    return codes.clip(limits.min, limits.max).astype(tensor["dtype"])


def _dequantize(codes: np.ndarray, tensor: dict) -> np.ndarray:
    if tensor["dtype"] == np.float32:
        return codes
    scale, zero_point = tensor["quantization"]
    return (codes.astype(np.float32) - zero_point) * np.float32(scale)
