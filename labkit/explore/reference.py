"""A member as Keras and tfmot have it: what `population` has to equal, and to be faster than."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_layer,
    quantize_wrapper,
)

from labkit.explore.members import Cnn, Member, Quantizer, Scheme
from labkit.explore.population import Samples, initial, initial_ranges, shapes_of
from labkit.training import Best

_L = tf.keras.layers
_quantizers = tfmot.quantization.keras.quantizers


class _MovingAverage(_quantizers.MovingAverageQuantizer):
    """tfmot's, with a range for each channel if so wanted: its own has one, and fails."""

    def build(self, tensor_shape, name, layer):
        return self._add_range_weights(layer, name, self.per_axis, tensor_shape)


_CLASSES = {
    "moving average": _MovingAverage,
    "last value": _quantizers.LastValueQuantizer,
    "all values": _quantizers.AllValuesQuantizer,
}


class _Config(tfmot.quantization.keras.QuantizeConfig):
    """How a layer with a kernel is quantised by a scheme."""

    def __init__(self, scheme: Scheme):
        self._scheme = scheme

    def get_weights_and_quantizers(self, layer):
        of = self._scheme.weights
        return [] if of is None else [(layer.kernel, quantizer(of))]

    def get_activations_and_quantizers(self, layer):
        of = self._scheme.activations
        return [] if of is None else [(layer.activation, quantizer(of))]

    def set_quantize_weights(self, layer, quantize_weights):
        for kernel in quantize_weights:
            layer.kernel = kernel

    def set_quantize_activations(self, layer, quantize_activations):
        for activation in quantize_activations:
            layer.activation = activation

    def get_output_quantizers(self, layer):
        return []

    def get_config(self):
        return {}


def quantizer(of: Quantizer):
    """The quantizer of tfmot that computes it."""
    return _CLASSES[of.kind](of.bits, of.per_channel, of.symmetric, of.narrow_range)


def model(member: Member, inputs: tuple[int, ...], outputs: int) -> tf.keras.Model:
    """The untrained network of a member, with the member's first weights.

    Args:
        member: that is built.
        inputs: shape of a sample, () for the batch aside.
        outputs: of the network.
    """
    scheme = member.scheme or Scheme(inputs=None)
    x = first = tf.keras.Input(inputs)
    if scheme.inputs is not None:
        x = quantize_layer.QuantizeLayer(quantizer(scheme.inputs), name="inputs")(x)
    wrapped = []

    def layer(kind, *arguments, **options):
        plain = kind(*arguments, **options)
        if member.scheme is None:
            wrapped.append(plain)
            return plain
        wrapped.append(quantize_wrapper.QuantizeWrapperV2(plain, _Config(scheme)))
        return wrapped[-1]

    network = member.network
    if isinstance(network, Cnn):
        for i, count in enumerate(network.filters):
            x = layer(_L.Conv1D, count, network.kernel, padding="same", activation="relu")(x)
            x = _L.MaxPooling1D(network.pool)(x) if i == 0 else x
        x = _L.Flatten()(x)
    for neurons in network.hidden:
        x = layer(_L.Dense, neurons, activation="relu")(x)
    built = tf.keras.Model(first, layer(_L.Dense, outputs)(x))
    built.kernels_and_ranges = [_variables(each) for each in wrapped]
    begin(built, member)
    return built


def begin(built: tf.keras.Model, member: Member) -> None:
    """Give a model from `model` the first weights of a member."""
    inputs, outputs = built.input_shape[1:], built.output_shape[1]
    at = 0
    shapes = shapes_of(member.network, inputs, outputs)
    values = initial(member, shapes)
    places, first = (
        np.cumsum([1, *(units + 1 for _, units in shapes)]),
        initial_ranges(member, shapes),
    )
    for place, (kernel, bias, ranges) in zip(places, built.kernels_and_ranges, strict=False):
        for end, variable in enumerate(ranges.get("kernel", ())):
            count = int(np.prod(variable.shape))
            variable.assign(first[end, place : place + count].reshape(variable.shape))
        for variable in (kernel, bias):
            size = int(np.prod(variable.shape))
            variable.assign(values[at : at + size].reshape(variable.shape))
            at += size


def weights_of(built: tf.keras.Model) -> list[np.ndarray]:
    """Kernel and bias of each layer, kernels as (inputs, units), as a `Population` has them."""
    found = []
    for kernel, bias, _ in built.kernels_and_ranges:
        found += [kernel.numpy().reshape(-1, kernel.shape[-1]), bias.numpy()]
    return found


def fit(
    built: tf.keras.Model,
    member: Member,
    training: Samples,
    validation: Samples,
    epochs: int,
    batch: int = 32,
) -> Best:
    """Train by `model.fit` as the thesis did; the best weights are put back.

    Args:
        built: from `model`.
        member: its learning rate and seed are used.
        training, validation: x and y.
        epochs, batch: as `Settings` has them.
    """
    tf.keras.utils.set_random_seed(member.seed % 2**32)
    best = Best()
    built.compile(tf.keras.optimizers.Adamax(member.learning_rate), "mse")
    built.fit(
        *training,
        batch_size=batch,
        epochs=epochs,
        validation_data=validation,
        callbacks=[best],
        verbose=0,
    )
    best.restore()
    return best


def _variables(layer: _L.Layer) -> tuple:
    """Kernel, bias and ranges of a layer, which its wrapper has exchanged for tensors."""
    if not isinstance(layer, quantize_wrapper.QuantizeWrapperV2):
        return layer.kernel, layer.bias, {}
    ranges = {}
    kernel = layer.layer.kernel
    for variable, _, ends in layer._weight_vars:
        kernel, ranges["kernel"] = variable, (ends["min_var"], ends["max_var"])
    for activation in layer._quantize_activations:
        ends = activation._post_activation_vars
        ranges["activation"] = (ends["min_var"], ends["max_var"])
    return kernel, layer.layer.bias, ranges
