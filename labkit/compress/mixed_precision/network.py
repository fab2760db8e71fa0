"""A network in mixed precision: a plan says which layer has how many bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from labkit.compress.calibration import lets_factors_through
from labkit.compress.kernels import CompressionError
from labkit.compress.mixed_precision.layers import FLOAT, TWINS, Precision, weight_codes
from labkit.models import graph

#: Of each layer by name, its precision, or the bits of its weights and inputs. Layers that it does
#: not name stay in full precision, and so do those of 32 bits.
Plan = Mapping[str, "int | Precision"]

_L = tf.keras.layers
_HOMOGENEOUS = (tf.keras.activations.linear, tf.keras.activations.relu)
_PLAIN = {twin: plain for plain, twin in TWINS.items()}


def quantizable(model: tf.keras.Model) -> list[str]:
    """Names of the layers that a plan is for, in order: convolutions and dense layers."""
    return [layer.name for layer in graph.flat(model).layers if _is_known(layer)]


def _is_known(layer: _L.Layer | None) -> bool:
    return type(layer) in TWINS or type(layer) in _PLAIN


def inner(model: tf.keras.Model) -> list[str]:
    """Those of `quantizable` but the first and the last one.

    These two stay in full precision in most networks of few bits.
    """
    return quantizable(model)[1:-1]


def uniform(model: tf.keras.Model, precision: int | Precision) -> dict[str, Precision]:
    """The plan of one precision for all layers but the first and the last: XNOR-Net's, of 1 bit."""
    return checked(model, dict.fromkeys(inner(model), precision))


def checked(model: tf.keras.Model, plan: Plan) -> dict[str, Precision]:
    """A plan with a precision for each layer that it quantises, in the network's order.

    Raises:
        CompressionError: a layer that there is not, or that is no convolution or dense layer with
            its channels last; or other bits.
    """
    layers = graph.flat(model).layers
    kinds = {layer.name: type(layer) for layer in layers}
    known = quantizable(model)
    for name in plan:
        if name not in known:
            kind = kinds[name].__name__ if name in kinds else "no layer of this network"
            raise CompressionError(
                f"{name!r} is {kind}: a plan is for convolutions and dense layers, {known}."
            )
    for layer in layers:
        if layer.name in plan and getattr(layer, "data_format", "channels_last") != "channels_last":
            raise CompressionError(
                f"{layer.name!r} has its channels first: leave it in full precision."
            )
    wanted = {name: plan[name] for name in known if plan.get(name, FLOAT) != FLOAT}
    return {n: p if isinstance(p, Precision) else Precision(p) for n, p in wanted.items()}


def quantize(model: tf.keras.Model, plan: Plan) -> tf.keras.Model:
    """A copy whose layers have the precision of a plan, and the latent weights of the model.

    It is trained as any Keras model: gradients go straight through the rounding to the latent
    weights. Activations are clipped at ±1 where a quantised layer reads them: `within_one` brings
    them there. A small rate is needed where inputs have one or two bits throughout: Adam at 1e-3
    turns so many signs at once that QuantNET's last ReLUs die, at 2e-4 it learns.

    Args:
        model: functional or sequential, trained or not; a nested one is laid out flat.
        plan: applied as it is written.

    Raises:
        CompressionError: a layer or a precision that there is not.

    Example:
        >>> plan = {"conv2": 1, "linear1": 2, "linear2": Precision(2, inputs=8)}
        >>> mixed = within_one(quantize(within_one(model, images), plan), images)
        >>> training.fit(mixed, data, recipe)
    """
    precisions = checked(model, plan)

    def layer_of(layer):
        config = layer.get_config()
        if layer.name not in precisions:
            return type(layer).from_config(config)
        kind = type(layer) if type(layer) in _PLAIN else TWINS[type(layer)]
        return kind.from_config(config | {"precision": precisions[layer.name]})

    return graph.copy_of(model, layer_of)


def plan_of(model: tf.keras.Model) -> dict[str, Precision]:
    """The plan of a network from `quantize`."""
    return {layer.name: layer.precision for layer in mixed_layers(model)}


