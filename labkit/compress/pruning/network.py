"""A network that `tfmot` prunes while it is trained, and the plain one that it leaves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper

from labkit.compress import kernels, quantization_aware
from labkit.compress.pruning.lookahead import lookahead_scores
from labkit.compress.pruning.masks import lamp_scores, magnitude_mask
from labkit.models import graph


def _magnitudes(model: tf.keras.Model) -> dict[str, np.ndarray]:
    return {name: np.abs(kernel.numpy()) for name, kernel in kernels.prunable(model).items()}


#: What weights are ranked by, by name.
_SCORES = {"magnitude": _magnitudes, "lookahead": lookahead_scores}


def scores(model: tf.keras.Model, by: str = "magnitude") -> dict[str, np.ndarray]:
    """How much each prunable weight counts: the smallest of a layer are pruned.

    Args:
        model: functional or sequential; of a nested one the names are those of `graph.flat`.
        by: "magnitude", or "lookahead", see `lookahead_scores`.

    Returns:
        the kernel's shape, by name of the layer.

    Raises:
        CompressionError: an unknown name.
    """
    if by not in _SCORES:
        raise kernels.CompressionError(
            f"weights are ranked by {', '.join(_SCORES)}: there is no {by!r}."
        )
    return _SCORES[by](model)


def layer_masks(
    model: tf.keras.Model, sparsity: float | Mapping[str, float], by: str = "magnitude"
) -> dict[str, np.ndarray]:
    """Masks that prune the weights of smallest score in each layer, for `masked`.

    Args:
        model: a trained network.
        sparsity: of every kernel, or by name of the layer, see `layer_sparsities`.
        by: "magnitude" or "lookahead", see `scores`.

    Returns:
        bool, the kernel's shape, by name of the layer.

    Raises:
        CompressionError: an unknown name of scores.
        ValueError: an unknown layer, or a sparsity that is not from 0 to 1.

    Example:
        >>> smaller = masked(model, layer_masks(model, 0.9, "lookahead"))
    """
    parts = by_layer(model, sparsity)
    return {name: magnitude_mask(s, parts[name]) for name, s in scores(model, by).items()}


def layer_sparsities(model: tf.keras.Model, sparsity: float) -> dict[str, float]:
    """Sparsity of each layer, if the weights of smallest LAMP score in the network are pruned.

    Args:
        model: a trained network.
        sparsity: of the whole network.

    Returns:
        by name of the layer; weighted with the layers' sizes they make `sparsity`.

    Raises:
        ValueError: sparsity is not from 0 to 1, or there is no kernel.
    """
    found = kernels.prunable(model)
    if not found:
        raise ValueError(f"{model.name!r} has no kernel to be pruned.")
    scores = [lamp_scores(kernel.numpy()).ravel() for kernel in found.values()]
    masks = np.split(
        magnitude_mask(np.concatenate(scores), sparsity), np.cumsum([s.size for s in scores])[:-1]
    )
    return {name: float(1 - mask.mean()) for name, mask in zip(found, masks, strict=True)}


def by_layer(model: tf.keras.Model, sparsity: float | Mapping[str, float]) -> dict[str, float]:
    """A sparsity for each prunable layer, from one for all or from a mapping.

    Raises:
        ValueError: the mapping names a layer that has no kernel, a sparsity is not from 0 to 1, or
            no layer of the model has a kernel.
    """
    names = list(kernels.prunable(model))
    if not names:
        raise ValueError(f"{model.name!r} has no kernel to be pruned.")
    if not isinstance(sparsity, Mapping):
        sparsity = dict.fromkeys(names, sparsity)
    unknown = sorted(set(sparsity) - set(names))
    if unknown:
        raise ValueError(f"{unknown[0]!r} has no kernel to be pruned; these have: {names}.")
    for name, part in sparsity.items():
        if not 0 <= part <= 1:
            raise ValueError(f"sparsity of {name!r} is {part}, expected a part from 0 to 1.")
    return {name: float(sparsity.get(name, 0.0)) for name in names}


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
        model: a trained sequential or functional model; a nested one is flattened.
        final_sparsity: of every kernel, or by name of the layer, see `layer_sparsities`.
        end: step at which the final sparsity is reached.
        initial_sparsity: at step `begin`, as a part of the final one.
        begin: step at which pruning begins.
        frequency: steps from one mask to the next; fewer where there would be less than ten masks:
            `tfmot` makes none at all when `end` comes before the second one.
        n_of_m: keep n of every m weights along the inputs, from the first step on; of
            `final_sparsity` only counts then which layers it names.

    Raises:
        ValueError: an unknown layer, or a sparsity that is not from 0 to 1.

    Source: Zhu & Gupta, arXiv:1710.01878 (2017).
    """
    finals = {name: part for name, part in by_layer(model, final_sparsity).items() if part > 0}
    frequency = min(frequency, max(1, (end - begin) // 10))
    zeros = None if n_of_m is None else (n_of_m[1] - n_of_m[0], n_of_m[1])  # tfmot counts zeros

    def wrapped(layer):
        if layer.name not in finals:
            return layer
        final = finals[layer.name]
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity * final, final, begin, end, power=3, frequency=frequency
        )
        return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule, sparsity_m_by_n=zeros)

    copy = graph.copy_of(model)
    return tf.keras.models.clone_model(copy, clone_function=wrapped)


def callbacks() -> list[tf.keras.callbacks.Callback]:
    """What the training of a model from `prune` needs: it moves the schedule on at each step."""
    return [tfmot.sparsity.keras.UpdatePruningStep()]


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


def quantize_preserving(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of a pruned plain model for quantisation-aware training that keeps its zeros.

    Raises:
        CompressionError: a layer that quantisation-aware training does not know, by name.

    Source: `tfmot`'s prune-preserving 8-bit scheme (collaborative optimisation).
    """
    scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    return quantization_aware.quantize(model, scheme=scheme)
