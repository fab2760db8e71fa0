"""Layers of few bits as bits: packed weights, and products by exclusive or and counting.

A code of b bits, an odd integer, is a sum of b signs, c = Σ 2^i s_i with s_i = ±1: a plane of bits
for each i. The product of two rows of K signs is K - 2 · (number of bits that differ); that of two
rows of codes is the sum over all pairs of their planes, times 2^(i + j).

Source: Rastegari et al., *XNOR-Net*, ECCV 2016, section 3.2; Zhou et al., *DoReFa-Net*,
arXiv:1606.06160, equations 1 to 3, of bits 0 and 1 there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from labkit.compress.kernels import CompressionError
from labkit.compress.mixed_precision.layers import FLOAT, input_codes, weight_codes
from labkit.compress.mixed_precision.network import mixed_layers
from labkit.models import graph

#: Words of a block: 4 MB of differences at a time.
_BLOCK = 1 << 19


def planes(codes: np.ndarray, bits: int) -> np.ndarray:
    """The signs that codes are made of, packed.

    Args:
        codes: odd integers from -(2^b - 1) to 2^b - 1, (rows, K).
        bits: b.

    Returns:
        uint8 (b, rows, ⌈K / 8⌉): bit 1 for a plus; plane i counts 2^i.
    """
    whole = ((np.asarray(codes).astype(np.int64) + (2**bits - 1)) // 2).astype(np.uint8)
    return np.stack([np.packbits((whole >> i) & 1, axis=1) for i in range(bits)])


def codes_of(packed: np.ndarray, width: int) -> np.ndarray:
    """The codes (rows, K) of their planes (b, rows, ⌈K / 8⌉), int32."""
    signs = 2 * np.unpackbits(packed, axis=2, count=width).astype(np.int32) - 1
    return np.tensordot(2 ** np.arange(len(packed), dtype=np.int32), signs, 1)


def product(
    left: np.ndarray, right: np.ndarray, width: int, mask: np.ndarray | None = None
) -> np.ndarray:
    """Sums of products of codes, by exclusive or and counting.

    Args:
        left: planes (a, N, ⌈K / 8⌉).
        right: planes (b, M, ⌈K / 8⌉).
        width: K.
        mask: bits (N, ⌈K / 8⌉), 1 where the left row has a code and 0 where it has nothing, as
            where a convolution reaches over the border; without, there is a code everywhere.

    Returns:
        int32 (N, M).
    """
    if mask is None:
        mask = np.tile(np.packbits(np.ones(width, np.uint8)), (left.shape[1], 1))
    left, right, mask = _words(left), _words(right), _words(mask)
    total = np.zeros((left.shape[1], right.shape[1]), np.int32)
    there = np.bitwise_count(mask).sum(axis=1, dtype=np.int32)[:, None]
    rows = max(1, _BLOCK // (right.shape[1] * right.shape[2]))
    for start in range(0, len(total), rows):
        part = slice(start, start + rows)
        for i, j in np.ndindex(len(left), len(right)):
            differing = (left[i, part, None] ^ right[j]) & mask[part, None]
            counted = np.bitwise_count(differing).sum(axis=2, dtype=np.int32)
            total[part] += (there[part] - 2 * counted) << (i + j)
    return total


def _words(packed: np.ndarray) -> np.ndarray:
    """Bytes as words of 64 bits, filled with zeros."""
    missing = -packed.shape[-1] % 8
    filled = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(filled).view(np.uint64)


@dataclass(frozen=True)
class PackedLayer:
    """A quantised layer whose weights are bits, and which computes with them.

    Attributes:
        weights: planes uint8 (b, outputs, ⌈K / 8⌉).
        width: K, weights of an output.
        step: float32 (1,) or (outputs,): what a code of the weights is worth.
        bias: float32 (outputs,), or None.
        inputs: bits of an input; 32 for inputs as they come, which are multiplied and added up.
        windows: of inputs (N, ...), what each output sees: (N, *positions, K).
        activation: of the outputs.
    """

    weights: np.ndarray
    width: int
    step: np.ndarray
    bias: np.ndarray | None
    inputs: int
    windows: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    activation: Callable = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, step and bias."""
        biases = 0 if self.bias is None else self.bias.nbytes
        return self.weights.nbytes + self.step.nbytes + biases

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's outputs, float32; as the Keras layer's, bit for bit."""
        seen = self.windows(self._codes(x))
        rows, scale = seen.reshape(-1, self.width), self.step
        if self.inputs == FLOAT:
            sums = rows @ codes_of(self.weights, self.width).T.astype(np.float32)
        else:
            is_code = rows != 0  # codes are odd; what was padded is 0
            packed = planes(np.where(is_code, rows, 1), self.inputs)
            mask = None if is_code.all() else np.packbits(is_code, axis=1)
            sums = product(packed, self.weights, self.width, mask).astype(np.float32)
            scale = scale * np.float32(1 / (2.0**self.inputs - 1))
        outputs = (sums * scale).reshape(*seen.shape[:-1], -1)
        if self.bias is not None:
            outputs = outputs + self.bias
        return np.asarray(self.activation(outputs))

    def _codes(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float32)
        return x if self.inputs == FLOAT else input_codes(x, self.inputs).numpy()


def pack(layer: tf.keras.layers.Layer) -> PackedLayer:
    """The bits of a layer from `quantize`.

    Raises:
        CompressionError: a convolution with groups.
    """
    if getattr(layer, "groups", 1) > 1:
        raise CompressionError(f"{layer.name!r} has groups: its weights cannot be packed.")
    codes, step = weight_codes(layer.kernel, layer.precision)
    rows = codes.numpy().reshape(-1, codes.shape[-1]).T
    is_convolution = hasattr(layer, "kernel_size")
    return PackedLayer(
        weights=planes(rows, layer.precision.weights),
        width=rows.shape[1],
        step=step.numpy().ravel(),
        bias=layer.bias.numpy() if layer.use_bias else None,
        inputs=layer.precision.inputs,
        windows=_windows(layer) if is_convolution else lambda x: x,
        activation=layer.activation or tf.keras.activations.linear,
    )


def _windows(layer: tf.keras.layers.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """What a convolution sees at each position, (N, *positions, K), zeros where it pads."""
    spread = [1 + (k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    axes = tuple(range(1, 1 + len(spread)))

    def windows(x: np.ndarray) -> np.ndarray:
        edges = [
            _padding(layer.padding, size, width, stride)
            for size, width, stride in zip(x.shape[1:-1], spread, layer.strides, strict=True)
        ]
        x = np.pad(x, [(0, 0), *edges, (0, 0)])
        seen = np.lib.stride_tricks.sliding_window_view(x, spread, axes)
        strides = tuple(slice(None, None, stride) for stride in layer.strides)
        taps = tuple(slice(None, None, rate) for rate in layer.dilation_rate)
        seen = seen[(slice(None), *strides, slice(None), *taps)]
        seen = np.moveaxis(seen, 1 + len(axes), -1)  # channels behind the kernel's rows and columns
        return seen.reshape(*seen.shape[: 1 + len(axes)], -1)

    return windows


def _padding(kind: str, size: int, width: int, stride: int) -> tuple[int, int]:
    if kind == "causal":
        return width - 1, 0
    if kind == "valid":
        return 0, 0
    missing = max((-(-size // stride) - 1) * stride + width - size, 0)
    return missing // 2, missing - missing // 2


def predict(model: tf.keras.Model, x, batch: int = 64) -> np.ndarray:
    """What a network from `quantize` gives if its quantised layers compute with packed bits.

    Args:
        model: from `quantize`; the other layers compute as ever.
        x: (N, ...), or a structure of such arrays as the model takes it.
        batch: samples at a time.

    Returns:
        as `model.predict`.
    """
    packed = {layer.name: pack(layer) for layer in mixed_layers(model)}

    def called(layer, name, arguments, options):
        if name in packed:
            return tf.constant(packed[name](arguments[0].numpy()))
        return layer(*arguments, **options)

    found = []
    for start in range(0, len(tf.nest.flatten(x)[0]), batch):
        inputs = [tf.constant(part[start : start + batch]) for part in tf.nest.flatten(x)]
        found.append(graph.walked(model, inputs, called))
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
