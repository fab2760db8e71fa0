"""Networks laid out anew: inner models as layers of one, sequences as images of height one."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_L = tf.keras.layers


def flat(model: tf.keras.Model) -> tf.keras.Model:
    """The same network without models among its layers; the model itself if there are none.

    Weights are copies, as after `clone_model`. A layer of an inner model is called
    "inner/layer"; a layer, or an inner model, that is called several times stays one.

    Args:
        model: functional or sequential, with any number of inputs and outputs.

    Raises:
        ValueError: an inner model is subclassed, so that its layers cannot be known.
    """
    if not any(isinstance(layer, tf.keras.Model) for layer in model.layers):
        return model
    copies = _Copies()

    def applied(layer, name, arguments, options):
        return copies.of(layer, name)(*arguments, **options)

    inputs = _inputs(model)
    outputs = _called(model, inputs, "", applied)
    laid_out = tf.keras.Model(inputs, _structured(model, outputs), name=model.name)
    copies.set_weights()
    return laid_out


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
    copies = _Copies()

    def applied(layer, name, arguments, options):
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

    inputs = _inputs(model)
    outputs = _called(model, [_Value(x) for x in inputs], "", applied)
    lines = [value.on_line() for value in outputs]
    laid_out = tf.keras.Model(inputs, _structured(model, lines), name=model.name)
    copies.set_weights()
    return laid_out


class _Copies:
    """Copies of layers, one for each however often it is called; their weights come at the end."""

    def __init__(self):
        self._made: dict[int, tuple] = {}

    def of(self, layer, name: str, kind: type | None = None, config: dict | None = None):
        if id(layer) not in self._made:
            whole = (layer.get_config() if config is None else config) | {"name": name}
            self._made[id(layer)] = layer, (kind or type(layer)).from_config(whole)
        return self._made[id(layer)][1]

    def set_weights(self) -> None:
        for layer, copy in self._made.values():
            values = zip(layer.get_weights(), copy.weights, strict=True)
            copy.set_weights([value.reshape(weight.shape) for value, weight in values])


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
            self.line = _L.Reshape((-1 if time is None else time, channels))(self.plane)
        return self.line

    def on_plane(self):
        if self.plane is None:
            _, time, channels = self.line.shape
            self.plane = _L.Reshape((1, -1 if time is None else time, channels))(self.line)
        return self.plane


def _convolved(layer: _L.Conv1D, copies: _Copies, x):
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


def _inputs(model: tf.keras.Model) -> list:
    return [
        tf.keras.Input(x.shape[1:], name=name, dtype=x.dtype)
        for x, name in zip(model.inputs, model.input_names, strict=True)
    ]


def _structured(model: tf.keras.Model, outputs: list):
    return tf.nest.pack_sequence_as(model.output, outputs)


def _called(model: tf.keras.Model, inputs: list, prefix: str, applied: Callable) -> list:
    """Apply a model's layers in its order, `applied(layer, name, arguments, options)`.

    Values stand for the model's tensors; flat lists of them in and out. Inner models are entered.
    """

    def entered(layer, arguments, options):
        name = f"{prefix}{layer.name}"
        if isinstance(layer, tf.keras.Model):
            outputs = _called(layer, tf.nest.flatten(arguments), f"{name}/", applied)
            return tf.nest.pack_sequence_as(layer.output, outputs)
        return applied(layer, name, arguments, options)

    if isinstance(model, tf.keras.Sequential):
        value = inputs[0]
        for layer in model.layers:
            value = entered(layer, (value,), {})
        return tf.nest.flatten(value)
    if not model._is_graph_network:
        raise ValueError(
            f"the inner model {model.name!r} is subclassed: build it with the functional or the "
            "sequential API, so that its layers are known."
        )
    # As Functional runs its own graph: by depth, a tensor as often as it is consumed.
    usage = model._tensor_usage_count
    values = {
        str(id(x)): [y] * usage[str(id(x))] for x, y in zip(model.inputs, inputs, strict=True)
    }
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input or any(key not in values for key in node.flat_input_ids):
                continue
            arguments, options = node.map_arguments(values)
            outputs = entered(node.layer, arguments, options)
            for key, value in zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True):
                values[str(key)] = [value] * usage[str(key)]
    return [values[str(id(x))].pop() for x in model.outputs]
