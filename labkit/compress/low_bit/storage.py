"""Real files with int4 and int2 weights: the codes of a network, one for one."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from labkit import flatbuffer
from labkit.compress import post_training, stored
from labkit.compress.kernels import CompressionError
from labkit.compress.low_bit.layers import by_channel
from labkit.compress.low_bit.network import codes, quantized_layers, to_float
from labkit.compress.stored import Kernel

MODES = ("weight_only", "dynamic_range")


def convert(model: tf.keras.Model, bits: int = 4, mode: str = "weight_only") -> bytes:
    """A TFLite file whose weights are int4 or int2: the codes of a QKeras model, one for one.

    The converter folds batch normalisation into the kernels, a factor for each output channel: it
    changes the step of a channel and not its codes (their sign, where γ is negative; where γ is
    zero, the channel has the code 0 and the step 1). Biases stay float32 in the file, and so do the
    weights of the layers that `left_in_float` names.

    Args:
        model: from `quantize`, its kernels quantised to codes that fit: `codes` gives them.
        bits: 4 or 2, of a weight in the file.
        mode: "weight_only" (a DEQUANTIZE before each layer, computed in float32) or, for 4 bits,
            "dynamic_range" (activations quantised to 8 bits at run time, computed in integers;
            depthwise convolutions as in "weight_only": LiteRT 2.3 has no int4 kernel for them).

    Raises:
        CompressionError: unknown bits or mode, a layer with codes that do not fit or with quantised
            activations, or no quantised layer at all. int2 convolutions in "dynamic_range" are
            refused: LiteRT 2.3 answers NaN.
    """
    if bits not in (2, 4) or mode not in MODES:
        raise CompressionError(
            f"bits is {bits!r} and mode {mode!r}, expected 4 or 2, and one of {', '.join(MODES)}."
        )
    if (bits, mode) == (2, "dynamic_range"):
        raise CompressionError(
            "LiteRT 2.3 computes NaN with int2 convolutions: take mode 'weight_only'."
        )
    wanted = {layer.name: _codes(layer, bits) for layer in quantized_layers(model)}
    if not wanted:
        raise CompressionError(f"no layer of {model.name!r} has quantised weights: `quantize` it.")
    file = stored.read(post_training.convert(to_float(model), "float"))
    for kernel, (values, steps) in _matched(wanted, stored.kernels(file), bits).items():
        stored.replace(file, kernel, values, steps, bits, unpacked=mode == "weight_only")
    return flatbuffer.pack(file)


def _codes(layer: tf.keras.layers.Layer, bits: int) -> np.ndarray:
    """A layer's codes (out, n), if they fit into so many bits."""
    values = by_channel(layer, codes(layer).values)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if values.min() < low or values.max() > high:
        raise CompressionError(
            f"{layer.name!r} has codes from {values.min()} to {values.max()}, which do not fit "
            f"into {bits} bits, {low} to {high}: choose a coarser quantiser."
        )
    return np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1)


def _matched(
    wanted: dict[str, np.ndarray], kernels: list[Kernel], bits: int
) -> dict[Kernel, tuple[np.ndarray, np.ndarray]]:
    """The codes and steps of the kernels that are some layer's codes, whatever they are called.

    A layer may stand in the file several times, and layers with equal weights once.
    """
    found = {}
    for name, values in wanted.items():
        fitting = {k: _signed(values, k.values) for k in kernels if values.shape == k.values.shape}
        fitting = {k: signed for k, signed in fitting.items() if signed is not None}
        if not fitting:
            raise CompressionError(
                f"no kernel in the file is the codes of {name!r} times a step for each channel: "
                "the converter has merged the layer with one beside it. Put something between them."
            )
        if any(signed.max() >= 2 ** (bits - 1) for signed, _ in fitting.values()):
            raise CompressionError(
                f"{name!r}: a channel with a negative γ turns the code {-(2 ** (bits - 1))} round, "
                "which has no opposite: take a symmetric quantiser, such as quantized_bits(4,0,1)."
            )
        found = fitting | found
    return {kernel: found[kernel] for kernel in kernels if kernel in found}


def _signed(values: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Codes (out, n) and positive steps (out,) that give a kernel (out, n), if these codes do."""
    live = np.abs(kernel).max(axis=1, keepdims=True) > 1e-30  # else a γ of zero
    values = np.where(live, values, 0)
    power = (values**2).sum(axis=1)
    steps = (kernel * values).sum(axis=1) / np.maximum(power, 1)
    if np.abs(kernel - steps[:, None] * values).max() > 1e-5 * np.abs(kernel).max():
        return None
    values = values * np.where(steps < 0, -1, 1)[:, None]
    return values, np.where(power > 0, np.abs(steps), 1).astype(np.float32)
