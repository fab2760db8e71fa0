"""The kernels of a network that techniques work on, whatever the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from labkit.errors import LabkitError
from labkit.models.graph import copy_of, flat

#: What a layer's kernel is called. Depthwise kernels stay out: few weights, each one needed.
_KERNELS = {
    tf.keras.layers.Conv1D: "kernel",
    tf.keras.layers.Conv2D: "kernel",
    tf.keras.layers.Conv3D: "kernel",
    tf.keras.layers.Dense: "kernel",
    tf.keras.layers.SeparableConv1D: "pointwise_kernel",
    tf.keras.layers.SeparableConv2D: "pointwise_kernel",
}


class CompressionError(LabkitError):
    """A network that a technique cannot work on; names the layer and the way out."""


def prunable(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """The kernels of convolutions and dense layers, by the layer's name, in order.

    Depthwise convolutions, recurrent layers and embeddings have none here: pruning and clustering
    leave them as they are.

    Args:
        model: functional or sequential; of a nested one the names are those of `graph.flat`.
    """
    found = {}
    for layer in flat(model).layers:
        name = next((n for kind, n in _KERNELS.items() if isinstance(layer, kind)), None)
        if name is not None:
            found[layer.name] = getattr(layer, name)
    return found


def sparsity_of(model: tf.keras.Model) -> float:
    """Part of the weights of a plain model that are zero, as in its file; 0 if there are none.

    All kernels count, those too that are not `prunable`; biases and normalisations do not.
    """
    kernels = [w.numpy() for w in model.weights if w.shape.rank > 1 and "bias" not in w.name]
    weights = sum(kernel.size for kernel in kernels)
    return 1 - sum(map(np.count_nonzero, kernels)) / weights if weights else 0.0


def masked(model: tf.keras.Model, masks: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A copy whose kernels are multiplied by masks, by name of the layer."""
    copy = copy_of(model)
    kernels = prunable(copy)
    for name, mask in masks.items():
        kernels[name].assign(kernels[name] * mask)
    return copy


def with_new_statistics(model: tf.keras.Model, images, batch: int = 128) -> tf.keras.Model:
    """A copy whose normalisations have measured their means and variances anew; nothing is trained.

    The activations of a network whose weights are pruned, shared or rounded have other statistics
    than those that it was trained with.

    Args:
        model: with batch normalisation.
        images: float32 (N, *input shape), or a structure of such arrays as the model takes it, of
            the training data; some dozens of batches, since the statistics are moving averages.
        batch: images per step.
    """
    copy = copy_of(model)

    @tf.function(reduce_retracing=True)  # the last batch may be shorter
    def measure(part):
        copy(part, training=True)

    for start in range(0, len(tf.nest.flatten(images)[0]), batch):
        part = slice(start, start + batch)
        measure(tf.nest.map_structure(lambda x, part=part: x[part], images))
    return copy
