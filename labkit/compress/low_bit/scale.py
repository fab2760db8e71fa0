"""The scale at which a kernel is rounded, and the normalisation that makes up for it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from labkit.compress.calibration import lets_factors_through

#: Divisors that are tried for a kernel, as parts of its largest weight; 1 first, to win a tie.
_FACTORS = (1.0, *np.geomspace(0.35, 3.0, 32))


def fit_scale_of(layer: tf.keras.layers.Layer) -> None:
    """Scale a kernel for its quantiser; a normalisation behind or before makes up for it."""
    behind = _neighbour(layer, "outbound")
    before = None if behind else _neighbour(layer, "inbound")
    if not (behind or before):
        return
    kernel = layer.kernel.numpy()
    clipped = layer.kernel_constraint or (lambda x: x)  # QKeras's, after every step of a training

    def quantise(x):
        return layer.kernel_quantizer_internal(clipped(x))

    divisor, step = fitted_scale(kernel, quantise, per_channel=behind is not None)
    layer.kernel.assign(clipped(tf.constant(kernel / divisor)))
    step = np.ravel(step)
    if before:
        before.gamma.assign(before.gamma * step)
        before.beta.assign(before.beta * step)
        return
    if layer.use_bias:  # the normalisation takes a bias out again: into its mean with it, unscaled
        behind.moving_mean.assign(behind.moving_mean - layer.bias)
        layer.bias.assign(tf.zeros_like(layer.bias))
    variance = behind.moving_variance.numpy()
    rescaled = variance / step**2
    deviations = np.sqrt((rescaled + behind.epsilon) / (variance + behind.epsilon))
    behind.gamma.assign(behind.gamma * step * deviations)
    behind.moving_mean.assign(behind.moving_mean / step)
    behind.moving_variance.assign(rescaled)


def fitted_scale(
    kernel: np.ndarray, quantise, per_channel: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The scale at which a quantiser loses least of a kernel: min over d and s of ‖w − s·Q(w/d)‖².

    Args:
        kernel: float (..., out).
        quantise: function of a float32 array that returns the quantised values.
        per_channel: a scale for each output channel, else one for all.

    Returns:
        divisor d (what the kernel is to be divided by before it is rounded) and scale s (what the
        rounded kernel is to be multiplied by), each float32 and broadcastable with the kernel.

    Source: Li, Zhang & Liu, equations 3 and 4; d from a search over a grid.
    """
    axes = tuple(range(kernel.ndim - 1)) if per_channel else None
    largest = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True), 1e-12)
    best_fit = np.full(largest.shape, -np.inf, np.float32)
    divisor, scale = largest.copy(), largest.copy()
    for factor in _FACTORS:
        tried = largest * factor
        rounded_ = np.asarray(quantise(tf.constant(kernel / tried, tf.float32)))
        product = (kernel * rounded_).sum(axis=axes, keepdims=True)
        power = (rounded_**2).sum(axis=axes, keepdims=True)
        fit = product / np.sqrt(np.maximum(power, 1e-12))  # the cosine, times the kernel's length
        better = fit > best_fit * (1 + 1e-5) + 1e-12
        best_fit = np.where(better, fit, best_fit)
        divisor = np.where(better, tried, divisor)
        scale = np.where(better & (product > 0), product / np.maximum(power, 1e-12), scale)
    return divisor.astype(np.float32), scale.astype(np.float32)


def _neighbour(layer: tf.keras.layers.Layer, side: str):
    """The normalisation directly behind a layer, or the one that scales its inputs, or None."""
    while True:
        nodes = getattr(layer, f"{side}_nodes")
        if len(nodes) != 1:
            return None
        layer = nodes[0].outbound_layer if side == "outbound" else nodes[0].inbound_layers
        if isinstance(layer, list) or len(layer.outbound_nodes) != 1:
            return None
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            return layer if layer.scale and layer.center else None
        if side == "outbound" or not lets_factors_through(layer):
            return None
