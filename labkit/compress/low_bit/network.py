"""A network with QKeras's layers, and the plain one of its rounded weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qkeras
import tensorflow as tf
from qkeras.quantizers import BaseQuantizer
from qkeras.utils import load_qmodel

from labkit import files
from labkit.compress import kernels
from labkit.compress.kernels import CompressionError
from labkit.compress.low_bit import layers
from labkit.compress.low_bit.quantizers import FOUR_BITS, quantizer, quietly
from labkit.compress.low_bit.scale import fit_scales
from labkit.models import graph

_RELUS = ("relu", "relu6")


def quantize(
    model: tf.keras.Model,
    weights: str = FOUR_BITS,
    biases: str = FOUR_BITS,
    activations: str | None = None,
    fit_scale: bool = True,
) -> tf.keras.Model:
    """A QKeras copy of a trained model, warm-started from its weights; the model is not changed.

    A kernel that batch normalisation follows may have any scale, since the normalisation takes it
    out again; so may one whose inputs come from a normalisation through ReLU and pooling. Such a
    kernel is scaled to where its rounded weights point most nearly in its own direction, and the
    normalisation makes up for it: the copy computes the same but for the rounding. A warning names
    the layers of which that is not so: those whose weights or biases go beyond the quantiser's
    range, and those that stay in floating point, see `left_in_float`.

    Args:
        model: functional or sequential. Convolutions, depthwise ones too, and dense layers become
            QKeras's, with their other options (QKeras clips their weights, unless a layer has a
            constraint of its own); everything else stays as it is, see `left_in_float`.
        weights: quantiser of their kernels, in QKeras's notation.
        biases: quantiser of their biases.
        activations: quantiser in the place of every ReLU and ReLU6, layers as well as those within
            a convolution or dense layer, for example "quantized_relu(4,2)"; without, they stay.
        fit_scale: use that freedom; without, the kernels are rounded as they are.

    Raises:
        CompressionError: QKeras does not know a quantiser, or `activations` is given and a layer
            before the outputs has a function that is no ReLU.

    Source of the scale: F. Li, B. Zhang & B. Liu, *Ternary weight networks*, arXiv:1605.04711.
    """
    for name in (weights, biases, activations):
        if name is not None:
            quantizer(name)

    model = graph.flat(model)
    wiring = graph.Wiring(model)

    def replaced(layer):
        is_last = None in wiring.behind(layer)
        rectifies = activations is not None and _rectifies(layer, is_last)
        if type(layer) in layers.TWINS:
            return layers.quantized(layer, weights, biases, activations if rectifies else None)
        if rectifies:
            return qkeras.QActivation(activations, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    with quietly():
        copy = graph.copy_of(model, replaced)
        if fit_scale:
            fit_scales(copy, quantized_layers(copy))
    for complaint in (*_cut(copy), *_left(copy)):
        warnings.warn(complaint, UserWarning, stacklevel=2)
    return copy


def _cut(model: tf.keras.Model) -> list[str]:
    """What to say of weights and biases that a quantiser of fixed range cuts off."""
    found = []
    for layer in quantized_layers(model):
        for variable, quantise in zip(layer.weights, layer.get_quantizers(), strict=False):
            fixed = isinstance(quantise, qkeras.quantized_bits)
            if not fixed or isinstance(quantise.alpha, str):
                continue
            values, rounded = variable.numpy(), np.asarray(quantise(variable))
            # Rounding is off by half a step; up to a whole one where the range ends.
            lost = np.abs(values - rounded) > 1.001 * _step(quantise).max()
            if lost.any():
                what = variable.name.split("/")[-1].split(":")[0]
                found.append(
                    f"{layer.name!r}: its {what} of up to {np.abs(values).max():.3g} is cut off at "
                    f"{np.abs(rounded).max():.3g}: choose a quantiser with more integer bits, for "
                    "example quantized_bits(8,3,1,alpha=1)."
                )
    return found


def _left(model: tf.keras.Model) -> list[str]:
    left = left_in_float(model)
    names = ", ".join(map(repr, left))
    return [f"not quantised, since QKeras has no such layer here: {names}."] if left else []


def _rectifies(layer: tf.keras.layers.Layer, is_last: bool) -> bool:
    """Whether a layer ends in a ReLU that a quantiser can stand for.

    Raises:
        CompressionError: in another function, or in a ReLU that cannot be taken out of the layer.
    """
    function = _function_of(layer)
    replaceable = (*layers.TWINS, tf.keras.layers.ReLU, tf.keras.layers.Activation)
    if function in _RELUS and type(layer) in replaceable:
        return True
    if function is None or is_last:
        return False
    raise CompressionError(
        f"{layer.name!r}, a {type(layer).__name__}, computes {function}: `activations` stands for "
        "ReLUs alone, in layers of their own and within convolutions and dense layers. Build the "
        "network with such, or leave out `activations`."
    )


def _function_of(layer: tf.keras.layers.Layer) -> str | None:
    """Name of the activation function that a layer ends in; None for none."""
    kinds = tf.keras.layers
    if isinstance(layer, kinds.ReLU):
        leaks = layer.negative_slope or layer.threshold
        return "a ReLU with a slope or a threshold" if leaks else "relu"
    others = (kinds.LeakyReLU, kinds.PReLU, kinds.ELU, kinds.ThresholdedReLU, kinds.Softmax)
    if isinstance(layer, others):
        return type(layer).__name__
    if symbol := getattr(layer, "symbol", None):  # a function of TensorFlow, called on a tensor
        name = symbol.split(".")[-1]
        return name if "relu" in name or hasattr(tf.keras.activations, name) else None
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", type(function).__name__)
    return None if function is None or name == "linear" else name


def quantized_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The QKeras convolutions and dense layers of a model, in order."""
    return [layer for layer in model.layers if type(layer) in layers.PLAIN]


