"""Batch normalisations folded into the layers beside them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import tensorflow as tf

from labkit.models.graph import (
    Copies,
    Layer,
    NetworkError,
    Wiring,
    flat,
    normalizes_channels,
    rebuilt,
)
from labkit.models.planar import reshaped

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
#: What a factor and a shift of each channel may be moved across.
_COMMUTING = (
    *(_L.Dropout, _L.Flatten, _L.Reshape, _L.AveragePooling1D, _L.AveragePooling2D),
    *(_L.GlobalAveragePooling1D, _L.GlobalAveragePooling2D),
)


def fold(
    model: tf.keras.Model,
    into: tuple[type[Layer], ...] | None = None,
    leave: Collection[str] = (),
) -> tf.keras.Model:
    """The same function without batch normalisation: folded into the weights before it.

    w' = w · γ / √(σ² + ε) for each output channel, b' = β + (b - μ) · γ / √(σ² + ε).

    Args:
        model: functional or sequential; a nested one is laid out flat. Each normalisation follows
            a convolution (plain, transposed, depthwise or separable) or a dense layer without an
            activation, that nothing else reads.
        into: classes of layers that take what follows them in; other normalisations stay. Without,
            all of them go, or it is an error.
        leave: names of normalisations that stay as they are.

    Raises:
        NetworkError: a normalisation follows something else; names it, and says what.

    Source: Jacob et al., CVPR 2018, section 3.2.
    """
    laid_out = flat(model)
    wiring, folded = Wiring(laid_out), {}
    for layer in laid_out.layers:
        if isinstance(layer, _L.BatchNormalization) and layer.name not in leave:
            before = wiring.sole_before(layer)
            reason = _hindrance(before, layer, wiring)
            if into is not None and (reason or type(before) not in into):
                continue
            if reason:
                raise NetworkError(
                    f"normalisation {layer.name!r} {reason}: it can be folded into a convolution "
                    "or dense layer without an activation, used by nothing else."
                )
            folded[id(before)] = layer
    if into is not None and not folded:
        return laid_out
    copies, taken = Copies(), {id(norm) for norm in folded.values()}

    def called(layer, name, arguments, options):
        if id(layer) in taken:
            _check_statistics(name, options)
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


def fold_lone(model: tf.keras.Model, leave: Collection[str] = ()) -> tf.keras.Model:
    """The same function with weights for the normalisations that no layer before them can take.

    A normalisation behind a pooling or an activation goes into the dense layer or the convolution
    that reads it: w' = w · γ / √(σ² + ε) for each input channel, b' = b + w · shift. Where there
    is none, or a padding of zeros would see the shift, it becomes a depthwise convolution of one
    pixel. The others stay: they go into the layer before, see `fold`.

    Args:
        model: functional or sequential; a nested one is laid out flat. The model itself if it has
            no such normalisation.
        leave: names of normalisations that stay as they are.

    Raises:
        NetworkError: such a normalisation is called with training=True.
    """
    laid_out = flat(model)
    wiring, ahead, lone = Wiring(laid_out), {}, set()
    for layer in laid_out.layers:
        if _is_lone(layer, wiring) and layer.name not in leave:
            lone.add(id(layer))
            reader, positions = _reader(layer, wiring)
            if reader is not None and id(reader) not in ahead:
                ahead[id(reader)] = layer, positions
    if not lone:
        return laid_out
    taken, copies = {id(norm) for norm, _ in ahead.values()}, Copies()

    def called(layer, name, arguments, options):
        if id(layer) in lone:
            _check_statistics(name, options)
        if id(layer) in taken:
            return arguments[0]
        if id(layer) in lone:
            return _by_pixel(layer, name, arguments[0], copies)
        extra = {"use_bias": True} if id(layer) in ahead else {}
        return copies.of(layer, name, config=layer.get_config() | extra)(*arguments, **options)

    def weights(layer):
        if id(layer) in lone:
            factor, shift = _affine(layer)
            return [factor, shift]
        return _taken_in(layer, *ahead[id(layer)]) if id(layer) in ahead else layer.get_weights()

    plain = rebuilt(laid_out, called)
    copies.set_weights(weights)
    return plain


def _check_statistics(name: str, options: dict) -> None:
    if options.get("training"):
        raise NetworkError(
            f"normalisation {name!r} is called with training=True: it takes the statistics of each "
            "batch, which nothing can be folded into."
        )


def _is_lone(layer: Layer, wiring: Wiring) -> bool:
    """Whether it is a normalisation over the last axis that the layer before cannot take."""
    if not normalizes_channels(layer) or len(wiring.before(layer)) > 1:
        return False
    return bool(_hindrance(wiring.sole_before(layer), layer, wiring))


def _reader(norm: Layer, wiring: Wiring) -> tuple[Layer | None, int]:
    """The layer behind that can take a normalisation in, and how often a channel comes to it."""
    layer, positions = wiring.sole_behind(norm), 1
    while isinstance(layer, _COMMUTING) and getattr(layer, "padding", "valid") == "valid":
        if isinstance(layer, _L.Reshape) and layer.output_shape[-1] != layer.input_shape[-1]:
            break
        if isinstance(layer, _L.Flatten):
            positions *= int(np.prod(layer.input_shape[1:-1]))
        layer = wiring.sole_behind(layer)
    takes = type(layer) in (_L.Dense, _L.Conv1D, _L.Conv2D)
    if not takes or getattr(layer, "padding", "valid") != "valid":
        return None, positions
    return (layer, positions) if getattr(layer, "groups", 1) == 1 else (None, positions)


def _by_pixel(norm: Layer, name: str, x, copies: Copies):
    """A normalisation as a depthwise convolution of one pixel, on images whatever the rank."""
    shape = tuple(x.shape[1:])
    pixels = (1,) * (3 - len(shape)) + shape
    config = {"kernel_size": 1, "use_bias": True}
    depthwise = copies.of(norm, name, _L.DepthwiseConv2D, config)
    if len(shape) == 3:
        return depthwise(x)
    return reshaped(depthwise(reshaped(x, pixels)), shape)


def _taken_in(layer: Layer, norm: Layer, positions: int) -> list[np.ndarray]:
    """Kernel and bias of a layer that reads a normalisation's input in place of its output."""
    factor, shift = (np.tile(values, positions)[:, None] for values in _affine(norm))
    kernel = layer.kernel.numpy()
    bias = layer.bias.numpy() if layer.use_bias else 0.0
    of_shift = (kernel * shift).reshape(-1, kernel.shape[-1]).sum(axis=0)
    return [kernel * factor, bias + of_shift]


def _affine(norm: Layer) -> tuple[np.ndarray, np.ndarray]:
    """What a normalisation multiplies its channels by and adds to them, in inference."""
    deviation = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    factor = (norm.gamma.numpy() if norm.scale else 1.0) / deviation
    shift = norm.beta.numpy() if norm.center else 0.0
    return factor, shift - norm.moving_mean.numpy() * factor


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
    factor, _ = _affine(norm)
    bias = (layer.bias.numpy() if layer.use_bias else 0.0) - norm.moving_mean.numpy()
    name, axes = _CHANNELS[type(layer)]
    scaled = getattr(layer, name)
    kernels = layer.get_weights()[: len(layer.weights) - layer.use_bias]
    at = next(i for i, weight in enumerate(layer.weights) if weight is scaled)
    shape = [1] * scaled.shape.rank
    for axis in axes:
        shape[axis] = scaled.shape[axis]
    kernels[at] = kernels[at] * np.reshape(factor, shape)
    return [*kernels, (norm.beta.numpy() if norm.center else 0.0) + bias * factor]
