"""Filters taken out for good: masked first, then removed from a smaller dense network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from labkit.models import networks


def mask_filters(model: tf.keras.Model, keep: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A copy in which the filters that are not kept put out zero, whatever comes in.

    With the filter its bias goes, and the normalisation's γ and β behind it, which would make
    something of nothing.

    Args:
        model: a chain of layers, see `remove_filters`.
        keep: by name of a layer, bool (its output channels,).
    """
    copy = networks.copy_of(model)
    kept = None
    for layer in _chain(copy, keep):
        if layer.name in keep:
            kept = np.asarray(keep[layer.name], np.float32)
            layer.set_weights([w * kept for w in layer.get_weights()])
        elif isinstance(layer, (tf.keras.layers.Conv2D, tf.keras.layers.Dense)):
            kept = None
        elif isinstance(layer, tf.keras.layers.BatchNormalization) and kept is not None:
            names = [v.name.split("/")[-1].split(":")[0] for v in layer.weights]
            values = zip(names, layer.get_weights(), strict=True)
            layer.set_weights([w * kept if n in ("gamma", "beta") else w for n, w in values])
    return copy


def remove_filters(model: tf.keras.Model, keep: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A smaller dense model without the filters that are not kept.

    A filter goes with its bias, its channel of the normalisation behind it, and the next layer's
    weights for it. What is left computes what `mask_filters` does, on every device in less time.

    Args:
        model: a chain of convolutions, dense layers, normalisations, and layers without weights.
        keep: by name of a convolution or dense layer, bool (its output channels,); the last
            layer's outputs, the classes, cannot be removed.

    Raises:
        ValueError: not a chain, an unknown or the last layer, a mask of another length, or one
            that leaves nothing.

    Source: Li et al., *Pruning filters for efficient ConvNets*, ICLR 2017, figure 1.
    """
    layers = _chain(model, keep)
    smaller = tf.keras.models.clone_model(model, clone_function=lambda layer: _resized(layer, keep))
    kept = None  # channels that arrive at a layer; None: all
    for layer in layers:
        values = layer.get_weights()
        if isinstance(layer, (tf.keras.layers.Conv2D, tf.keras.layers.Dense)):
            if kept is not None:
                values[0] = values[0][..., kept, :]
            kept = None
            if layer.name in keep:
                kept = np.flatnonzero(keep[layer.name])
                values = [w[..., kept] for w in values]
        elif isinstance(layer, tf.keras.layers.Flatten) and kept is not None:
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
    weighted = []
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense, tf.keras.layers.BatchNormalization)
    for layer in model.layers:
        inbound = layer.inbound_nodes[0].inbound_layers if layer.inbound_nodes else []
        if (isinstance(inbound, list) and len(inbound) > 1) or len(layer.outbound_nodes) > 1:
            raise ValueError(f"layer {layer.name!r} branches: filters come out of chains only.")
        if layer.weights and type(layer) not in kinds:
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}: filters come out of chains of "
                "convolutions, dense layers and normalisations only."
            )
        if type(layer) in kinds[:2]:
            weighted.append(layer.name)
    for name, mask in keep.items():
        if name not in weighted[:-1]:
            raise ValueError(f"{name!r} cannot lose filters; these can: {weighted[:-1]}.")
        channels = model.get_layer(name).kernel.shape[-1]
        if np.shape(mask) != (channels,) or not np.any(mask):
            raise ValueError(
                f"the mask of {name!r} has shape {np.shape(mask)} and keeps "
                f"{np.count_nonzero(mask)}, expected ({channels},) and at least one."
            )
    return model.layers
