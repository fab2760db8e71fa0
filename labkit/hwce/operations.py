"""What the cores do between convolutions: activations, pooling, concatenation.

An order-preserving operation on codes is the same before a change of format as after it, so codes
keep the format of the layer they come from until the next convolution takes them in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from labkit.hwce.formats import QFormat, clipped, requantize
from labkit.hwce.job import same_padding


class Activation(NamedTuple):
    """A tensor between two layers: codes with their fractional bits, or real numbers (None)."""

    array: np.ndarray
    fraction: int | None

    @property
    def values(self) -> np.ndarray:
        """Real numbers, float64."""
        if self.fraction is None:
            return np.asarray(self.array, np.float64)
        return self.array * math.ldexp(1.0, -self.fraction)

    def codes(self, q: QFormat, mode: str) -> np.ndarray:
        """Codes of a format."""
        if self.fraction is None:
            return q.codes(self.array, mode)
        return requantize(self.array, self.fraction - q.fraction_bits, q.bits, mode == "nearest")


def activate(name: str, layer: str, x: Activation) -> Activation:
    """A layer's activation, by Keras's name.

    Raises:
        ValueError: an activation other than linear, relu, relu6 and softmax.
    """
    if name == "linear":
        return x
    if name == "relu":
        return _limited(x, math.inf)
    if name == "relu6":
        return _limited(x, 6.0)
    if name == "softmax":
        return _softmax({}, [x], True)
    raise ValueError(f"{layer}: the activation {name} is not supported.")


def _limited(x: Activation, limit: float) -> Activation:
    """Between zero and a real number."""
    if x.fraction is None:
        return Activation(np.clip(x.array, 0, limit), None)
    largest = int(np.iinfo(x.array.dtype).max)
    if math.isfinite(limit):
        largest = min(math.floor(limit * math.ldexp(1.0, x.fraction) + 0.5), largest)
    return Activation(clipped(x.array, 0, largest), x.fraction)


def normalize(config: dict, x: Activation, weights: list[np.ndarray]) -> Activation:
    """Batch normalisation in floating point: the next layer quantises what it gives."""
    weights = [np.asarray(w, np.float64) for w in weights]
    scale = weights.pop(0) if config["scale"] else 1.0
    shift = weights.pop(0) if config["center"] else 0.0
    mean, variance = weights
    factor = scale / np.sqrt(variance + config["epsilon"])
    return Activation(x.values * factor + (shift - mean * factor), None)


def _relu(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    if config.get("negative_slope") or config.get("threshold"):
        raise ValueError(f"{config['name']}: a ReLU with a slope or a threshold is not supported.")
    limit = config.get("max_value")
    if limit is None:
        return activate("relu", config["name"], inputs[0])
    return _limited(inputs[0], float(limit))


def _activation(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    return activate(config["activation"], config["name"], inputs[0])


def _softmax(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    x = inputs[0].values
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return Activation(powers / powers.sum(axis=-1, keepdims=True), None)


def _pooled(array: np.ndarray, config: dict, fill, combine: np.ufunc) -> np.ndarray:
    """Cells of each pooling window combined: columns of the windows first, then rows."""
    for axis, size, stride in zip((1, 2), config["pool_size"], config["strides"], strict=True):
        if config["padding"] == "same":
            sides = [(0, 0)] * array.ndim
            sides[axis] = same_padding(array.shape[axis], size, stride)
            array = np.pad(array, sides, constant_values=fill)
        last = (array.shape[axis] - size) // stride * stride + 1
        across = (slice(None),) * axis
        cells = [array[(*across, slice(i, i + last, stride))] for i in range(size)]
        array = cells[0].copy(order="K")
        for others in cells[1:]:
            combine(array, others, out=array)
    return array


def _max_pool(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    array, fraction = inputs[0]
    lowest = -np.inf if fraction is None else np.iinfo(array.dtype).min
    return Activation(_pooled(array, config, lowest, np.maximum), fraction)


def _average_pool(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    array, fraction = inputs[0]
    total = _pooled(array.astype(np.float64 if fraction is None else np.int64), config, 0, np.add)
    # Padding does not count: Keras divides by the cells that are there.
    count = _pooled(np.ones((1, *array.shape[1:3], 1), np.int64), config, 0, np.add)
    return _mean(total, count, inputs[0], half_up)


def _global_average(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    """The mean of a map, in a 32-bit word with as many more bits as its count has [A].

    Rounded to the step of the map, the classes of a network of few bits would tie.
    """
    array, fraction = inputs[0]
    count = array.shape[1] * array.shape[2]
    kind = np.float64 if fraction is None else np.int64
    total = array.sum(axis=(1, 2), dtype=kind, keepdims=config.get("keepdims", False))
    if fraction is not None:
        more = (count - 1).bit_length()
        total, fraction = total << more, fraction + more
    return _mean(total, count, Activation(total, fraction), half_up)


def _mean(total: np.ndarray, count, x: Activation, half_up: bool) -> Activation:
    """The mean, with the step of what it is the mean of; rounded as the engine's shift is [A]."""
    if x.fraction is None:
        return Activation(total / count, None)
    doubled = 2 * total + (count if half_up else 0)
    return Activation((doubled // (2 * count)).astype(x.array.dtype), x.fraction)


def _global_max(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    largest = inputs[0].array.max(axis=(1, 2), keepdims=config.get("keepdims", False))
    return Activation(largest, inputs[0].fraction)


def _concatenate(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    """Codes of the finest format among the inputs, which is exact."""
    parts, finest = _aligned(config, inputs)
    if finest is None:
        return Activation(np.concatenate(parts, axis=config["axis"]), None)
    return Activation(_side_by_side(parts, config["axis"]), finest)


def _add(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    """The sum in the finest format among the inputs, which is exact: 32-bit words on the cores."""
    parts, finest = _aligned(config, inputs)
    wide = np.float64 if finest is None else np.int32
    return Activation(sum(part.astype(wide) for part in parts), finest)


def _aligned(config: dict, inputs: list[Activation]) -> tuple[list[np.ndarray], int | None]:
    """The inputs in one format, the finest among theirs, with its fractional bits."""
    if any(x.fraction is None for x in inputs):
        return [x.values for x in inputs], None
    finest = max(x.fraction for x in inputs)
    if finest - min(x.fraction for x in inputs) > 14:
        raise ValueError(
            f"{config['name']}: the inputs' steps differ by more than 2^14: give their layers "
            "output formats that are closer."
        )
    parts = [
        x.array if x.fraction == finest else x.array.astype(np.int32) << (finest - x.fraction)
        for x in inputs
    ]
    return parts, finest


def _side_by_side(parts: list[np.ndarray], axis: int) -> np.ndarray:
    """Concatenated; channels of maps stay planes in memory, as the engine's backend wants them."""
    if parts[0].ndim != 4 or axis not in (-1, 3):
        return np.concatenate(parts, axis=axis)
    planes = np.concatenate([part.transpose(0, 3, 1, 2) for part in parts], axis=1)
    return planes.transpose(0, 2, 3, 1)


def _flatten(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    x = inputs[0]
    return Activation(np.ascontiguousarray(x.array).reshape(len(x.array), -1), x.fraction)


def _reshape(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    x = inputs[0]
    shape = (len(x.array), *config["target_shape"])
    return Activation(np.ascontiguousarray(x.array).reshape(shape), x.fraction)


def _zero_padding(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    x = inputs[0]
    return Activation(np.pad(x.array, ((0, 0), *config["padding"], (0, 0))), x.fraction)


def _quantclip(config: dict, inputs: list[Activation], half_up: bool) -> Activation:
    """Codes of the layer's format; the thesis's mode has a level too many, and gives numbers."""
    q, mode = QFormat(config["nbits"], config["msb"]), config["mode"]
    if mode == "thesis":
        return Activation(q.quantize(inputs[0].values, mode), None)
    return Activation(inputs[0].codes(q, mode), q.fraction_bits)


#: What each class of layer does with its configuration, inputs, and the rounding of a mean.
OPERATIONS: dict[str, Callable[[dict, list[Activation], bool], Activation]] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling2D": _average_pool,
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average,
    "GlobalMaxPooling2D": _global_max,
    "MaxPooling2D": _max_pool,
    "QuantClip": _quantclip,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "ZeroPadding2D": _zero_padding,
}
