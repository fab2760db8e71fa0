"""The ranges of activations, and a rescaling that changes them but not the network's function."""

from __future__ import annotations

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit.models.folding import fold_lone
from labkit.models.graph import Wiring, copy_of, flat, layer_outputs, normalizes_channels

_L = tf.keras.layers
#: Layers f with f(s x) = s f(x) for s > 0, channel by channel.
_HOMOGENEOUS = (
    *(_L.MaxPooling1D, _L.AveragePooling1D, _L.GlobalMaxPooling1D, _L.GlobalAveragePooling1D),
    *(_L.MaxPooling2D, _L.AveragePooling2D, _L.GlobalMaxPooling2D, _L.GlobalAveragePooling2D),
    *(_L.Dropout, _L.LeakyReLU),
)


def activation_ranges(model: tf.keras.Model, images: np.ndarray) -> pd.DataFrame:
    """Range of the output of each activation layer, and of the input, over some images.

    Args:
        model: a functional Keras model.
        images: float32 (N, *input shape).

    Returns:
        a row per layer: "min", "max" and the percentiles "p0.5", "p99.5" of all its values.
    """
    model = flat(model)
    kinds = (_L.InputLayer, _L.ReLU, _L.Activation)
    values = {layer.name: layer.output for layer in model.layers if isinstance(layer, kinds)}
    outputs = tf.keras.Model(model.inputs, values).predict(images, verbose=0)
    rows = {name: _extent(outputs[name]) for name in values}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def _extent(values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values, (0.5, 99.5))
    return {
        "min": float(np.min(values)),
        "p0.5": float(low),
        "p99.5": float(high),
        "max": float(np.max(values)),
    }


def stretchable_layers(model: tf.keras.Model) -> list[str]:
    """Names of the normalisations whose channels `stretch_channel` can stretch, in order."""
    model = flat(model)
    wiring = Wiring(model)
    return [
        layer.name
        for layer in model.layers
        if normalizes_channels(layer) and _consumer(layer, wiring) is not None
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
    copy = copy_of(model)
    source = copy.get_layer(normalisation)
    if not 0 <= channel < source.gamma.shape[0]:
        raise ValueError(
            f"channel is {channel}, {normalisation!r} has channels 0 to "
            f"{source.gamma.shape[0] - 1}."
        )
    scale = np.ones(source.gamma.shape[0], np.float32)
    scale[channel] = factor
    _stretch(source, scale, _consumer(source, Wiring(copy)))
    return copy


#: A channel that is silent on the images, or hardly read, counts as this part of the largest one.
_LEAST = 1e-3


def equalize(model: tf.keras.Model, images) -> tf.keras.Model:
    """The same function with channels that share one scale better: to be quantised afterwards.

    All channels of an activation have one scale, and so have all inputs of a kernel: one channel
    that is louder than the others, or is read with larger weights, leaves the rest few codes. Here
    each channel is divided by √(largest activation / largest weight that reads it), and those
    weights are multiplied by it, so that both sides get the same range. A normalisation that
    follows a pooling or an activation goes into the layer behind it first, see `folding.fold_lone`:
    where a channel never speaks, its tiny variance has left the largest weights of all.

    Args:
        model: functional or sequential; a nested one is laid out flat. Channels stay as they are
            where another activation than ReLU comes before the next convolution or dense layer, or
            where several layers read them.
        images: float32 (N, *input shape), representative, or as the model takes them.

    Source: M. Nagel et al., ICCV 2019, section 4.1 (cross-layer equalisation), by the activations'
    ranges as in G. Xiao et al., *SmoothQuant*, ICML 2023, equation 4: of the weights, each output
    has a scale already.
    """
    copy = copy_of(fold_lone(model))
    wiring = Wiring(copy)
    found = ((layer, _consumer(layer, wiring)) for layer in copy.layers)
    pairs = [(layer, consumer) for layer, consumer in found if consumer is not None]
    # What one pair exchanges is seen between its two layers only: all are measured at once.
    names = [consumer.name for _, consumer in pairs]
    values = layer_outputs(copy, images, names) if names else {}
    for layer, consumer in pairs:
        taken, _ = values[consumer.name]
        loud, heavy = _largest(taken, -1), _largest(consumer.weights[0].numpy(), -2)
        if loud.any() and heavy.any():
            _stretch(layer, np.sqrt(heavy / loud), consumer)
    return copy


def _largest(values: np.ndarray, axis: int) -> np.ndarray:
    """Largest magnitude of each channel of an axis, `_LEAST` of the largest one at least."""
    found = np.abs(np.moveaxis(values, axis, -1)).reshape(-1, values.shape[axis]).max(axis=0)
    return np.maximum(found, _LEAST * found.max())


def _stretch(layer: _L.Layer, scale: np.ndarray, consumer: _L.Layer) -> None:
    """Channels `scale` times as large, and the weights that read them so much smaller."""
    weights = [layer.gamma, layer.beta] if normalizes_channels(layer) else layer.weights
    for weight in weights:  # output channels are the last axis
        weight.assign(weight * scale)
    kernel = consumer.weights[0]
    kernel.assign(kernel / scale[:, None])  # input channels are the last axis but one


def _consumer(layer: _L.Layer, wiring: Wiring) -> _L.Layer | None:
    """The convolution or dense layer that alone reads the channels that a layer makes, if any."""
    makes = layer.scale and layer.center if normalizes_channels(layer) else _is_rectified(layer)
    while makes:
        layer = wiring.sole_behind(layer)
        if _is_linear(layer) or type(layer) is _L.DepthwiseConv2D:
            return layer
        makes = layer is not None and lets_factors_through(layer)
    return None


def _is_rectified(layer: _L.Layer) -> bool:
    """Whether it is a sum over channels, with nothing or a ReLU behind it."""
    plain = (tf.keras.activations.linear, tf.keras.activations.relu)
    return _is_linear(layer) and layer.activation in plain


def _is_linear(layer: _L.Layer | None) -> bool:
    """Whether it sums over all channels; subclasses, such as the transposed one, are laid out
    differently."""
    if type(layer) in (_L.Conv1D, _L.Conv2D):
        return layer.groups == 1 and layer.data_format == "channels_last"
    return type(layer) is _L.Dense


def lets_factors_through(layer: _L.Layer) -> bool:
    """Whether f(s x) = s f(x) for s > 0: ReLU6, for one, does not."""
    if isinstance(layer, _L.ReLU):
        return layer.max_value is None and not layer.threshold
    if type(layer) is _L.Activation:
        return layer.activation is tf.keras.activations.relu
    return isinstance(layer, _HOMOGENEOUS)
