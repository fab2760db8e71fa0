"""Which layers of a network matter: by how they change the dimension, and by what their noise does.

The first two ask what a layer does to the data: by how much the intrinsic dimension of what it
gives differs from that of what it reads. The others ask what quantising it does to the answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import dimension
from labkit.compress import mixed_precision
from labkit.compress.kernels import CompressionError, prunable
from labkit.compress.mixed_precision import Precision, memory
from labkit.compress.mixed_precision.layers import weight_codes
from labkit.dimension import Covariance, DimensionError, DimensionWarning
from labkit.models import graph

RULES = ("change", "increase")
_BATCH = 256
_L = tf.keras.layers
_SAME_POINTS = (_L.Flatten, _L.Reshape)


def intrinsic_dimensions(
    model: tf.keras.Model, images, estimator: str = "linear", discard: float = 0.1
) -> pd.DataFrame:
    """TwoNN's dimension of what each layer reads and gives, all of it as one long vector.

    What a layer gives is taken where the next layer with weights reads it: behind its activation,
    pooling and so on.

    Args:
        model: functional or sequential, of one input.
        images: (N, ...); a few thousand, since dimensions depend on their number.
        estimator: of `dimension.two_nn`.
        discard: of `dimension.two_nn`.

    Returns:
        a row per convolution or dense layer: "read" and "given", dimensions, their difference
        "change", and "features", the length of the vectors that it gives.

    Raises:
        CompressionError: the model has several inputs.

    Warns:
        DimensionWarning: a reading is so high that it is known to be too low; or the points of a
            layer have no dimension, for example because they are all the same, and it is NaN:
            says which layer and why.

    Source: Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices*
    (IIT Madras, 2022), section 3.3.1; Ansuini et al., *Intrinsic dimension of data representations
    in deep neural networks*, arXiv:1905.12784.
    """

    def measured(batches: Iterator[np.ndarray]) -> float:
        points = np.concatenate([batch.reshape(len(batch), -1) for batch in batches])
        return dimension.two_nn(points, estimator, discard).dimension

    return _profile(model, images, measured)


def principal_components(model: tf.keras.Model, images, share: float = 0.99) -> pd.DataFrame:
    """How many principal components explain what each layer reads and gives, among its channels.

    Every position of every image is a point, whose coordinates are the channels.

    Args:
        model: functional or sequential, of one input.
        images: (N, ...).
        share: of the variance that is explained.

    Returns:
        as `intrinsic_dimensions`.

    Raises:
        CompressionError: the model has several inputs.

    Warns:
        DimensionWarning: what a layer gives does not vary, and is NaN; says which layer.

    Source: Chakraborty et al., *Constructing energy-efficient mixed-precision neural networks
    through principal component analysis for edge intelligence*, Nature Machine Intelligence 2,
    2020 (Hybrid-Net).
    """

    def measured(batches: Iterator[np.ndarray]) -> float:
        covariance = None
        for batch in batches:
            points = batch.reshape(-1, batch.shape[-1])
            covariance = covariance or Covariance(points.shape[1])
            covariance.add(points)
        return covariance.components(share)

    return _profile(model, images, measured)


def significant(table: pd.DataFrame, threshold: float, rule: str = "change") -> list[str]:
    """Layers that change the dimension by more than a threshold.

    Where a dimension is not known, NaN, neither is its change: such a layer is not among them.

    Args:
        table: from `intrinsic_dimensions` or `principal_components`.
        threshold: Δ.
        rule: "change", |ID_l - ID_(l-1)| > Δ, the thesis's criterion; or "increase",
            ID_l - ID_(l-1) > Δ, Hybrid-Net's.

    Raises:
        CompressionError: another rule.
    """
    if rule not in RULES:
        raise CompressionError(f"the rule is {rule!r}, expected one of {', '.join(RULES)}.")
    change = table["change"].abs() if rule == "change" else table["change"]
    return list(table.index[change > threshold])


def plan(
    model: tf.keras.Model,
    significant: Sequence[str],
    bits: int | Precision = 2,
    others: int | Precision = 1,
) -> dict[str, Precision]:
    """More bits for significant layers than for the others; the first and the last stay in float.

    Args:
        model: of these layers.
        significant: names of layers.
        bits: of a significant layer.
        others: of the rest.

    Source: Chakraborty et al.; the thesis, section 3.3.
    """
    names = mixed_precision.inner(model)
    return mixed_precision.checked(
        model, {name: bits if name in significant else others for name in names}
    )


def quantization_noise(
    model: tf.keras.Model, images, precision: int | Precision = 1
) -> pd.DataFrame:
    """What quantising one layer alone does to its weights, and to the network's answers.

    Args:
        model: functional or sequential, of one output.
        images: representative; let `mixed_precision.within_one` bring the network's activations
            within ±1 first, or what is seen is the clipping.
        precision: of the layer, one after the other.

    Returns:
        a row per layer: "squared error" of its weights, their "SQNR (dB)", and "output SQNR (dB)",
        signal to noise of the network's outputs.
    """
    exact = model.predict(images, verbose=0)
    rows = {}
    for name in mixed_precision.quantizable(model):
        mixed = mixed_precision.quantize(model, {name: precision})
        layer = mixed.get_layer(name)
        rounded = _rounded(layer.kernel, layer.precision)
        rows[name] = {
            "squared error": _squared_error(layer.kernel, rounded),
            "SQNR (dB)": _sqnr(layer.kernel, rounded),
            "output SQNR (dB)": _sqnr(exact, mixed.predict(images, verbose=0)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def sensitivities(
    model: tf.keras.Model, traces: pd.Series, widths: Sequence[int | Precision]
) -> pd.DataFrame:
    """HAWQ-V2's Ω: mean Hessian trace of a layer times the squared error of its weights.

    Args:
        model: a trained network.
        traces: by layer, from `hessian.mean_traces`.
        widths: precisions that are weighed against one another; 32 has no error.

    Returns:
        a row per layer of `traces`, a column for each width as it is given.

    Raises:
        CompressionError: a layer or a precision that there is not.

    Source: Z. Dong et al., *HAWQ-V2*, NeurIPS 2020 (arXiv:1911.03852).
    """
    kernels = prunable(model)
    found = {}
    for width in widths:
        precisions = mixed_precision.checked(model, dict.fromkeys(traces.index, width))
        found[width] = [
            trace * _squared_error(kernels[name], _rounded(kernels[name], precisions.get(name)))
            for name, trace in traces.items()
        ]
    return pd.DataFrame(found, index=traces.index)


def pareto(model: tf.keras.Model, sensitivities: pd.DataFrame) -> pd.DataFrame:
    """The plans that no other plan beats in size and in sensitivity, both summed over the layers.

    Args:
        model: of these layers; the others stay in full precision.
        sensitivities: a row per layer and a column per precision, from `sensitivities`.

    Returns:
        a row per plan, the smallest first: "size (bits)" of the whole network, "sensitivity", and
        what each layer has in a column of its own: `table.loc[i, list(layers)]` is a plan.

    Sums are completed layer by layer: a part of a plan that is beaten stays beaten, so that there
    is no need to look at every plan.

    Source: the Pareto front of Dong et al.
    """
    names = list(sensitivities.index)
    sizes = {
        width: memory(model, dict.fromkeys(names, width))["size (bits)"].to_dict()
        for width in sensitivities
    }
    whole = memory(model, {})["size (bits)"]
    front = [(int(whole.drop(names).sum()), 0.0, ())]
    for name in names:
        longer = [
            (size + sizes[width][name], cost + sensitivities.loc[name, width], (*chosen, width))
            for size, cost, chosen in front
            for width in sensitivities
        ]
        front, best = [], np.inf
        for candidate in sorted(longer, key=lambda row: row[:2]):
            if candidate[1] < best:
                front.append(candidate)
                best = candidate[1]
    return pd.DataFrame(
        [
            {"size (bits)": size, "sensitivity": cost, **dict(zip(names, chosen, strict=True))}
            for size, cost, chosen in front
        ]
    )


def _rounded(kernel: tf.Variable, precision: Precision | None) -> np.ndarray:
    """The kernel's quantised values; its own in full precision."""
    if precision is None:
        return kernel.numpy()
    codes, step = weight_codes(kernel, precision)
    return (codes * step).numpy()


