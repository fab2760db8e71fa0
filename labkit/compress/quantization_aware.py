"""Quantisation-aware training: fine-tune with fake quantisation, then convert to integers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import quant_ops
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import (
    QuantizeLayer,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import (
    MovingAverageQuantizer,
)

from labkit.compress import post_training
from labkit.compress.kernels import CompressionError
from labkit.models.folding import fold, fold_lone
from labkit.models.graph import Wiring, copy_of, layered
from labkit.models.planar import planar

_L = tf.keras.layers
#: Layers whose outputs get a range of their own; tfmot has no default for them.
_MEASURED = (
    *(_L.LayerNormalization, _L.Multiply, _L.Subtract, _L.Average, _L.Maximum, _L.Minimum),
    *(_L.PReLU, _L.ELU, _L.UpSampling1D),
)
#: Layers that pass values on as they are; tfmot has no default for them.
_PASSING = (_L.MaxPooling1D, _L.RepeatVector, _L.GaussianNoise, _L.GaussianDropout)
#: What tfmot folds a normalisation into; those behind others it would compute in floating point.
_FOLDED_INTO = (_L.Conv2D, _L.DepthwiseConv2D)
_FOLDED_BEFORE = (_L.Dense, _L.Conv2DTranspose)
#: Behind a convolution these are part of it: its range is measured after them.
_PART = (_L.BatchNormalization, _L.ReLU)


def quantize(model: tf.keras.Model, leave: Collection[str] = (), scheme=None) -> tf.keras.Model:
    """A copy of a trained model with fake-quantisation nodes; the model itself is not changed.

    Weights are symmetric and per channel, activations affine with a running average of their
    range, both 8-bit (the default 8-bit scheme of the TensorFlow Model Optimization toolkit, and
    the same for some layers that it does not know). 1-D convolutions become 2-D ones of height one,
    operators between tensors become layers, see `graph.layered`, normalisations behind dense layers
    and transposed convolutions are folded into them, and those that follow no such layer and no
    convolution become weights, see `folding.fold_lone`: tfmot would refuse them, or leave them in
    floating point.

    Args:
        model: functional or sequential; a nested one is flattened.
        leave: names of layers that stay in floating point.
        scheme: of tfmot, its default 8-bit one without.

    Raises:
        CompressionError: a layer that is neither known nor left, by name.

    Source: Jacob et al., CVPR 2018, section 3.
    """
    folded = fold(planar(layered(model)), _FOLDED_BEFORE, leave)
    plain = copy_of(fold_lone(folded, leave))
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
        return tfmot.quantization.keras.quantize_apply(marked, *filter(None, [scheme]))


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
    layers = " such as Add() or ReLU()" if hasattr(layer, "symbol") else ""
    raise CompressionError(
        f"layer {layer.name!r} is a {type(layer).__name__}, for which quantisation-aware training "
        f"has no scheme: build the network with another layer{layers}, leave this one in floating "
        f"point, quantize(model, leave=[{layer.name!r}]), or quantise after the training, "
        "post_training.convert."
    )


def calibrate(
    aware: tf.keras.Model,
    images,
    batch: int = 128,
    inputs: tuple[float, float] | None = None,
) -> None:
    """Measure the ranges of the activations, before the training of a model from `quantize`.

    tfmot begins with -6 to 6 for all of them and lets a thousand steps pass until it has moved:
    a network without normalisations, whose activations go further, is clipped in a short training.
    Here each range is the mean over the batches; weights and statistics stay as they are.

    Args:
        aware: from `quantize`, `pruning.quantize_preserving` or `clustering.cluster_preserving`;
            its ranges are set in place.
        images: float32 (N, *input shape), or a structure of such arrays as the model takes it.
        batch: images at a time.
        inputs: the range of the model's inputs, which the training then leaves as it is: what lies
            beyond is clipped, and what lies within gets finer steps than those of a range that a
            few large values have widened.
    """
    if inputs is not None:
        _hold_inputs(aware, *inputs)
    before = [variable.numpy() for variable in aware.weights]
    for number, start in enumerate(range(0, len(tf.nest.flatten(images)[0]), batch)):
        part = slice(start, start + batch)
        with _moving_by(1 / (number + 1)):
            aware(tf.nest.map_structure(lambda x, part=part: x[part], images), training=True)
    for variable, value in zip(aware.weights, before, strict=True):
        if not variable.name.split(":")[0].endswith(("_min", "_max")):
            variable.assign(value)


class _Held(MovingAverageQuantizer):
    """A quantiser whose range is what it was set to, in training too."""

    def __call__(self, inputs, training, weights, **options):
        """Rounded in the range of `weights`, as in inference."""
        return super().__call__(inputs, False, weights, **options)


def _hold_inputs(aware: tf.keras.Model, low: float, high: float) -> None:
    for layer in aware.layers:
        if isinstance(layer, QuantizeLayer):
            layer.quantizer = _Held(**layer.quantizer.get_config())
            for name, value in (("min_var", low), ("max_var", high)):
                layer.quantizer_vars[name].assign(value)


@contextlib.contextmanager
def _moving_by(part: float) -> Iterator[None]:
    """The ranges of tfmot's activations move by this part of the way to those of a batch."""
    slowly = quant_ops.MovingAvgQuantize

    def moving(*arguments, ema_decay, **options):
        return slowly(*arguments, ema_decay=1 - part, **options)

    quant_ops.MovingAvgQuantize = moving
    try:
        yield
    finally:
        quant_ops.MovingAvgQuantize = slowly


def convert(model: tf.keras.Model, batch: int | None = None) -> bytes:
    """The TFLite file of a quantisation-aware model: int8 throughout, input and output too.

    Args:
        model: from `quantize`, trained.
        batch: samples that the file takes at a time, any number without.

    Raises:
        CompressionError: operators stay in floating point, although no layer was left there on
            purpose; names them.
    """
    converter = post_training.converter_of(model, batch)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content = post_training.quietly(converter)
    found = post_training.in_float(content)
    if found and not _left(model):
        raise CompressionError(
            f"these operators of the file stay in floating point: {', '.join(found)}. tfmot has no "
            "integers for such a sequence of layers: separate or replace them, quantise after the "
            "training (post_training.convert), or leave them, quantize(model, leave=[...])."
        )
    return content


def _left(model: tf.keras.Model) -> list[str]:
    """Names of the layers of a quantisation-aware model that stay in floating point on purpose."""
    ours = (_L.InputLayer, QuantizeLayer, QuantizeWrapper)
    return [layer.name for layer in model.layers if not isinstance(layer, ours)]
