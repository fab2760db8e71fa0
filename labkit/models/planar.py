"""Sequences laid out as images of height one."""

from __future__ import annotations

import tensorflow as tf

from labkit.models.graph import Copies, rebuilt

_L = tf.keras.layers


def reshaped(x, shape: tuple):
    """A tensor in another shape (without samples); None, of one dimension, is what is left."""
    return _L.Reshape(tuple(-1 if n is None else n for n in shape))(x)


def planar(model: tf.keras.Model) -> tf.keras.Model:
    """The same network with 2-D convolutions of height one for its 1-D ones, as TFLite has them.

    What stands behind a convolution, normalisation, activation, pooling, addition, works on the
    same layout, so that a technique finds the patterns that it knows: tfmot has none for `Conv1D`.
    The model itself if it has no 1-D convolution; layers keep their names, kernels (width, in, out)
    become (1, width, in, out).

    Args:
        model: functional or sequential, without inner models, see `flat`.
    """
    if not any(type(layer) is _L.Conv1D for layer in model.layers):
        return model
    copies = Copies()

    def called(layer, name, arguments, options):
        found = tf.nest.flatten(arguments)
        if type(layer) is _L.Conv1D:
            return _Value(plane=_convolved(layer, copies, found[0].on_plane()))
        config = _planar_config(layer) if any(v.plane is not None for v in found) else None
        if config is not None and all(v.rank == 3 for v in found):
            planes = tf.nest.map_structure(_Value.on_plane, arguments)
            outputs = copies.of(layer, name, *config)(*planes, **options)
            return _Value(outputs) if outputs.shape.rank == 2 else _Value(plane=outputs)
        lines = tf.nest.map_structure(_Value.on_line, arguments)
        outputs = copies.of(layer, name)(*lines, **options)
        return tf.nest.map_structure(_Value, outputs)

    laid_out = rebuilt(model, called, _Value, _Value.on_line)
    copies.set_weights()
    return laid_out


class _Value:
    """A tensor of a network, as (time, channels), or as (1, time, channels), or both."""

    def __init__(self, line=None, plane=None):
        self.line, self.plane = line, plane

    @property
    def rank(self) -> int:
        return 3 if self.line is None else self.line.shape.rank

    def on_line(self):
        if self.line is None:
            _, _, time, channels = self.plane.shape
            self.line = reshaped(self.plane, (time, channels))
        return self.line

    def on_plane(self):
        if self.plane is None:
            _, time, channels = self.line.shape
            self.plane = reshaped(self.line, (1, time, channels))
        return self.plane


def _convolved(layer: _L.Conv1D, copies: Copies, x):
    """A 1-D convolution of (1, time, channels)."""
    config = layer.get_config()
    for key in ("kernel_size", "strides", "dilation_rate"):
        config[key] = (1, *config[key])
    config.pop("batch_input_shape", None)
    if config["padding"] == "causal":
        config["padding"] = "valid"
        before = (config["kernel_size"][1] - 1) * config["dilation_rate"][1]
        x = _L.ZeroPadding2D(((0, 0), (before, 0)))(x)
    return copies.of(layer, layer.name, _L.Conv2D, config)(x)


def _planar_config(layer) -> tuple[type, dict] | None:
    """Class and configuration of a layer that does the same on (1, time, channels); None for none.

    Values one by one, or along the channels, or pooled over time.
    """
    config = layer.get_config()
    config.pop("batch_input_shape", None)
    if isinstance(layer, (_L.ReLU, _L.LeakyReLU, _L.ELU, _L.Dropout, _L.Add, _L.Multiply)):
        return type(layer), config
    if type(layer) is _L.Activation and config["activation"] != "softmax":
        return type(layer), config
    if type(layer) is _L.BatchNormalization and list(layer.axis) == [2]:
        return type(layer), config | {"axis": -1}
    if type(layer) is _L.Concatenate and layer.axis in (-1, 2):
        return type(layer), config | {"axis": -1}
    if type(layer) in (_L.MaxPooling1D, _L.AveragePooling1D):
        kind = _L.MaxPooling2D if type(layer) is _L.MaxPooling1D else _L.AveragePooling2D
        pooled = {key: (1, *config[key]) for key in ("pool_size", "strides")}
        return kind, config | pooled
    if type(layer) in (_L.GlobalAveragePooling1D, _L.GlobalMaxPooling1D) and not layer.keepdims:
        average = type(layer) is _L.GlobalAveragePooling1D
        return (_L.GlobalAveragePooling2D if average else _L.GlobalMaxPooling2D), config
    return None