def left_in_float(model: tf.keras.Model) -> list[str]:
    """Names of the layers of a model from `quantize` whose weights are not quantised.

    Normalisations are not among them: they are folded into what stands before them in a file.
    """
    kept = (*layers.PLAIN, tf.keras.layers.BatchNormalization)
    return [layer.name for layer in model.layers if layer.weights and not isinstance(layer, kept)]


def with_new_statistics(model: tf.keras.Model, images, batch: int = 128) -> tf.keras.Model:
    """As `pruning.with_new_statistics`, of a QKeras model."""
    with quietly():
        return kernels.with_new_statistics(model, images, batch)


def save(model: tf.keras.Model, path: str | Path) -> Path:
    """Write a QKeras model to a `.h5` or `.keras` file, atomically."""
    with quietly(), files.replacing(path) as temporary:
        model.save(temporary)
    return Path(path)


def load(path: str | Path) -> tf.keras.Model:
    """Read a QKeras model that `save` wrote."""
    with quietly():
        return load_qmodel(path, compile=False)


@dataclass(frozen=True)
class Codes:
    """A kernel as it would be stored.

    Attributes:
        values: int32, the kernel's shape (..., out), depthwise (height, width, in, multiplier).
        step: float32, broadcastable with it; kernel = step * values.
    """

    values: np.ndarray
    step: np.ndarray


def codes(layer: tf.keras.layers.Layer) -> Codes:
    """Codes and step of a QKeras layer's rounded kernel.

    Raises:
        CompressionError: the quantiser's values lie on no common grid (powers of two), or are drawn
            anew on every call (bernoulli).
    """
    variable, quantise = layers.kernel_of(layer)
    if isinstance(quantise, qkeras.quantizers.bernoulli) or not hasattr(quantise, "scale"):
        raise CompressionError(
            f"{layer.name!r} has {quantise}, whose values are no integers times a step: codes are "
            "for quantized_bits, ternary and binary."
        )
    kernel = np.asarray(quantise(variable))
    step = _step(quantise)
    values = np.divide(kernel, step, out=np.zeros_like(kernel), where=step != 0)
    return Codes(np.rint(values).astype(np.int32), step)


def _step(quantise: BaseQuantizer) -> np.ndarray:
    """The step of a quantiser that has just been used, float32; one per channel where it has so."""
    step = np.asarray(quantise.scale, np.float32)
    if isinstance(quantise, qkeras.quantized_bits):
        step = step * np.float32(2.0 ** (quantise.integer - quantise.bits + quantise.keep_negative))
    return step


def to_float(model: tf.keras.Model) -> tf.keras.Model:
    """A plain Keras copy whose kernels and biases are the rounded ones, as floats.

    Raises:
        CompressionError: activations are quantised, which plain Keras layers do not do.
    """
    with quietly():
        copy = tf.keras.models.clone_model(model, clone_function=_plain_layer)
    copy.set_weights(model.get_weights())
    for layer in quantized_layers(model):
        quantisers = layer.get_quantizers()[: len(layer.weights)]  # of the kernel, of the bias
        rounded = [q(w) if q else w for q, w in zip(quantisers, layer.weights, strict=True)]
        copy.get_layer(layer.name).set_weights(rounded)
    return copy


def _plain_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    function = getattr(layer, "activation", None)
    if isinstance(layer, qkeras.QActivation) or isinstance(function, BaseQuantizer):
        raise CompressionError(
            f"{layer.name!r} quantises activations: a file can hold 4-bit weights, not 4-bit "
            "activations. Leave out `activations` to write one."
        )
    if type(layer) in layers.PLAIN:
        return layers.plain(layer)
    return layer.__class__.from_config(layer.get_config())
