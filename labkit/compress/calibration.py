"""The ranges of activations, and a rescaling that changes them but not the network's function."""

from __future__ import annotations

import numpy as np
import pandas as pd
import tensorflow as tf

_HOMOGENEOUS = (
    tf.keras.layers.ReLU,
    tf.keras.layers.MaxPooling2D,
    tf.keras.layers.AveragePooling2D,
    tf.keras.layers.GlobalAveragePooling2D,
    tf.keras.layers.Dropout,
)
_LINEAR = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)


def activation_ranges(model: tf.keras.Model, images: np.ndarray) -> pd.DataFrame:
    """Range of the output of each activation layer, and of the input, over some images.

    Args:
        model: a functional Keras model.
        images: float32 (N, *input shape).

    Returns:
        a row a layer: "min", "max" and the percentiles "p0.5", "p99.5" of all its values.
    """
    kinds = (tf.keras.layers.InputLayer, tf.keras.layers.ReLU, tf.keras.layers.Activation)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    taps = tf.keras.Model(model.inputs, [layer.output for layer in layers])
    outputs = taps.predict(images, verbose=0)
    rows = {
        layer.name: {
            "min": float(np.min(values)),
            "p0.5": float(np.percentile(values, 0.5)),
            "p99.5": float(np.percentile(values, 99.5)),
            "max": float(np.max(values)),
        }
        for layer, values in zip(layers, outputs, strict=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def stretchable_layers(model: tf.keras.Model) -> list[str]:
    """Names of the normalisations whose channels `stretch_channel` can stretch, in order."""
    return [
        layer.name
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization) and _consumer(layer) is not None
    ]


def stretch_channel(
    model: tf.keras.Model, normalisation: str, channel: int, factor: float
) -> tf.keras.Model:
    """A copy that computes the same function with one activation channel `factor` times as large.

    The channel's γ and β are multiplied by the factor, and the next layer's weights for it
    divided: ReLU and pooling let a positive factor through.

    Args:
        model: a functional Keras model.
        normalisation: name of a batch normalisation, see `stretchable_layers`.
        channel: index of the channel.
        factor: positive.

    Raises:
        ValueError: no such layer or channel, or a factor that is not positive.

    Source: M. Nagel et al., ICCV 2019, section 4.1 (cross-layer equalisation, run backwards).
    """
    if not factor > 0:
        raise ValueError(f"factor is {factor}, expected a positive number: ReLU passes only those.")
    if normalisation not in stretchable_layers(model):
        raise ValueError(
            f"{normalisation!r} cannot be stretched; these can: {stretchable_layers(model)}."
        )
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    source = copy.get_layer(normalisation)
    if not 0 <= channel < source.gamma.shape[0]:
        raise ValueError(
            f"channel is {channel}, {normalisation!r} has channels 0 to "
            f"{source.gamma.shape[0] - 1}."
        )
    scale = np.ones(source.gamma.shape[0], np.float32)
    scale[channel] = factor
    source.gamma.assign(source.gamma * scale)
    source.beta.assign(source.beta * scale)
    kernel = _consumer(source).kernel
    kernel.assign(kernel / scale[:, None])  # input channels are the last axis but one
    return copy


def _consumer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
    """The convolution or dense layer that alone reads a layer's channels, if there is one."""
    while True:
        followers = [node.outbound_layer for node in layer.outbound_nodes]
        if len(followers) != 1:
            return None
        layer = followers[0]
        if isinstance(layer, _LINEAR):
            return layer
        if not isinstance(layer, _HOMOGENEOUS):
            return None
