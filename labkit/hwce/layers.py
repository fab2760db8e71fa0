"""The training-side twin of the engine: a Keras convolution with quantised numbers.

This module imports TensorFlow; the rest of the package does not.
"""

from __future__ import annotations

import functools
import math

import tensorflow as tf

from labkit.hwce.formats import MODES, QFormat
from labkit.models import networks

#: Up to here float32 holds every integer.
_FLOAT32_EXACT = 2**24


def quantclip(x: tf.Tensor, msb: int, nbits: int, mode: str = "thesis") -> tf.Tensor:
    """Quantise a tensor to n bits within ±2^msb, with a straight-through gradient.

    The gradient is that of the clipping alone: 1 where |x| <= 2^msb, else 0.

    Args:
        x: floating point, any shape.
        msb: exponent of the clipping amplitude.
        nbits: 2 to 32.
        mode: "thesis", "floor" or "nearest", as in `QFormat.codes`.

    Returns:
        the shape and dtype of x.

    Raises:
        ValueError: an unknown mode, or a format that does not exist.

    Example:
        >>> quantclip(tf.constant([0.3, 2.0]), msb=0, nbits=3).numpy()
        array([0.25, 1.  ], dtype=float32)

    Source: the thesis, equations 7 to 10 and code 7.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
    return _quantize(tf.convert_to_tensor(x), QFormat(nbits, msb), mode)


def _quantize(x: tf.Tensor, q: QFormat, mode: str) -> tf.Tensor:
    amplitude = math.ldexp(1.0, q.msb)

    @tf.custom_gradient
    def straight_through(x):
        inside = tf.abs(x) <= amplitude
        return _rounded(x, q, mode), lambda upstream: upstream * tf.cast(inside, x.dtype)

    return straight_through(x)


def _rounded(x: tf.Tensor, q: QFormat, mode: str) -> tf.Tensor:
    """Codes times step; without a gradient."""
    amplitude = math.ldexp(1.0, q.msb)
    scaled = (tf.clip_by_value(x, -amplitude, amplitude) if mode == "thesis" else x) / q.step
    codes = tf.floor(scaled)
    if mode == "nearest":
        codes += tf.cast(scaled - codes >= 0.5, x.dtype)
    if mode != "thesis":
        codes = tf.clip_by_value(codes, float(q.min_code), float(q.max_code))
    return codes * q.step


def _quantize_fused(x: tf.Tensor, q: QFormat, mode: str) -> tf.Tensor:
    """As `_quantize`, in one pass over the values where TensorFlow has one: for training.

    TensorFlow's own fake quantisation rounds halves upwards, too, but subtracts the smallest code
    in float32 first, so that a value within that error of a half may go to the other side; and its
    gradient ends at the largest code, not at the amplitude, one step further.
    """
    if mode != "nearest" or q.bits > 16 or x.dtype != tf.float32:
        return _quantize(x, q, mode)
    low, high = q.min_code * q.step, q.max_code * q.step
    return tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=q.bits)


@tf.keras.utils.register_keras_serializable("labkit")
class QuantizedConv2D(tf.keras.layers.Conv2D):
    """A convolution with quantised kernel, inputs and outputs, and straight-through gradients.

    In the modes "floor" and "nearest" the layer gives just the bits of the emulator with ideal
    accumulation: the sum of products and bias is exact, rounded once, and clipped to the output's
    codes. The bias has the step of the products. In the mode "thesis" the convolution is quantised
    first and an unquantised bias is added to it, as in the thesis's code 11.

    Args:
        filters: output channels.
        kernel_size: rows, columns.
        kernel_format: of the kernel; a `QFormat` or (bits, msb).
        input_format: of the inputs.
        output_format: of the outputs.
        mode: "nearest", "floor" or "thesis".
        enabled: quantise; else it is a plain Conv2D.
        tap: give the convolution as it is before bias and activation (the thesis's
            `perform_extraction`).
        exact: outside training, sum in float64 where float32 could not hold every sum. Training
            sums in float32, as any layer, and rounds by TensorFlow's own fake quantisation, which
            is twice as fast: a value at a half may go to the other side there.
        **arguments: of Conv2D.

    `enabled`, `tap` and the formats may be changed on a layer, but functions that Keras has already
    traced keep what they were: compile the model again, or clone it.

    Raises:
        ValueError: a format, mode or argument that the engine does not have.

    Source: the thesis, section 4.5.2, codes 8 to 11.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        kernel_format=(8, 0),
        input_format=(8, 0),
        output_format=(8, 0),
        mode="nearest",
        enabled=True,
        tap=False,
        exact=True,
        **arguments,
    ):
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
        super().__init__(filters, kernel_size, **arguments)
        if self.data_format != "channels_last" or self.groups != 1 or max(self.dilation_rate) > 1:
            raise ValueError(
                f"{self.name}: expected channels_last, one group and no dilation; the engine has "
                "nothing else."
            )
        self.kernel_format, self.input_format, self.output_format = (
            q if isinstance(q, QFormat) else QFormat(*q)
            for q in (kernel_format, input_format, output_format)
        )
        self.mode, self.enabled, self.tap, self.exact = mode, enabled, tap, exact

    @property
    def bias_format(self) -> QFormat:
        """32 bits at the step of the products, in which the bias is added."""
        fraction = self.kernel_format.fraction_bits + self.input_format.fraction_bits
        return QFormat(32, 31 - fraction)

    def call(self, inputs, training=None):
        """Convolve; `training` decides where `exact` holds."""
        if training is None:
            training = tf.keras.backend.learning_phase()
        if not self.enabled:
            outputs = self.convolution_op(inputs, self.kernel)
            return outputs if self.tap else self._activated(self._biased(outputs))
        if self.mode == "thesis":
            outputs = self._as_thesis(inputs)
        elif self.exact and tf.is_tensor(training):
            outputs = tf.cond(
                tf.cast(training, tf.bool),
                lambda: self._summed(inputs, exact=False),
                lambda: self._summed(inputs, exact=True),
            )
        else:
            outputs = self._summed(inputs, exact=self.exact and not training)
        return outputs if self.tap else self._activated(outputs)

    def _as_thesis(self, inputs) -> tf.Tensor:
        """Products, rounded; an unquantised bias."""
        inputs = _quantize(inputs, self.input_format, self.mode)
        kernel = _quantize(tf.convert_to_tensor(self.kernel), self.kernel_format, self.mode)
        outputs = _quantize(self.convolution_op(inputs, kernel), self.output_format, self.mode)
        return outputs if self.tap else self._biased(outputs)

    def _summed(self, inputs, exact: bool) -> tf.Tensor:
        """Products and bias, rounded once."""
        quantize, dtype = (_quantize, tf.float64) if exact else (_quantize_fused, inputs.dtype)
        wide = tf.float64 if exact and not self._fits_float32() else inputs.dtype
        x = quantize(inputs, self.input_format, self.mode)
        kernel = quantize(tf.convert_to_tensor(self.kernel), self.kernel_format, self.mode)
        products = self.convolution_op(tf.cast(x, wide), tf.cast(kernel, wide))
        products = tf.cast(products, dtype)
        if self.use_bias and not self.tap:
            bias = tf.cast(tf.convert_to_tensor(self.bias), dtype)
            products += _quantize(bias, self.bias_format, self.mode)
        return tf.cast(quantize(products, self.output_format, self.mode), inputs.dtype)

    def _fits_float32(self) -> bool:
        largest = -self.kernel_format.min_code * -self.input_format.min_code
        return math.prod(self.kernel.shape[:-1]) * largest <= _FLOAT32_EXACT

    def _biased(self, outputs):
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs

    def _activated(self, outputs):
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self):
        """Everything that makes the layer again; formats as [bits, msb]."""
        formats = {
            name: [getattr(self, name).bits, getattr(self, name).msb]
            for name in ("kernel_format", "input_format", "output_format")
        }
        flags = {name: getattr(self, name) for name in ("mode", "enabled", "tap", "exact")}
        return super().get_config() | formats | flags