def _squared_error(kernel: tf.Variable, rounded: np.ndarray) -> float:
    return float(np.sum((kernel.numpy() - rounded) ** 2, dtype=np.float64))


def _sqnr(exact, found) -> float:
    """Signal to quantisation noise, in decibels; infinite without noise."""
    exact, found = np.asarray(exact, np.float64), np.asarray(found, np.float64)
    noise = np.sum((exact - found) ** 2)
    return float(10 * np.log10(np.sum(exact**2) / noise)) if noise else np.inf


def _profile(
    model: tf.keras.Model, images, measured: Callable[[Iterator[np.ndarray]], float]
) -> pd.DataFrame:
    """A dimension of what each layer reads and gives, NaN without one; each tensor once."""
    model = graph.flat(model)
    if len(model.inputs) != 1:
        raise CompressionError(
            f"{model.name!r} has {len(model.inputs)} inputs, expected one whose dimension counts."
        )
    wiring, known, rows = graph.Wiring(model), {}, {}

    def of(tensor, name: str) -> float:
        source = tensor._keras_history
        key = id(source.layer), source.node_index, source.tensor_index
        if key not in known:
            tap = tf.keras.Model(model.inputs, tensor)
            parts = range(0, len(images), _BATCH)
            batches = (tap(images[i : i + _BATCH], training=False).numpy() for i in parts)
            try:
                known[key] = float(measured(batches))
            except DimensionError as error:
                warnings.warn(f"at layer {name!r}: {error}", DimensionWarning, stacklevel=3)
                known[key] = np.nan
        return known[key]

    for name in prunable(model):
        layer = model.get_layer(name)
        given = _given(layer, wiring)
        before, after = of(_read(layer, wiring), name), of(given, name)
        rows[name] = {
            "read": before,
            "given": after,
            "change": after - before,
            "features": int(np.prod(given.shape[1:])),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def _read(layer: _L.Layer, wiring: graph.Wiring):
    """The tensor that a layer reads, before it is laid flat: its channels are what they were."""
    before = wiring.sole_before(layer)
    while isinstance(before, _SAME_POINTS):
        layer, before = before, wiring.sole_before(before)
    return layer.input


def _given(layer: _L.Layer, wiring: graph.Wiring):
    """The tensor that a layer gives, behind all that has no weights and alone reads it."""
    reader = wiring.sole_behind(layer)
    while reader is not None and not reader.weights and not isinstance(reader, _SAME_POINTS):
        if wiring.sole_before(reader) is None:
            break
        layer, reader = reader, wiring.sole_behind(reader)
    return layer.output
