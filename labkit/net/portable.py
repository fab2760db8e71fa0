"""Networks in operations that every converter knows."""

from __future__ import annotations

import tensorflow as tf

from labkit.hwce.formats import QFormat
from labkit.hwce.layers import QuantizedConv2D, quantclip


def portable(model: tf.keras.Model) -> tf.keras.Model:
    """A copy that computes the same in float32, its roundings made of floor, minimum and maximum.

    Sums of more than 24 bits are rounded by float32: such a network may differ by a last code, now
    and then.

    Args:
        model: of plain or quantised convolutions; it is not changed.
    """

    def layer_of(layer):
        kind = PortableConv2D if isinstance(layer, QuantizedConv2D) else type(layer)
        return kind.from_config(layer.get_config())

    copy = tf.keras.models.clone_model(model, clone_function=layer_of)
    copy.set_weights(model.get_weights())
    return copy


class PortableConv2D(QuantizedConv2D):
    """A quantised convolution outside training, in float32 and without TensorFlow's own roundings.

    The thesis's mode, and a layer that is not enabled, have neither anyway.
    """

    def call(self, inputs, training=None):
        """Convolve; `training` changes nothing."""
        if not self.enabled or self.mode == "thesis":
            return super().call(inputs, training=False)
        kernel = self._rounded(self.kernel, self.kernel_format)
        sums = self.convolution_op(self._rounded(inputs, self.input_format), kernel)
        if self.use_bias:
            sums += self._rounded(self.bias, self.bias_format)
        return self.activation(self._rounded(sums, self.output_format))

    def _rounded(self, x, q: QFormat):
        return quantclip(x, q.msb, q.bits, self.mode)