def mixed_layers(model: tf.keras.Model) -> list[_L.Layer]:
    """The quantised layers of a network from `quantize`, in order."""
    return [layer for layer in model.layers if type(layer) in _PLAIN]


def to_float(model: tf.keras.Model) -> tf.keras.Model:
    """A plain Keras copy whose kernels have their quantised values, for `post_training.convert`.

    Raises:
        CompressionError: inputs are quantised, which plain Keras layers do not do.
    """
    for layer in mixed_layers(model):
        if layer.precision.inputs != FLOAT:
            raise CompressionError(
                f"{layer.name!r} has inputs of {layer.precision.inputs} bits, which a plain layer "
                "does not have: plan Precision(..., inputs=32) to write a file."
            )

    def layer_of(layer):
        config = layer.get_config()
        config.pop("precision", None)
        return _PLAIN.get(type(layer), type(layer)).from_config(config)

    plain = graph.copy_of(model, layer_of)
    for layer in mixed_layers(model):
        codes, step = weight_codes(layer.kernel, layer.precision)
        plain.get_layer(layer.name).kernel.assign(codes * step)
    return plain


def within_one(model: tf.keras.Model, images, share: float = 0.999) -> tf.keras.Model:
    """A copy whose activations are within ±1 where layers read them.

    Inputs of a quantised layer are clipped at ±1, and what is clipped has no gradient. ReLU and
    pooling let a positive factor through: what a layer gives is divided by its own size, and the
    weights of the one that reads it are multiplied. A float network computes the same as before.

    Of one from `quantize` layer after layer is brought there, as the quantised ones before it make
    it: inputs of one bit are far larger than those that they stand for. That is an error and no
    property of the weights, so that behind a layer with quantised inputs nothing is multiplied:
    else it adds up, and QuantNET's last layer gives a hundred times what it gave in float, from
    where no training comes back. Bring a float network within one before it is quantised, and again
    afterwards.

    Args:
        model: a trained network, or one from `quantize`. A convolution, dense layer or
            normalisation stays as it is where another activation than ReLU comes before the next
            convolution or dense layer, or where several layers read it.
        images: representative, as the model takes them.
        share: of the activations of a layer that come within, zeros aside; the others are clipped.
            Of two bits what is above 2/3 is told from what is below: a smaller share says more.

    Source: M. Nagel et al., *Data-free quantization through weight equalization and bias
    correction*, ICCV 2019, section 4.1, with one factor per layer.
    """
    copy = graph.copy_of(model)
    wiring = graph.Wiring(copy)
    behind_codes = set()
    for layer in copy.layers:
        if _reads_codes(layer) or not behind_codes.isdisjoint(map(id, wiring.before(layer))):
            behind_codes.add(id(layer))
        reader = _sole_reader(layer, wiring)
        if reader is None:
            continue
        taken, _ = graph.layer_outputs(copy, images, [reader.name])[reader.name]
        if not taken.any():
            continue
        size = float(np.quantile(np.abs(taken[taken != 0]), share))
        for weight in _giving(layer):
            weight.assign(weight / size)
        if id(layer) not in behind_codes:
            reader.kernel.assign(reader.kernel * size)
    return copy


def _reads_codes(layer: _L.Layer) -> bool:
    return getattr(layer, "precision", None) is not None and layer.precision.inputs != FLOAT


def _giving(layer: _L.Layer) -> list[tf.Variable]:
    """The weights that a layer's outputs grow with, all of them together."""
    if isinstance(layer, _L.BatchNormalization):
        return [layer.gamma, layer.beta]
    return layer.weights


def _sole_reader(layer: _L.Layer, wiring: graph.Wiring) -> _L.Layer | None:
    """The layer that alone reads a layer's outputs, through what lets a positive factor through."""
    if graph.normalizes_channels(layer):
        if not (layer.scale and layer.center):
            return None
    elif not _is_known(layer) or layer.activation not in _HOMOGENEOUS:
        return None
    reader = wiring.sole_behind(layer)
    while reader is not None and (isinstance(reader, _L.Flatten) or lets_factors_through(reader)):
        reader = wiring.sole_behind(reader)
    return reader if _is_known(reader) else None
