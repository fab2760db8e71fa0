"""Batch normalisations folded into the layers before them."""

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

    w' = w · γ / √(σ² + ε) for each output channel, b' = β + (b - μ) · γ / √(σ² + ε).

    Args:
        model: functional or sequential; a nested one is laid out flat. Each normalisation follows
            a convolution (plain, transposed, depthwise or separable) or a dense layer without an
            activation, that nothing else reads.

    Raises:
        NetworkError: a normalisation follows something else; names it, and says what.

    Source: Jacob et al., CVPR 2018, section 3.2.
    """
    laid_out = flat(model)
    wiring, folded = Wiring(laid_out), {}
    for layer in laid_out.layers:
        if isinstance(layer, _L.BatchNormalization):
            before = wiring.sole_before(layer)
            if reason := _hindrance(before, layer, wiring):
                raise NetworkError(
                    f"normalisation {layer.name!r} {reason}: it can be folded into a convolution "
                    "or dense layer without an activation, used by nothing else."
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
        extra = {"use_bias": True} if id(layer) in folded else {}
        return copies.of(layer, name, config=layer.get_config() | extra)(*arguments, **options)

    plain = rebuilt(laid_out, called)
    copies.set_weights(
        lambda layer: (
            _folded(layer, folded[id(layer)]) if id(layer) in folded else layer.get_weights()
        )
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
    if [axis % rank for axis in norm.axis] != [1 if first else rank - 1]:
        return f"has the axes {list(norm.axis)}, not the channels of {before.name!r}"
    return ""


def _folded(layer: Layer, norm: _L.BatchNormalization) -> list[np.ndarray]:
    """Values for a layer's weights, and its bias at the end, with the normalisation in them."""
    deviation = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    factor = (norm.gamma.numpy() if norm.scale else 1.0) / deviation
    shift = norm.beta.numpy() if norm.center else 0.0
    bias = layer.bias.numpy() if layer.use_bias else 0.0
    name, axes = _CHANNELS[type(layer)]
    scaled = getattr(layer, name)
    kernels = layer.get_weights()[: len(layer.weights) - layer.use_bias]
    at = next(i for i, weight in enumerate(layer.weights) if weight is scaled)
    shape = [1] * scaled.shape.rank
    for axis in axes:
        shape[axis] = scaled.shape[axis]
    kernels[at] = kernels[at] * np.reshape(factor, shape)
    return [*kernels, shift + (bias - norm.moving_mean.numpy()) * factor]
