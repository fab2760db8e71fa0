"""Magnitude pruning: masks, the schedule, training with `tfmot`, and filters taken out for good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper

from labkit.datasets import Dataset
from labkit.models import networks, sign_cnn

#: Epochs and peak learning rate of a fine-tuning, and the part of it in which weights are taken
#: away; the rest lets the remaining ones settle.
EPOCHS = {"quick": 4, "full": 6}
PEAK_LEARNING_RATE = 4e-3
PRUNING_PART = 0.5


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Mask that is False for the smallest weights: unstructured (weight) pruning.

    Args:
        weights: of any shape.
        sparsity: part of the weights to be pruned, rounded to a whole number of them.

    Returns:
        bool, the shape of `weights`.

    Raises:
        ValueError: sparsity is not from 0 to 1.

    Example:
        >>> magnitude_mask(np.array([0.1, -0.5, 0.3, -0.2]), 0.5)
        array([False,  True,  True, False])

    Source: Han et al., *Learning both weights and connections*, NIPS 2015.
    """
    smallest = np.argsort(np.abs(weights), axis=None, kind="stable")
    mask = np.ones(np.size(weights), bool)
    mask[smallest[: _count(np.size(weights), sparsity)]] = False
    return mask.reshape(np.shape(weights))


def filter_mask(kernel: np.ndarray, sparsity: float, order: int = 1) -> np.ndarray:
    """Mask that is False for whole output channels, those of the smallest norm: filter pruning.

    Args:
        kernel: (..., in, out) of a convolution, or (in, out) of a dense layer, where an output
            channel is a neuron.
        sparsity: part of the output channels to be pruned; one is always left.
        order: 1 or 2, of the norm.

    Returns:
        bool, the shape of `kernel`.

    Raises:
        ValueError: sparsity is not from 0 to 1.

    Source: Li et al., *Pruning filters for efficient ConvNets*, ICLR 2017 (order 1).
    """
    norms = filter_norms(kernel, order)
    keep = magnitude_mask(norms, sparsity)
    keep[np.argmax(norms)] = True
    return np.broadcast_to(keep, np.shape(kernel)).copy()


def filter_norms(kernel: np.ndarray, order: int = 1) -> np.ndarray:
    """Norm (out,) of each output channel of a kernel (..., out)."""
    return np.linalg.norm(np.reshape(kernel, (-1, np.shape(kernel)[-1])), ord=order, axis=0)


def n_of_m_mask(kernel: np.ndarray, n: int = 2, m: int = 4) -> np.ndarray:
    """Mask that keeps the n largest of every m neighbours along the input axis: 2:4 sparsity.

    A group that the end of the axis cuts short keeps n of those it has: a convolution of a
    single-channel image stays dense.

    Args:
        kernel: (..., in, out).
        n: weights that are kept of each group.
        m: size of a group.

    Returns:
        bool, the shape of `kernel`.

    Raises:
        ValueError: not 0 < n <= m.

    Source: Mishra et al., *Accelerating sparse deep neural networks*, arXiv:2104.08378 (2021).
    """
    if not 0 < n <= m:
        raise ValueError(f"n of m is {n} of {m}, expected 0 < n <= m.")
    inputs_last = np.swapaxes(np.abs(kernel), -1, -2)
    short = -inputs_last.shape[-1] % m
    padding = [(0, 0)] * (inputs_last.ndim - 1) + [(0, short)]
    groups = np.pad(inputs_last, padding, constant_values=-1).reshape(-1, m)
    keep = np.zeros(groups.shape, bool)
    largest = np.argsort(-groups, axis=1, kind="stable")[:, :n]
    np.put_along_axis(keep, largest, True, axis=1)
    keep = keep.reshape(*inputs_last.shape[:-1], -1)[..., : inputs_last.shape[-1]]
    return np.ascontiguousarray(np.swapaxes(keep, -1, -2))


