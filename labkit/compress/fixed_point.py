"""Convolutions with fixed-point numbers, trainable: the twin of the engine in Keras.

All of it rounds by one formula, code = clip(⌊x / step + half⌋, lowest, highest): in float64, where
it is exact, or in float32, as training and converters have it.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), section 4.5.2,
equations 7 to 10, codes 7 to 11.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from labkit.hwce.formats import MODES, QFormat
from labkit.hwce.plan import LayerPlan, Plan, Ranges
from labkit.models import graph

#: Up to here float32 holds every integer.
_FLOAT32_EXACT = 2**24


class _Rounding(NamedTuple):
    """A format and a mode, in numbers: of Python, or tensors."""

    step: float | tf.Tensor
    lowest: float | tf.Tensor
    highest: float | tf.Tensor
    half: float | tf.Tensor

    @classmethod
    def of(cls, q: QFormat, mode: str) -> _Rounding:
        # The thesis clips to ±A before it rounds down, so that A itself has a code.
        highest = q.max_code + (mode == "thesis")
        return cls(q.step, float(q.min_code), float(highest), 0.5 if mode == "nearest" else 0.0)

    def plainly(self, x: tf.Tensor) -> tf.Tensor:
        """Codes times step, without a gradient."""
        step, lowest, highest, half = (tf.cast(number, x.dtype) for number in self)
        return tf.clip_by_value(tf.floor(x / step + half), lowest, highest) * step

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Codes times step; the gradient is 1 within the amplitude and 0 outside."""
        amplitude = -tf.cast(self.lowest, x.dtype) * tf.cast(self.step, x.dtype)

        @tf.custom_gradient
        def straight_through(x):
            def gradient(upstream):
                return tf.where(tf.abs(x) <= amplitude, upstream, tf.zeros_like(upstream))

            return self.plainly(x), gradient

        return straight_through(x)


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
    x = tf.convert_to_tensor(x)
    rounding = _Rounding.of(QFormat(nbits, msb), _known(mode))
    return tf.cast(rounding(tf.cast(x, tf.float64)), x.dtype)


