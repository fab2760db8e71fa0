"""A Keras layer and its twin of QKeras: the same options, and a quantiser for each weight."""

from __future__ import annotations

import numpy as np
import qkeras
import tensorflow as tf

_L = tf.keras.layers
TWINS = {
    _L.Conv1D: qkeras.QConv1D,
    _L.Conv2D: qkeras.QConv2D,
    _L.DepthwiseConv2D: qkeras.QDepthwiseConv2D,
    _L.Dense: qkeras.QDense,
}
PLAIN = {twin: plain for plain, twin in TWINS.items()}


def quantized(
    layer: _L.Layer, weights: str, biases: str, activation: str | None = None
) -> _L.Layer:
    """The twin of a layer, without its weights.

    Args:
        layer: of one of the types in `TWINS`.
        weights: quantiser of the kernel, in QKeras's notation.
        biases: quantiser of the bias.
        activation: quantiser in the place of the layer's own activation.
    """
    kernel = "depthwise" if isinstance(layer, _L.DepthwiseConv2D) else "kernel"
    if activation is None and not is_linear(layer):
        activation = layer.activation  # not its name: QKeras has a "hard_sigmoid" of its own
    changed = {
        f"{kernel}_quantizer": weights,
        f"{kernel}_initializer": "zeros",
        "bias_quantizer": biases,
        "bias_initializer": "zeros",
        "activation": activation,
    }
    return TWINS[type(layer)](**layer.get_config() | changed)


def plain(layer: _L.Layer) -> _L.Layer:
    """The Keras layer whose twin a QKeras layer is, without its weights."""
    kind = PLAIN[type(layer)]
    config = kind.get_config(layer) | {"activation": layer.activation}
    clips = [name for name in config if isinstance(getattr(layer, name, None), qkeras.Clip)]
    return kind.from_config(config | dict.fromkeys(clips))


def is_linear(layer: _L.Layer) -> bool:
    """Whether a convolution or dense layer has no activation of its own."""
    return layer.activation in (None, tf.keras.activations.linear)


def kernel_of(layer: _L.Layer) -> tuple[tf.Variable, qkeras.quantizers.BaseQuantizer]:
    """Kernel of a QKeras layer, a variable, and its quantiser."""
    return layer.weights[0], layer.get_quantizers()[0]


def by_channel(layer: _L.Layer, kernel: np.ndarray) -> np.ndarray:
    """A layer's kernel, or numbers of its shape, as (..., out)."""
    depthwise = isinstance(layer, _L.DepthwiseConv2D)  # (height, width, in, multiplier)
    return kernel.reshape(*kernel.shape[:2], -1) if depthwise else kernel
