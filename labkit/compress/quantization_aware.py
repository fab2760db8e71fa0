"""Quantisation-aware training: fine-tune with fake quantisation, then convert to integers."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)

from labkit.compress import post_training
from labkit.compress.kernels import CompressionError
from labkit.models.folding import fold_lone
from labkit.models.graph import Wiring, copy_of, flat
from labkit.models.planar import planar

_L = tf.keras.layers
#: Layers whose outputs get a range of their own; tfmot has no default for them.
_MEASURED = (
    *(_L.LayerNormalization, _L.Multiply, _L.Subtract, _L.Average, _L.Maximum, _L.Minimum),
    *(_L.PReLU, _L.ELU, _L.UpSampling1D),
)
#: Layers that pass values on as they are; tfmot has no default for them.
_PASSING = (_L.MaxPooling1D, _L.RepeatVector, _L.GaussianNoise, _L.GaussianDropout)
#: What tfmot folds a normalisation into.
_FOLDED_INTO = (_L.Conv2D, _L.DepthwiseConv2D, _L.Dense)
#: Behind a convolution these are part of it: its range is measured after them.
_PART = (_L.BatchNormalization, _L.ReLU)


def quantize(
    model: tf.keras.Model, leave: Collection[str] = (), scheme=None, representative=None
) -> tf.keras.Model:
    """A copy of a trained model with fake-quantisation nodes; the model itself is not changed.

    Weights are symmetric and per channel, activations affine with a running average of their
    range, both 8-bit (the default 8-bit scheme of the TensorFlow Model Optimization toolkit, and
    the same for some layers that it does not know). 1-D convolutions become 2-D ones of height one,
    and normalisations that follow no convolution or dense layer become weights, see
    `folding.fold_lone`: tfmot would refuse them, or leave them in floating point.

    Args:
        model: functional or sequential; a nested one is flattened.
        leave: names of layers that stay in floating point.
        scheme: of tfmot, its default 8-bit one without.
        representative: float32 (N, *input shape), or a structure of such arrays as the model takes
            it: samples on which the ranges of activations begin. Without, they begin at ±6 and move
            by a thousandth a step: after 700 steps a ReLU's still reaches down to -3, and half of
            its codes are never used.

    Raises:
        CompressionError: a layer that is neither known nor left, by name.

    Source: Jacob et al., CVPR 2018, section 3.
    """
    plain = copy_of(fold_lone(planar(flat(model)), leave))
    wiring = Wiring(plain)
    names = {layer.name for layer in plain.layers}
    if unknown := sorted(set(leave) - names):
        raise CompressionError(f"there is no layer {unknown[0]!r} to leave; there are {names}.")

    def annotated(layer):
        if layer.name in leave:
            return layer
        config = _config(layer, wiring)
        return tfmot.quantization.keras.quantize_annotate_layer(layer, quantize_config=config)

    marked = tf.keras.models.clone_model(plain, clone_function=annotated)
    output = configs.Default8BitOutputQuantizeConfig
    with tfmot.quantization.keras.quantize_scope({output.__name__: output}):
        aware = tfmot.quantization.keras.quantize_apply(marked, *filter(None, [scheme]))
    if representative is not None:
        _begin_at(aware, plain, representative)
    return aware


def _begin_at(aware: tf.keras.Model, plain: tf.keras.Model, samples, batch: int = 32) -> None:
    """Set the ranges of activations to what the plain network shows, a mean over batches."""
    ranges, seen = {}, {}
    for layer in aware.layers:
        values = {v.name.split("/")[-1].split(":")[0]: v for v in layer.weights}
        for name in ("output", "post_activation", "pre_activation", layer.name):
            if f"{name}_min" not in values:
                continue
            # A range that is no layer's own is that of the network's input before it.
            of = getattr(layer, "layer", None) or layer.inbound_nodes[0].inbound_layers
            of = plain.get_layer(of.name)
            ranges[layer.name] = values[f"{name}_min"], values[f"{name}_max"]
            seen[layer.name] = _before_activation(of) if name == "pre_activation" else of.output
    taps = tf.keras.Model(plain.inputs, seen)
    for name, seen in taps.predict(samples, batch_size=batch, verbose=0).items():
        parts = [seen[i : i + batch] for i in range(0, len(seen), batch)]
        low, high = ranges[name]
        low.assign(min(0.0, np.mean([part.min() for part in parts])))
        high.assign(max(0.0, np.mean([part.max() for part in parts])))


def _before_activation(layer: tf.keras.layers.Layer):
    """What a layer computes before the activation inside it, which tfmot measures at a softmax."""
    linear = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    sums = linear(layer.input)
    linear.set_weights(layer.get_weights())
    return sums


def _config(layer: tf.keras.layers.Layer, wiring: Wiring):
    """How a layer is quantised; None for tfmot's default."""
    if registry.Default8BitQuantizeRegistry().supports(layer):
        return None
    if isinstance(layer, (_L.SeparableConv1D, _L.SeparableConv2D)):  # tfmot splits them in two
        return None
    ends_here = not isinstance(wiring.sole_behind(layer), _PART)
    if isinstance(layer, _L.BatchNormalization):
        if isinstance(wiring.sole_before(layer), _FOLDED_INTO):
            return None
        return configs.Default8BitOutputQuantizeConfig(ends_here)
    if isinstance(layer, _PASSING):
        return configs.NoOpQuantizeConfig()
    if isinstance(layer, _MEASURED):
        return configs.Default8BitOutputQuantizeConfig()
    raise CompressionError(
        f"layer {layer.name!r} is a {type(layer).__name__}, for which quantisation-aware training "
        f"has no scheme: leave it in floating point, quantize(model, leave=[{layer.name!r}]), or "
        "quantise after the training, post_training.convert."
    )


def convert(model: tf.keras.Model, batch: int | None = None) -> bytes:
    """The TFLite file of a quantisation-aware model: int8 throughout, input and output too.

    Args:
        model: from `quantize`, trained.
        batch: samples that the file takes at a time, any number without.
    """
    converter = post_training.converter_of(model, batch)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return post_training.quietly(converter)