def _count(total: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is {sparsity}, expected a part from 0 to 1.")
    return round(sparsity * total)


def polynomial_sparsity(
    step: int, begin: int, end: int, initial: float, final: float, power: float = 3
) -> float:
    """Sparsity at a training step: fast at first, slowly where few weights are left.

    Args:
        step: of the training.
        begin: step at which pruning begins, with `initial`.
        end: step from which on the sparsity is `final`.
        initial: sparsity at the beginning, a part from 0 to 1.
        final: sparsity at the end.
        power: 1 is a straight line.

    Raises:
        ValueError: end is not after begin.

    Example:
        >>> polynomial_sparsity(50, begin=0, end=100, initial=0.0, final=0.8)
        0.7

    Source: Zhu & Gupta, *To prune, or not to prune*, arXiv:1710.01878 (2017), equation 1.
    """
    if end <= begin:
        raise ValueError(f"pruning begins at step {begin} and ends at {end}, expected later.")
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final + (initial - final) * (1 - progress) ** power


def lamp_scores(weights: np.ndarray) -> np.ndarray:
    """How much of a layer each weight is, among those that are still there when its turn comes.

    The square of a weight divided by the sum of the squares of all that are not smaller. The
    largest has the score 1, whatever the layer's scale: scores of different layers can be
    compared, and a layer is never pruned away.

    Args:
        weights: a layer's kernel, any shape.

    Returns:
        float64, the same shape, in (0, 1] where a weight is not zero.

    Source: Lee et al., *Layer-adaptive sparsity for the magnitude-based pruning*, ICLR 2021,
    equation 4.
    """
    squares = np.square(np.ravel(weights).astype(np.float64))
    order = np.argsort(squares, kind="stable")
    not_smaller = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros(squares.size)
    scores[order] = squares[order] / np.maximum(not_smaller, np.finfo(float).tiny)
    return scores.reshape(np.shape(weights))


def layer_sparsities(model: tf.keras.Model, sparsity: float) -> dict[str, float]:
    """Sparsity of each layer, if the weights of smallest LAMP score in the network are pruned.

    Args:
        model: a trained network.
        sparsity: of the whole network.

    Returns:
        by name of the layer; weighted with the layers' sizes they make `sparsity`.

    Raises:
        ValueError: sparsity is not from 0 to 1.
    """
    kernels = prunable(model)
    scores = [lamp_scores(kernel.numpy()).ravel() for kernel in kernels.values()]
    masks = np.split(
        magnitude_mask(np.concatenate(scores), sparsity), np.cumsum([s.size for s in scores])[:-1]
    )
    return {name: float(1 - mask.mean()) for name, mask in zip(kernels, masks, strict=True)}


def prunable(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """The kernels of convolutions and dense layers, by the layer's name, in order."""
    kinds = (tf.keras.layers.Conv1D, tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    return {layer.name: layer.kernel for layer in model.layers if isinstance(layer, kinds)}


def sparsity_of(model: tf.keras.Model) -> float:
    """Part of the prunable weights of a plain model that are zero."""
    kernels = [kernel.numpy() for kernel in prunable(model).values()]
    return 1 - sum(map(np.count_nonzero, kernels)) / sum(kernel.size for kernel in kernels)


def by_layer(model: tf.keras.Model, sparsity: float | Mapping[str, float]) -> dict[str, float]:
    """A sparsity for each prunable layer, from one for all or from a mapping.

    Raises:
        ValueError: the mapping names a layer that has no kernel, or a sparsity is not from 0 to 1.
    """
    names = list(prunable(model))
    if not isinstance(sparsity, Mapping):
        sparsity = dict.fromkeys(names, sparsity)
    unknown = sorted(set(sparsity) - set(names))
    if unknown:
        raise ValueError(f"{unknown[0]!r} has no kernel to be pruned; these have: {names}.")
    for name, part in sparsity.items():
        if not 0 <= part <= 1:
            raise ValueError(f"sparsity of {name!r} is {part}, expected a part from 0 to 1.")
    return {name: float(sparsity.get(name, 0.0)) for name in names}


def masked(model: tf.keras.Model, masks: Mapping[str, np.ndarray]) -> tf.keras.Model:
    """A copy whose kernels are multiplied by masks, by name of the layer."""
    copy = networks.copy_of(model)
    for name, mask in masks.items():
        kernel = copy.get_layer(name).kernel
        kernel.assign(kernel * mask)
    return copy


def with_new_statistics(
    model: tf.keras.Model, images: np.ndarray, batch: int = 128
) -> tf.keras.Model:
    """A copy whose normalisations have measured their means and variances anew; nothing is trained.

    The statistics of a pruned network's activations are not those that it was trained with.

    Args:
        model: with batch normalisation.
        images: float32 (N, *input shape), of the training data; some dozens of batches, since the
            statistics are moving averages.
        batch: images a step.
    """
    copy = networks.copy_of(model)
    for start in range(0, len(images), batch):
        copy(images[start : start + batch], training=True)
    return copy


def steps_of(dataset: Dataset, profile: str, epochs: int) -> int:
    """Training steps of so many epochs."""
    size = min(sign_cnn.BATCH[profile], len(dataset.x_train))
    return epochs * (len(dataset.x_train) // size)


def prune(
    model: tf.keras.Model,
    final_sparsity: float | Mapping[str, float],
    end: int,
    *,
    initial_sparsity: float = 0.0,
    begin: int = 0,
    frequency: int = 20,
    n_of_m: tuple[int, int] | None = None,
) -> tf.keras.Model:
    """A copy that `tfmot` prunes while it is trained; the model itself is not changed.

    Args:
        model: a trained sequential or functional model.
        final_sparsity: of every kernel, or by name of the layer, see `layer_sparsities`.
        end: step at which the final sparsity is reached.
        initial_sparsity: at step `begin`, as a part of the final one.
        begin: step at which pruning begins.
        frequency: steps from one mask to the next.
        n_of_m: keep n of every m weights along the inputs, from the first step on; of
            `final_sparsity` only counts then which layers it names.

    Raises:
        ValueError: an unknown layer, or a sparsity that is not from 0 to 1.

    Source: Zhu & Gupta, arXiv:1710.01878 (2017).
    """
    finals = {name: part for name, part in by_layer(model, final_sparsity).items() if part > 0}
    zeros = None if n_of_m is None else (n_of_m[1] - n_of_m[0], n_of_m[1])  # tfmot counts zeros

    def wrapped(layer):
        if layer.name not in finals:
            return layer
        final = finals[layer.name]
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity * final, final, begin, end, power=3, frequency=frequency
        )
        return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule, sparsity_m_by_n=zeros)

    return tf.keras.models.clone_model(networks.copy_of(model), clone_function=wrapped)


def fine_tune(
    model: tf.keras.Model,
    dataset: Dataset,
    profile: str = "full",
    seed: int = 0,
    *,
    epochs: int | None = None,
    learning_rate: float = PEAK_LEARNING_RATE,
) -> dict[str, list[float]]:
    """Fine-tune a model from `prune`, or a plain one, in place.

    Returns:
        "loss" and "accuracy" an epoch, see `sign_cnn.train`.
    """
    return sign_cnn.train(
        model,
        dataset,
        profile,
        seed,
        epochs=EPOCHS[profile] if epochs is None else epochs,
        learning_rate=learning_rate,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
    )


def strip(model: tf.keras.Model) -> tf.keras.Model:
    """The plain model of a trained one from `prune`, with zeros where the masks are.

    It is a clean clone: what `tfmot.sparsity.keras.strip_pruning` returns shares its layers with
    the training model, and cannot be saved and loaded.
    """
    plain = tf.keras.models.clone_model(tfmot.sparsity.keras.strip_pruning(model))
    for layer in model.layers:
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
            masks = {weight.ref(): mask for weight, mask, _ in layer.pruning_vars}
            inner = layer.layer
        else:
            masks, inner = {}, layer
        plain.get_layer(inner.name).set_weights(
            [w.numpy() * masks[w.ref()].numpy() if w.ref() in masks else w for w in inner.weights]
        )
    return plain


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


def quantize_preserving(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of a pruned plain model for quantisation-aware training that keeps its zeros.

    Source: `tfmot`'s prune-preserving 8-bit scheme (collaborative optimisation).
    """
    annotated = tfmot.quantization.keras.quantize_annotate_model(networks.copy_of(model))
    scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    return tfmot.quantization.keras.quantize_apply(annotated, scheme)
