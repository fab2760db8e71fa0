"""Batch normalisations folded into the layers before them, or into the dense layer behind."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from labkit.models.graph import Copies, Layer, NetworkError, Wiring, flat, rebuilt

_L = tf.keras.layers
#: Where a layer's weights have its output channels: of which weight, on which axes. No subclasses:
#: they may compute otherwise.
_CHANNELS = {
    **dict.fromkeys((_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D), ("kernel", (-1,))),
    **dict.fromkeys(
        (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose), ("kernel", (-2,))
    ),
    **dict.fromkeys((_L.DepthwiseConv1D, _L.DepthwiseConv2D), ("depthwise_kernel", (-2, -1))),
    **dict.fromkeys((_L.SeparableConv1D, _L.SeparableConv2D), ("pointwise_kernel", (-1,))),
}


def fold(model: tf.keras.Model) -> tf.keras.Model:
    """The same function without batch normalisation: folded into the weights before it.

    w' = w · γ / √(σ² + ε) for each output channel, b' = β + (b - μ) · γ / √(σ² + ε); into the dense
    layer behind it, which has no border, the same for each input channel.

    Args:
        model: functional or sequential; a nested one is laid out flat. Each normalisation follows
            a convolution (plain, transposed, depthwise or separable) or a dense layer without an
            activation, that nothing else reads; or a dense layer follows it, and nothing else.

    Raises:
        NetworkError: a normalisation follows something else; names it, and says what.

    Source: Jacob et al., CVPR 2018, section 3.2.
    """
    laid_out = flat(model)
    wiring, folded, taken = Wiring(laid_out), {}, {}
    for layer in laid_out.layers:
        if isinstance(layer, _L.BatchNormalization):
            before = wiring.sole_before(layer)
            reason, behind = _hindrance(before, layer, wiring), wiring.sole_behind(layer)
            if reason and type(behind) is _L.Dense and _on_channels(layer, len(layer.input_shape)):
                taken[id(behind)] = layer
                continue
            if reason:
                raise NetworkError(
                    f"normalisation {layer.name!r} {reason}: it can be folded into a convolution "
                    "or dense layer without an activation, used by nothing else, before it, or "
                    "into a dense layer behind it."
                )
            folded[id(before)] = layer
    copies = Copies()

    def called(layer, name, arguments, options):
        if isinstance(layer, _L.BatchNormalization):
            if options.get("training"):
                raise NetworkError(
                    f"normalisation {name!r} is called with training=True: it takes the statistics "
                    "of each batch, which nothing can be folded into."
                )
            return arguments[0]
        extra = {"use_bias": True} if id(layer) in folded | taken else {}
        return copies.of(layer, name, config=layer.get_config() | extra)(*arguments, **options)

    plain = rebuilt(laid_out, called)

    def values(layer):
        kernels, bias = _weights(layer)
        if norm := taken.get(id(layer)):
            factor, (kernel,) = _factor(norm), kernels
            kernels, bias = [factor[:, None] * kernel], bias + _shifted(0.0, norm, factor) @ kernel
        if norm := folded.get(id(layer)):
            factor = _factor(norm)
            kernels, bias = _scaled(layer, kernels, factor), _shifted(bias, norm, factor)
        return [*kernels, bias]

    copies.set_weights(
        lambda layer: values(layer) if id(layer) in folded | taken else layer.get_weights()
    )
    return plain


def _hindrance(before: Layer | None, norm: _L.BatchNormalization, wiring: Wiring) -> str:
    """Why a normalisation cannot be folded into the layer before it; empty if it can."""
    if before is None or type(before) not in _CHANNELS:
        found = [layer.name for layer in wiring.before(norm)] if before is None else [before.name]
        return f"follows {', '.join(map(repr, found)) or 'the input'}"
    if wiring.sole_behind(before) is not norm:
        return f"follows {before.name!r}, which something else reads too"
    if before.activation is not tf.keras.activations.linear:
        return f"follows the activation inside {before.name!r}"
    first = getattr(before, "data_format", "channels_last") == "channels_first"
    rank = len(before.output_shape)
    if not _on_channels(norm, rank, 1 if first else rank - 1):
        return f"has the axes {list(norm.axis)}, not the channels of {before.name!r}"
    return ""


def _on_channels(norm: _L.BatchNormalization, rank: int, channels: int = -1) -> bool:
    return [axis % rank for axis in norm.axis] == [channels % rank]


def _factor(norm: _L.BatchNormalization) -> np.ndarray:
    """What a normalisation multiplies each channel by."""
    deviation = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    return (norm.gamma.numpy() if norm.scale else 1.0) / deviation


def _shifted(bias, norm: _L.BatchNormalization, factor: np.ndarray) -> np.ndarray:
    """What a normalisation makes of a bias."""
    return (norm.beta.numpy() if norm.center else 0.0) + (bias - norm.moving_mean.numpy()) * factor


def _weights(layer: Layer) -> tuple[list[np.ndarray], np.ndarray | float]:
    """Kernels and bias, 0 where there is none."""
    kernels = layer.get_weights()[: len(layer.weights) - layer.use_bias]
    return kernels, layer.bias.numpy() if layer.use_bias else 0.0


def _scaled(layer: Layer, kernels: list[np.ndarray], factor: np.ndarray) -> list[np.ndarray]:
    """A layer's kernels with each output channel multiplied by its factor."""
    name, axes = _CHANNELS[type(layer)]
    scaled = getattr(layer, name)
    at = next(i for i, weight in enumerate(layer.weights) if weight is scaled)
    shape = [1] * scaled.shape.rank
    for axis in axes:
        shape[axis] = scaled.shape[axis]
    return [k * np.reshape(factor, shape) if i == at else k for i, k in enumerate(kernels)]
