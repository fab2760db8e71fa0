"""The scale at which a kernel is rounded, and the normalisation that makes up for it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from labkit.compress.calibration import lets_factors_through
from labkit.compress.low_bit.layers import by_channel, is_linear, kernel_of
from labkit.models.graph import Wiring, normalizes_channels

#: Divisors that are tried for a kernel, as parts of its largest weight; 1 first, to win a tie.
_FACTORS = (1.0, *np.geomspace(0.35, 3.0, 32))


def fit_scales(model: tf.keras.Model, layers: list[tf.keras.layers.Layer]) -> None:
    """Scale the kernels of QKeras layers of a model; normalisations behind or before make up."""
    wiring = Wiring(model)
    for layer in layers:
        behind = wiring.sole_behind(layer)
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        if _may_scale(behind) and channels_last and is_linear(layer):
            _fit_with_normalisation_behind(layer, behind)
            continue
        before = _sole_source(layer, wiring)
        while before is not None and lets_factors_through(before):
            before = _sole_source(before, wiring)
        if _may_scale(before):
            step = _fit(layer, per_channel=False)
            before.gamma.assign(before.gamma * step)
            before.beta.assign(before.beta * step)


def _fit_with_normalisation_behind(
    layer: tf.keras.layers.Layer, behind: tf.keras.layers.BatchNormalization
) -> None:
    step = _fit(layer, per_channel=True)
    if layer.use_bias:  # the normalisation takes a bias out again: into its mean with it, unscaled
        behind.moving_mean.assign(behind.moving_mean - layer.bias)
        layer.bias.assign(tf.zeros_like(layer.bias))
    variance = behind.moving_variance.numpy()
    rescaled = variance / step**2
    deviations = np.sqrt((rescaled + behind.epsilon) / (variance + behind.epsilon))
    behind.gamma.assign(behind.gamma * step * deviations)
    behind.moving_mean.assign(behind.moving_mean / step)
    behind.moving_variance.assign(rescaled)


def _fit(layer: tf.keras.layers.Layer, per_channel: bool) -> np.ndarray:
    """Scale a layer's kernel; what its outputs are then to be multiplied by, (out,) or (1,)."""
    kernel, quantizer = kernel_of(layer)
    clipped = kernel.constraint or (lambda x: x)  # QKeras's, after every step of a training

    def clipped_kernel(x):
        return clipped(tf.reshape(x, kernel.shape))

    def quantise(x):
        return tf.reshape(quantizer(clipped_kernel(x)), x.shape)

    values = by_channel(layer, kernel.numpy())
    divisor, step = fitted_scale(values, quantise, per_channel)
    kernel.assign(clipped_kernel(values / divisor))
    return np.ravel(step)


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


def _sole_source(layer: tf.keras.layers.Layer, wiring: Wiring) -> tf.keras.layers.Layer | None:
    """The one layer that a layer reads, if nothing else reads that."""
    source = wiring.sole_before(layer)
    return source if source is not None and wiring.sole_behind(source) is layer else None


def _may_scale(layer: tf.keras.layers.Layer | None) -> bool:
    """Whether it is a normalisation that can take a factor for each channel."""
    return normalizes_channels(layer) and layer.scale and layer.center
