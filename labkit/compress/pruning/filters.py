"""Filters taken out for good: masked first, then removed from a smaller dense network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from labkit.compress.kernels import CompressionError
from labkit.models.graph import Wiring, copy_of, flat, normalizes_channels

_L = tf.keras.layers
_FILTERED = (_L.Conv1D, _L.Conv2D, _L.Dense)
_PASSING = (
    *(_L.InputLayer, _L.Flatten, _L.Dropout, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU),
    *(_L.MaxPooling1D, _L.AveragePooling1D, _L.GlobalMaxPooling1D, _L.GlobalAveragePooling1D),
    *(_L.MaxPooling2D, _L.AveragePooling2D, _L.GlobalMaxPooling2D, _L.GlobalAveragePooling2D),
)


def mask_filters(model: tf.keras.Model, keep: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A copy in which the filters that are not kept put out zero, whatever comes in.

    With the filter its bias goes, and the normalisation's γ and β behind it, which would make
    something of nothing.

    Args:
        model: a chain of layers, see `remove_filters`.
        keep: by name of a layer, bool (its output channels,).
    """
    copy = copy_of(model)
    kept = None
    for layer in _chain(copy, keep):
        if layer.name in keep:
            kept = np.asarray(keep[layer.name], np.float32)
            layer.set_weights([w * kept for w in layer.get_weights()])
        elif isinstance(layer, _FILTERED):
            kept = None
        elif isinstance(layer, _L.BatchNormalization) and kept is not None:
            names = [v.name.split("/")[-1].split(":")[0] for v in layer.weights]
            # Without a γ it is the mean that would make something of nothing.
            cleared = ("gamma", "beta") if layer.scale else ("beta", "moving_mean")
            values = zip(names, layer.get_weights(), strict=True)
            layer.set_weights([w * kept if n in cleared else w for n, w in values])
    return copy


def remove_filters(model: tf.keras.Model, keep: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A smaller dense model without the filters that are not kept.

    A filter goes with its bias, its channel of the normalisation behind it, and the next layer's
    weights for it. What is left computes what `mask_filters` does, on every device in less time.

    Args:
        model: a chain of convolutions, dense layers, normalisations, pooling, and activations that
            leave zero as it is; a nested one is laid out flat.
        keep: by name of a convolution or dense layer, bool (its output channels,); the last
            layer's outputs, the classes, cannot be removed.

    Raises:
        CompressionError: not such a chain, an unknown or the last layer, a mask of another length,
            or one that leaves nothing.

    Source: Li et al., *Pruning filters for efficient ConvNets*, ICLR 2017, figure 1.
    """
    model = flat(model)
    layers = _chain(model, keep)
    smaller = tf.keras.models.clone_model(model, clone_function=lambda layer: _resized(layer, keep))
    kept = None  # channels that arrive at a layer; None: all
    for layer in layers:
        values = layer.get_weights()
        if isinstance(layer, _FILTERED):
            if kept is not None:
                values[0] = values[0][..., kept, :]
            kept = None
            if layer.name in keep:
                kept = np.flatnonzero(keep[layer.name])
                values = [w[..., kept] for w in values]
        elif isinstance(layer, _L.Flatten) and kept is not None:
            positions = np.arange(np.prod(layer.output_shape[1:])).reshape(
                -1, layer.input_shape[-1]
            )
            kept = positions[:, kept].ravel()
        elif kept is not None:
            values = [w[kept] for w in values]
        smaller.get_layer(layer.name).set_weights(values)
    return smaller


def _resized(layer: tf.keras.layers.Layer, keep: Mapping[str, np.ndarray]):
    """An untrained layer of the same kind, with as many channels as are kept."""
    config = layer.get_config()
    if layer.name in keep:
        channels = int(np.count_nonzero(keep[layer.name]))
        config["filters" if "filters" in config else "units"] = channels
    return type(layer).from_config(config)


def _chain(model: tf.keras.Model, keep: Mapping[str, np.ndarray]) -> list[tf.keras.layers.Layer]:
    """The layers in order, checked: whether they are a chain and the masks fit them."""
    weighted = [layer.name for layer in model.layers if type(layer) in _FILTERED]
    for name, mask in keep.items():
        if name not in weighted[:-1]:
            raise CompressionError(f"{name!r} cannot lose filters; these can: {weighted[:-1]}.")
        channels = model.get_layer(name).kernel.shape[-1]
        if np.shape(mask) != (channels,) or not np.any(mask):
            raise CompressionError(
                f"the mask of {name!r} has shape {np.shape(mask)} and keeps "
                f"{np.count_nonzero(mask)}, expected ({channels},) and at least one."
            )
    wiring, some_are_missing = Wiring(model), False
    for layer, following in zip(model.layers, [*model.layers[1:], None], strict=True):
        if wiring.behind(layer) != [following] or len(wiring.before(layer)) > 1:
            raise CompressionError(f"layer {layer.name!r} branches: filters come out of chains.")
        loses = layer.name in keep
        if (loses or some_are_missing) and (fault := _fault(layer, loses)):
            raise CompressionError(
                f"layer {layer.name!r} {fault}: filters come out where nothing but normalisations "
                "over the last axis, pooling, and activations that leave zero as it is stand "
                "between a convolution or dense layer and the next one."
            )
        some_are_missing = loses or (some_are_missing and not isinstance(layer, _FILTERED))
    return model.layers


def _fault(layer: tf.keras.layers.Layer, loses: bool) -> str:
    """Why a layer cannot lose filters, or channels of its inputs; empty if it can."""
    if isinstance(layer, _L.BatchNormalization):
        last = normalizes_channels(layer)
        return "" if last else f"normalises along the axes {list(layer.axis)}"
    if type(layer) not in (*_FILTERED, *_PASSING):
        return f"is a {type(layer).__name__}"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "has its channels first"
    if getattr(layer, "groups", 1) > 1:
        return "has groups"
    # What a sigmoid makes of a masked channel, 0.5, the smaller network would miss.
    activation = getattr(layer, "activation", None) if loses or type(layer) in _PASSING else None
    if activation is not None and np.any(activation(tf.zeros((1, 2)))):
        return f"has the activation {activation.__name__}"
    return ""
