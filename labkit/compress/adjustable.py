"""A network whose formats can be changed without building its graphs again.

A `QuantizedConv2D` carries its formats in its configuration, and every other plan is another graph,
seconds of work for a network like SqueezeNet. Here the formats are variables: whoever tries a
hundred plans, or quantises level by level, pays for one graph.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import tensorflow as tf

from labkit.hwce.formats import QFormat
from labkit.hwce.plan import LayerPlan, Plan
from labkit.models import networks


class _Formats:
    """What a layer is set to. Not a layer's attributes: Keras would take them for weights."""

    def __init__(self):
        self.enabled = tf.Variable(False, trainable=False)
        #: Rows: kernel, inputs, outputs. Columns: step, smallest and largest code.
        self.numbers = tf.Variable(tf.ones((3, 3)), trainable=False)
        #: What is added before rounding down: half a step rounds to the nearest.
        self.half = tf.Variable(0.0, trainable=False)


class AdjustableConv2D(tf.keras.layers.Conv2D):
    """A convolution that `adjust` quantises, with straight-through gradients.

    Computes what `QuantizedConv2D` does, in float32: where a sum has more than 24 bits, or a value
    lies within a rounding error of a half, the last code may differ from the twin's. The bias is
    added as it is.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._formats = _Formats()

    def adjust(self, plan: LayerPlan | None, mode: str = "nearest") -> None:
        """Quantise by these formats from now on, or not at all.

        Args:
            plan: formats of kernel, inputs and outputs; None for floating point.
            mode: "nearest" or "floor".
        """
        self._formats.enabled.assign(plan is not None)
        if plan is not None:
            rows = [_numbers(q) for q in (plan.kernel, plan.input, plan.output)]
            self._formats.numbers.assign(np.array(rows, np.float32))
            self._formats.half.assign(0.5 if mode == "nearest" else 0.0)

    def call(self, inputs):
        """Convolve, in floating point or quantised."""
        formats = self._formats
        kernel, bias = tf.convert_to_tensor(self.kernel), self.bias if self.use_bias else 0.0

        def quantised():
            of_kernel, of_inputs, of_outputs = tf.unstack(formats.numbers.read_value())
            half = formats.half.read_value()
            x = _quantise(inputs, of_inputs, half)
            y = self.convolution_op(x, _quantise(kernel, of_kernel, half)) + bias
            return _quantise(y, of_outputs, half)

        def plain():
            return self.convolution_op(inputs, kernel) + bias

        outputs = tf.cond(formats.enabled, quantised, plain)
        return outputs if self.activation is None else self.activation(outputs)


def _numbers(q: QFormat) -> tuple[float, float, float]:
    return q.step, q.min_code, q.max_code


def _quantise(x: tf.Tensor, numbers: tf.Tensor, half: tf.Tensor) -> tf.Tensor:
    """Codes times step; the gradient is 1 within the amplitude and 0 outside."""
    step, low, high = tf.unstack(numbers)

    @tf.custom_gradient
    def straight_through(x):
        codes = tf.clip_by_value(tf.floor(x * (1 / step) + half), low, high)

        def gradient(upstream):
            return tf.where(tf.abs(x) <= -low * step, upstream, tf.zeros_like(upstream))

        return codes * step, gradient

    return straight_through(x)


def adjustable(model: tf.keras.Model) -> tf.keras.Model:
    """A copy whose convolutions can be quantised by `adjust`; in floating point at first."""

    def layer_of(layer):
        config = layer.get_config()
        if isinstance(layer, tf.keras.layers.Conv2D):
            plain = tf.keras.layers.Conv2D(1, 1).get_config()
            return AdjustableConv2D.from_config({key: config[key] for key in plain})
        return type(layer).from_config(config)

    return networks.copy_of(model, layer_of)


def adjust(
    model: tf.keras.Model,
    plan: Plan | None,
    levels: Collection[str] | None = None,
    mode: str | None = None,
) -> None:
    """Quantise levels of an adjustable network by a plan, and put the others in floating point.

    Args:
        model: from `adjustable`.
        plan: formats by layer; None for floating point throughout.
        levels: that are quantised, as `networks.levels` names them; None for all.
        mode: "nearest" or "floor"; the plan's without.
    """
    for level, names in networks.levels(model).items():
        for layer in map(model.get_layer, names):
            if isinstance(layer, AdjustableConv2D):
                if plan is None or (levels is not None and level not in levels):
                    layer.adjust(None)
                else:
                    layer.adjust(plan.layers[layer.name], mode or plan.mode)