def _known(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
    return mode


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
        exact: outside training, round in float64, and sum in it where float32 could not hold every
            sum. Training rounds and sums in float32, as any layer: there, a value within float32's
            error of a half may go to the other side.
        **arguments: of Conv2D.

    `enabled`, `tap` and the formats may be changed on a layer, but functions that Keras has already
    traced keep what they were: compile the model again, or clone it; or take `adjustable`.

    Raises:
        ValueError: a format, mode or argument that the engine does not have.

    Source: the thesis, section 4.5.2, codes 8 to 11.
    """

    #: A gradient of ours keeps converters from folding a kernel's rounding into its values.
    _has_gradient = True

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
        self.mode, self.enabled, self.tap, self.exact = _known(mode), enabled, tap, exact

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
            outputs = self._biased(self.convolution_op(inputs, self.kernel))
        elif self.exact and tf.is_tensor(training):
            outputs = tf.cond(
                tf.cast(training, tf.bool),
                lambda: self._quantized(inputs, exact=False),
                lambda: self._quantized(inputs, exact=True),
            )
        else:
            outputs = self._quantized(inputs, exact=self.exact and not training)
        return outputs if self.tap or self.activation is None else self.activation(outputs)

    def _quantized(self, inputs, exact: bool) -> tf.Tensor:
        """Products and bias, rounded once; in the thesis's mode the products alone."""
        dtype = tf.float64 if exact else inputs.dtype
        wide = tf.float64 if exact and not self._fits_float32() else inputs.dtype

        def rounded(x, q):
            rounding = _Rounding.of(q, self.mode)
            x = tf.cast(tf.convert_to_tensor(x), dtype)
            return rounding(x) if self._has_gradient else rounding.plainly(x)

        x, kernel = rounded(inputs, self.input_format), rounded(self.kernel, self.kernel_format)
        sums = tf.cast(self.convolution_op(tf.cast(x, wide), tf.cast(kernel, wide)), dtype)
        if self.mode == "thesis":
            return self._biased(tf.cast(rounded(sums, self.output_format), inputs.dtype))
        if self.use_bias and not self.tap:
            sums += rounded(self.bias, self.bias_format)
        return tf.cast(rounded(sums, self.output_format), inputs.dtype)

    def _fits_float32(self) -> bool:
        largest = -self.kernel_format.min_code * -self.input_format.min_code
        return math.prod(self.kernel.shape[:-1]) * largest <= _FLOAT32_EXACT

    def _biased(self, outputs):
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias and not self.tap else outputs

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
        self.format, self.mode = QFormat(nbits, msb), _known(mode)

    def call(self, inputs):
        """Quantise, with a straight-through gradient."""
        return quantclip(inputs, self.format.msb, self.format.bits, self.mode)

    def get_config(self):
        """Everything that makes the layer again."""
        formats = {"nbits": self.format.bits, "msb": self.format.msb, "mode": self.mode}
        return super().get_config() | formats


#: What becomes a quantised convolution. No other subclasses: a transposed one computes otherwise.
CONVOLUTIONS = (tf.keras.layers.Conv2D, QuantizedConv2D)


def portable(model: tf.keras.Model) -> tf.keras.Model:
    """A copy for converters: its quantised convolutions round and sum in float32.

    Sums of more than 24 bits are rounded by float32: such a network may differ by a last code, now
    and then.

    Args:
        model: of plain or quantised convolutions; it is not changed.
    """

    def layer_of(layer):
        if not isinstance(layer, QuantizedConv2D):
            return type(layer).from_config(layer.get_config())
        copy = type(layer).from_config(layer.get_config() | {"exact": False})
        copy._has_gradient = False
        return copy

    return graph.copy_of(model, layer_of)


def convert(model: tf.keras.Model) -> bytes:
    """A TFLite file of a quantised network that stores its kernels as codes.

    Kernels of up to 4 bits are int4 in the file, those of up to 8 bits int8, each with its one step
    and a DEQUANTIZE before the convolution, which computes in float32 what that of `portable` does.
    Wider kernels and biases stay float32.

    Args:
        model: of plain or quantised convolutions; it is not changed.

    Raises:
        CompressionError: the converter has changed a kernel beyond recognition.
    """
    from labkit import flatbuffer
    from labkit.compress import post_training, stored
    from labkit.compress.kernels import CompressionError

    file = stored.read(post_training.convert(portable(model), "float"))
    kernels = stored.kernels(file)
    for layer in model.layers:
        q = layer.kernel_format if isinstance(layer, QuantizedConv2D) and layer.enabled else None
        if q is None or q.bits > 8 or layer.mode == "thesis":  # whose largest code needs a bit more
            continue
        codes = q.codes(layer.kernel.numpy(), layer.mode)
        codes = np.moveaxis(codes, -1, 0).reshape(codes.shape[-1], -1)
        fitting = {k: step for k in kernels if (step := _step(k.values, codes)) is not None}
        if not fitting:
            raise CompressionError(
                f"no kernel in the file is that of {layer.name!r}: the converter has merged the "
                "layer with one beside it."
            )
        for kernel, step in fitting.items():
            bits = 4 if q.bits <= 4 else 8
            stored.replace(file, kernel, codes, np.array([step], np.float32), bits)
            kernels.remove(kernel)
    return flatbuffer.pack(file)


def _step(values: np.ndarray, codes: np.ndarray) -> float | None:
    """What codes are multiplied by in a file, None if these values are no multiple of them.

    A power of two, but not the format's own step where the converter has put the one by which the
    outputs are divided into the kernel.
    """
    if values.shape != codes.shape:
        return None
    largest = np.abs(codes).max()
    step = float(np.abs(values).max()) / largest if largest else 1.0
    return step if math.frexp(step)[0] == 0.5 and np.array_equal(values, codes * step) else None


def measured_ranges(model: tf.keras.Model, images: np.ndarray) -> Ranges:
    """What the layers of a float network show on some images, for any number of plans.

    Args:
        model: functional or sequential, in floating point.
        images: representative, (N, ...).
    """
    model = graph.flat(model)
    kinds = (*CONVOLUTIONS, tf.keras.layers.Dense)
    names = [layer.name for layer in model.layers if type(layer) in kinds]
    return Ranges(
        {
            name: (model.get_layer(name).get_weights()[0], inputs, outputs)
            for name, (inputs, outputs) in graph.layer_outputs(model, images, names).items()
        }
    )


class _Formats:
    """What a layer is set to. Not a layer's attributes: Keras would take them for weights."""

    def __init__(self):
        self.enabled = tf.Variable(False, trainable=False)
        #: Rows: kernel, inputs, outputs. Columns: those of `_Rounding`.
        self.numbers = tf.Variable(tf.ones((3, 4)), trainable=False)


class AdjustableConv2D(tf.keras.layers.Conv2D):
    """A convolution whose formats can be changed without building its graph again.

    A `QuantizedConv2D` carries its formats in its configuration, and every other plan is another
    graph, seconds of work for a network like SqueezeNet. Here they are variables: whoever tries a
    hundred plans, or quantises level by level, pays for one graph.

    Computes what `QuantizedConv2D` does in float32, but that the bias is added as it is: where a
    sum has more than 24 bits, or a value lies within an error of a half, the last code may differ
    from the twin's.
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
            rows = [_Rounding.of(q, mode) for q in (plan.kernel, plan.input, plan.output)]
            self._formats.numbers.assign(np.array(rows, np.float32))

    def call(self, inputs):
        """Convolve, in floating point or quantised."""
        kernel, bias = tf.convert_to_tensor(self.kernel), self.bias if self.use_bias else 0.0

        def quantized():
            of_kernel, of_inputs, of_outputs = (
                _Rounding(*tf.unstack(row)) for row in tf.unstack(self._formats.numbers)
            )
            return of_outputs(self.convolution_op(of_inputs(inputs), of_kernel(kernel)) + bias)

        def plain():
            return self.convolution_op(inputs, kernel) + bias

        outputs = tf.cond(self._formats.enabled, quantized, plain)
        return outputs if self.activation is None else self.activation(outputs)


def adjustable(model: tf.keras.Model) -> tf.keras.Model:
    """A copy whose convolutions can be quantised by `adjust`; in floating point at first."""

    def layer_of(layer):
        config = layer.get_config()
        if type(layer) in CONVOLUTIONS:
            plain = tf.keras.layers.Conv2D(1, 1).get_config()
            return AdjustableConv2D.from_config({key: config[key] for key in plain})
        return type(layer).from_config(config)

    return graph.copy_of(model, layer_of)


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
        levels: that are quantised, as `graph.levels` names them; None for all.
        mode: "nearest" or "floor"; the plan's without.
    """
    for level, names in graph.levels(model).items():
        for layer in map(model.get_layer, names):
            if isinstance(layer, AdjustableConv2D):
                if plan is None or (levels is not None and level not in levels):
                    layer.adjust(None)
                else:
                    layer.adjust(plan.layers[layer.name], mode or plan.mode)
