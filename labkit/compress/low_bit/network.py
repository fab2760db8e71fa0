"""A network with QKeras's layers, and the plain one of its rounded weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qkeras
import tensorflow as tf
from qkeras.utils import _add_supported_quantized_objects

from labkit import files
from labkit.compress.low_bit.quantizers import FOUR_BITS, quantizer, quietly
from labkit.compress.low_bit.scale import fit_scale_of
from labkit.models import graph

_LAYERS = {
    tf.keras.layers.Conv1D: qkeras.QConv1D,
    tf.keras.layers.Conv2D: qkeras.QConv2D,
    tf.keras.layers.Dense: qkeras.QDense,
}
_PLAIN = {quantized: plain for plain, quantized in _LAYERS.items()}
_SHARED_OPTIONS = (
    *("name", "filters", "kernel_size", "strides", "padding", "dilation_rate"),
    *("units", "use_bias"),
)


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
    normalisation makes up for it: the copy computes the same but for the rounding.

    Args:
        model: functional or sequential, of Keras's own layers. Convolutions and dense layers
            become QKeras's, normalisations stay as they are.
        weights: quantiser of their kernels, in QKeras's notation.
        biases: quantiser of their biases.
        activations: quantiser in the place of every ReLU, for example "quantized_relu(4,2)";
            without, they stay.
        fit_scale: use that freedom; without, the kernels are rounded as they are.

    Raises:
        ValueError: QKeras does not know a quantiser.

    Source of the scale: F. Li, B. Zhang & B. Liu, *Ternary weight networks*, arXiv:1605.04711.
    """
    for name in (weights, biases, activations):
        if name is not None:
            quantizer(name)

    def replaced(layer):
        if type(layer) in _LAYERS:
            return _quantized_layer(layer, weights, biases)
        if activations is not None and isinstance(layer, tf.keras.layers.ReLU):
            return qkeras.QActivation(activations, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    with quietly():
        copy = graph.copy_of(model, replaced)
        for layer in quantized_layers(copy) if fit_scale else ():
            fit_scale_of(layer)
    return copy


def _quantized_layer(layer: tf.keras.layers.Layer, weights: str, biases: str):
    config = layer.get_config()
    options = {name: config[name] for name in _SHARED_OPTIONS if name in config}
    activation = None if config["activation"] == "linear" else config["activation"]
    return _LAYERS[type(layer)](
        kernel_quantizer=weights,
        bias_quantizer=biases,
        activation=activation,
        kernel_initializer="zeros",
        **options,
    )


def quantized_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The QKeras convolutions and dense layers of a model, in order."""
    return [layer for layer in model.layers if type(layer) in _PLAIN]


def left_in_float(model: tf.keras.Model) -> list[str]:
    """Names of the layers of a model from `quantize` whose weights are not quantised.

    Normalisations are not among them: they are folded into what stands before them in a file.
    """
    kept = (*_PLAIN, tf.keras.layers.BatchNormalization)
    return [layer.name for layer in model.layers if layer.weights and not isinstance(layer, kept)]


def save(model: tf.keras.Model, path: str | Path) -> Path:
    """Write a QKeras model to a `.h5` or `.keras` file, atomically."""
    with quietly(), files.replacing(path) as temporary:
        model.save(temporary)
    return Path(path)


def load(path: str | Path) -> tf.keras.Model:
    """Read a QKeras model: Keras finds its classes within `custom_object_scope` alone."""
    objects: dict = {}
    _add_supported_quantized_objects(objects)
    with quietly(), tf.keras.utils.custom_object_scope(objects):
        return tf.keras.models.load_model(path, compile=False)


@dataclass(frozen=True)
class Codes:
    """A kernel as it would be stored.

    Attributes:
        values: int32, the kernel's shape (..., out).
        step: float32, broadcastable with it; kernel = step * values.
    """

    values: np.ndarray
    step: np.ndarray


def codes(layer: tf.keras.layers.Layer) -> Codes:
    """Codes and step of a QKeras layer's rounded kernel.

    Raises:
        ValueError: the quantiser's values lie on no common grid (powers of two), or are drawn anew
            on every call (bernoulli).
    """
    quantise = layer.kernel_quantizer_internal
    if isinstance(quantise, qkeras.quantizers.bernoulli) or not hasattr(quantise, "scale"):
        raise ValueError(
            f"{layer.name!r} has {quantise}, whose values are no integers times a step: codes are "
            "for quantized_bits, ternary and binary."
        )
    kernel = np.asarray(quantise(layer.kernel))
    step = np.asarray(quantise.scale, np.float32)
    if isinstance(quantise, qkeras.quantized_bits):
        step = step * np.float32(2.0 ** (quantise.integer - quantise.bits + quantise.keep_negative))
    values = np.divide(kernel, step, out=np.zeros_like(kernel), where=step != 0)
    return Codes(np.rint(values).astype(np.int32), step)


def to_float(model: tf.keras.Model) -> tf.keras.Model:
    """A plain Keras copy whose kernels and biases are the rounded ones, as floats.

    Raises:
        ValueError: activations are quantised, which plain Keras layers do not do.
    """
    with quietly():
        copy = tf.keras.models.clone_model(model, clone_function=_plain_layer)
    copy.set_weights(model.get_weights())
    for layer in quantized_layers(model):
        plain = copy.get_layer(layer.name)
        plain.kernel.assign(layer.kernel_quantizer_internal(layer.kernel))
        if layer.use_bias and layer.bias_quantizer_internal is not None:
            plain.bias.assign(layer.bias_quantizer_internal(layer.bias))
    return copy


def _plain_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    if isinstance(layer, qkeras.QActivation):
        raise ValueError(
            f"{layer.name!r} quantises activations: a file can hold 4-bit weights, not 4-bit "
            "activations. Leave out `activations` to write one."
        )
    config = layer.get_config()
    if type(layer) not in _PLAIN:
        return layer.__class__.from_config(config)
    options = {name: config[name] for name in _SHARED_OPTIONS if name in config}
    activation = tf.keras.activations.serialize(layer.activation) if layer.activation else None
    return _PLAIN[type(layer)](activation=activation, **options)