@tf.keras.utils.register_keras_serializable("labkit")
class QuantClip(tf.keras.layers.Layer):
    """`quantclip` as a layer, so that it is saved and reloaded with a model.

    Args:
        nbits: 2 to 32.
        msb: exponent of the clipping amplitude.
        mode: "thesis", "floor" or "nearest".
        **arguments: of a layer.

    Raises:
        ValueError: an unknown mode, or a format that does not exist.
    """

    def __init__(self, nbits=8, msb=0, mode="thesis", **arguments):
        super().__init__(**arguments)
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
        self.format, self.mode = QFormat(nbits, msb), mode

    def call(self, inputs):
        """Quantise, with a straight-through gradient."""
        return _quantize(inputs, self.format, self.mode)

    def get_config(self):
        """Everything that makes the layer again."""
        formats = {"nbits": self.format.bits, "msb": self.format.msb, "mode": self.mode}
        return super().get_config() | formats


class PortableConv2D(QuantizedConv2D):
    """A quantised convolution outside training, in float32 and without TensorFlow's own roundings.

    The thesis's mode, and a layer that is not enabled, have neither anyway.
    """

    def call(self, inputs, training=None):
        """Convolve; `training` changes nothing."""
        if not self.enabled or self.mode == "thesis":
            return super().call(inputs, training=False)
        rounded = functools.partial(_rounded, mode=self.mode)
        kernel = rounded(self.kernel, self.kernel_format)
        sums = self.convolution_op(rounded(inputs, self.input_format), kernel)
        if self.use_bias:
            sums += rounded(self.bias, self.bias_format)
        return self.activation(rounded(sums, self.output_format))


def portable(model: tf.keras.Model) -> tf.keras.Model:
    """A copy for converters: in float32, its roundings made of floor, minimum and maximum.

    Sums of more than 24 bits are rounded by float32: such a network may differ by a last code, now
    and then.

    Args:
        model: of plain or quantised convolutions; it is not changed.
    """

    def layer_of(layer):
        kind = PortableConv2D if isinstance(layer, QuantizedConv2D) else type(layer)
        return kind.from_config(layer.get_config())

    return networks.copy_of(model, layer_of)


def layer_outputs(model: tf.keras.Model, images, names: list[str]) -> dict:
    """Inputs and outputs of layers, in floating point.

    Args:
        model: Functional or Sequential.
        images: (N, ...), what the model takes.
        names: of layers.

    Returns:
        name → (inputs, outputs), float32.
    """
    layers = [model.get_layer(name) for name in names]
    taps = tf.keras.Model(model.inputs, [[layer.input, layer.output] for layer in layers])
    values = taps.predict(images, verbose=0)
    return {name: tuple(pair) for name, pair in zip(names, values, strict=True)}
