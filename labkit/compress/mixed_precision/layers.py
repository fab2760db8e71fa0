"""Convolutions and dense layers of a few bits, for weights and inputs, trained straight through."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import tensorflow as tf

from labkit.compress.forwards import check_full_range, full_range_codes
from labkit.compress.kernels import CompressionError

_L = tf.keras.layers
SCALES = ("layer", "channel")
#: Bits of a number in floating point.
FLOAT = 32


@dataclass(frozen=True)
class Precision:
    """How a layer is quantised.

    Attributes:
        weights: bits of a weight, 1 to 8; see `forwards.full_range_codes`.
        inputs: bits of an input within [-1, 1], 1 to 8, or 32 for inputs as they come; as many as
            of a weight without.
        span: "fitted", or "unit" as in the thesis, see `forwards.full_range_codes`.
        scale: one for the "layer", or one for each output "channel".

    Raises:
        CompressionError: a value is not one of those.
    """

    weights: int
    inputs: int | None = None
    span: str = "fitted"
    scale: str = "layer"

    def __post_init__(self):
        """Check the values."""
        check_full_range(self.weights, self.span)
        if self.inputs is None:
            object.__setattr__(self, "inputs", self.weights)
        if self.inputs not in (*range(1, 9), FLOAT) or self.scale not in SCALES:
            raise CompressionError(
                f"inputs have {self.inputs!r} bits and the scale is {self.scale!r}, expected 1 to "
                f"8 or {FLOAT}, and one of {', '.join(SCALES)}."
            )


def input_codes(x: tf.Tensor, bits: int) -> tf.Tensor:
    """Inputs clipped to [-1, 1] and rounded to 2^b evenly spaced values, as codes.

    A code is an odd integer from -(2^b - 1) to 2^b - 1, the value times 2^b - 1. None is zero, and
    zero, in the middle between two, counts as below, as all such middles do: it is what a ReLU
    gives of everything negative, and must not be the same as a little above. Of one bit the code is
    so the sign. The gradient is 2^b - 1 within [-1, 1] and 0 outside.
    """
    largest = 2.0**bits - 1

    @tf.custom_gradient
    def straight_through(x):
        codes = 2 * tf.math.ceil(largest * tf.clip_by_value(x, -1, 1) / 2) - 1

        def gradient(upstream):
            return tf.where(tf.abs(x) <= 1, upstream * largest, tf.zeros_like(upstream))

        return codes, gradient

    return straight_through(x)


def weight_codes(weights: tf.Tensor, precision: Precision) -> tuple[tf.Tensor, tf.Tensor]:
    """Codes of weights, and their step.

    The gradient of codes times step is that of the weights where they are not clipped; what the
    weights do to mean and step is left out.
    """

    @tf.custom_gradient
    def straight_through(weights):
        codes = full_range_codes(
            weights, precision.weights, precision.span, precision.scale == "channel"
        )

        def gradient(upstream, _):
            inside = tf.abs(codes.relative) <= 1
            return tf.where(inside, upstream / codes.step, tf.zeros_like(upstream))

        return (codes.values, codes.step), gradient

    return straight_through(weights)


class _Mixed:
    """What the layers below share: codes of inputs and weights, their product, a step, a bias.

    The product of the codes is one of integers, exact in float32 up to 2^24: `packed` gives the
    same outputs, bit for bit.
    """

    def __init__(self, *arguments, precision: Precision | dict, **options):
        super().__init__(*arguments, **options)
        whole = precision if isinstance(precision, Precision) else Precision(**precision)
        self.precision = whole

    def call(self, inputs):
        """The layer's outputs from codes of its inputs and weights."""
        bits, step_of_inputs = self.precision.inputs, 1.0
        if bits != FLOAT:
            inputs, step_of_inputs = input_codes(inputs, bits), 1 / (2.0**bits - 1)
        codes, step = weight_codes(self.kernel, self.precision)
        scale = tf.reshape(step, [-1]) * step_of_inputs
        outputs = self._product(inputs, codes) * scale
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def _product(self, inputs, kernel):
        if getattr(self, "_is_causal", False):
            inputs = tf.pad(inputs, self._compute_causal_padding(inputs))
        return self.convolution_op(inputs, kernel)

    def get_config(self):
        """Everything that makes the layer again."""
        return super().get_config() | {"precision": asdict(self.precision)}


@tf.keras.utils.register_keras_serializable("labkit")
class MixedDense(_Mixed, _L.Dense):
    """A dense layer of a few bits; arguments of Dense, and `precision`."""

    def _product(self, inputs, kernel):
        return tf.tensordot(inputs, kernel, 1)


@tf.keras.utils.register_keras_serializable("labkit")
class MixedConv1D(_Mixed, _L.Conv1D):
    """A convolution of a few bits; arguments of Conv1D, and `precision`."""


@tf.keras.utils.register_keras_serializable("labkit")
class MixedConv2D(_Mixed, _L.Conv2D):
    """A convolution of a few bits; arguments of Conv2D, and `precision`."""


@tf.keras.utils.register_keras_serializable("labkit")
class MixedConv3D(_Mixed, _L.Conv3D):
    """A convolution of a few bits; arguments of Conv3D, and `precision`."""


#: What a layer becomes. No subclasses: they may compute otherwise.
TWINS = {
    _L.Dense: MixedDense,
    _L.Conv1D: MixedConv1D,
    _L.Conv2D: MixedConv2D,
    _L.Conv3D: MixedConv3D,
}
