"""A Keras network as a graph: who reads whom, copies, and the same layers called anew.

Everything here looks at the calls of one network alone: a layer's own lists of nodes also hold
those of every other model that was built on the same tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from labkit.errors import LabkitError
from labkit.models.operators import LAYERS

Layer = tf.keras.layers.Layer


class NetworkError(LabkitError):
    """A network, layer, level or file of weights that does not exist or does not fit."""


class Wiring:
    """Who reads whom in a network, as it is when this is made.

    Args:
        model: functional or sequential; an inner model counts as a layer, see `flat`.
    """

    def __init__(self, model: tf.keras.Model):
        self._calls: dict[int, int] = {}
        self._before: dict[int, list[Layer]] = {}
        self._behind: dict[int, list[Layer | None]] = {}
        for layer, sources in _calls(model):
            self._calls[id(layer)] = self._calls.get(id(layer), 0) + 1
            self._before.setdefault(id(layer), []).extend(sources)
            for source in sources:
                self._behind.setdefault(id(source), []).append(layer)
        for layer in _output_layers(model):
            self._behind.setdefault(id(layer), []).append(None)

    def before(self, layer: Layer) -> list[Layer]:
        """The layers that a layer reads, one as often as it is read."""
        return self._before.get(id(layer), [])

    def behind(self, layer: Layer) -> list[Layer | None]:
        """The layers that read a layer, one as often as it does; None: an output of the network."""
        return self._behind.get(id(layer), [])

    def sole_before(self, layer: Layer) -> Layer | None:
        """The one layer that a layer reads; None if there are more, or either is called twice."""
        return self._sole(layer, self.before(layer))

    def sole_behind(self, layer: Layer) -> Layer | None:
        """The one reader of a layer; None if there are more, or either is called twice."""
        return self._sole(layer, self.behind(layer))

    def _sole(self, layer: Layer, found: list[Layer | None]) -> Layer | None:
        once = len(found) == 1 and self._calls.get(id(layer), 0) <= 1
        return found[0] if once and self._calls.get(id(found[0]), 0) <= 1 else None


def _calls(model: tf.keras.Model) -> Iterator[tuple[Layer, list[Layer]]]:
    """Each call of a layer, with the layers whose outputs it takes."""
    if isinstance(model, tf.keras.Sequential):
        yield from ((b, [a]) for a, b in zip(model.layers, model.layers[1:], strict=False))
        return
    for layer, inputs, _ in calls(model):
        yield layer, [tensor._keras_history.layer for tensor in inputs]


def calls(model: tf.keras.Model) -> Iterator[tuple[Layer, list, list]]:
    """Each call of a layer with the symbolic tensors that it takes and makes, in their order.

    Args:
        model: built; of a nested one lay it out `flat` first.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                yield node.layer, node.keras_inputs, tf.nest.flatten(node.outputs)


def _output_layers(model: tf.keras.Model) -> list[Layer]:
    if isinstance(model, tf.keras.Sequential):
        return model.layers[-1:]
    return [tensor._keras_history.layer for tensor in model.outputs]


def copy_of(
    model: tf.keras.Model, layer_of: Callable[[Layer], Layer] | None = None
) -> tf.keras.Model:
    """A copy, laid out `flat`, with the same weights; `tfmot` modifies what it wraps: wrap a copy.

    Args:
        model: functional or sequential.
        layer_of: of a layer, makes the one that stands for it in the copy.
    """
    model = flat(model)
    copy = tf.keras.models.clone_model(model, clone_function=layer_of)
    copy.set_weights(model.get_weights())
    return copy


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
    copies = Copies()

    def called(layer, name, arguments, options):
        return copies.of(layer, name)(*arguments, **options)

    laid_out = rebuilt(model, called)
    copies.set_weights()
    return laid_out


def layered(model: tf.keras.Model) -> tf.keras.Model:
    """The same network with layers for operators: `Add()` for a + b, `ReLU()` for `tf.nn.relu(a)`.

    Techniques know layers. An operator with a number in it, as a + 1, stays as it is. The model
    itself if it has no operators; else laid out `flat`, with copies of the weights.

    Args:
        model: functional or sequential.
    """
    model = flat(model)
    if not any(getattr(layer, "symbol", None) in LAYERS for layer in model.layers):
        return model
    copies = Copies()

    def called(layer, name, arguments, options):
        kind, settings, count = LAYERS.get(getattr(layer, "symbol", None), (None, {}, 0))
        options_ = {key: value for key, value in options.items() if key != "name"}
        given = [x for x in tf.nest.flatten([arguments, options_]) if x is not None]
        tensors = [x for x in given if hasattr(x, "_keras_history")]
        if kind is None or len(given) != count or len(tensors) != count:
            return copies.of(layer, name)(*arguments, **options)
        stands_for_it = getattr(tf.keras.layers, kind)(name=name, **settings)
        return stands_for_it(tensors if count > 1 else tensors[0])

    laid_out = rebuilt(model, called)
    copies.set_weights()
    return laid_out


def levels(model: tf.keras.Model) -> dict[str, tuple[str, ...]]:
    """The levels of a network: the names of their layers with kernels, in the order of execution.

    Convolutions and dense layers whose names begin alike ("fire2/squeeze1x1", "fire2/expand1x1",
    ...) are one level, and so are those of an inner model. Level k of a quantisation means that the
    first k levels are quantised. Depthwise convolutions belong to none: the engine has none.

    Example:
        >>> list(levels(squeezenet.build()))
        ['conv1', 'fire2', ..., 'fire9', 'conv10']

    Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), sections
    3.3 (GenericNet) and 4.5.4 (levels, extraction).
    """
    found: dict[str, tuple[str, ...]] = {}
    for layer in flat(model).layers:
        if hasattr(layer, "kernel"):
            level = layer.name.split("/")[0]
            found[level] = (*found.get(level, ()), layer.name)
    return found


def layer_outputs(model: tf.keras.Model, images, names: list[str]) -> dict:
    """Inputs and outputs of layers, in floating point.

    Args:
        model: functional or sequential.
        images: (N, ...), what the model takes.
        names: of layers, those of inner models as `flat` calls them.

    Returns:
        name → (inputs, outputs), float32.
    """
    model = flat(model)
    layers = [model.get_layer(name) for name in names]
    taps = tf.keras.Model(model.inputs, [[layer.input, layer.output] for layer in layers])
    values = taps.predict(images, verbose=0)
    return {name: tuple(pair) for name, pair in zip(names, values, strict=True)}


def normalizes_channels(layer: Layer | None) -> bool:
    """Whether it is a batch normalisation of its last axis: a factor and a shift a channel."""
    if not isinstance(layer, tf.keras.layers.BatchNormalization):
        return False
    rank = layer.input_spec.ndim
    return [axis % rank for axis in layer.axis] == [rank - 1]


class Copies:
    """Copies of layers, one for each however often it is called; their weights come at the end."""

    def __init__(self):
        self._made: dict[int, tuple[Layer, Layer]] = {}

    def of(
        self, layer: Layer, name: str, kind: type | None = None, config: dict | None = None
    ) -> Layer:
        """The layer's copy by that name; of another class or configuration, if they are given."""
        if id(layer) not in self._made:
            whole = (layer.get_config() if config is None else config) | {"name": name}
            self._made[id(layer)] = layer, (kind or type(layer)).from_config(whole)
        return self._made[id(layer)][1]

    def set_weights(self, of: Callable[[Layer], list[np.ndarray]] = Layer.get_weights) -> None:
        """Give every copy its values: `of` the layer, in the copy's own shapes."""
        for layer, copy in self._made.values():
            values = zip(of(layer), copy.weights, strict=True)
            copy.set_weights([np.reshape(value, weight.shape) for value, weight in values])


def rebuilt(
    model: tf.keras.Model,
    called: Callable[[Layer, str, tuple, dict], Any],
    enter: Callable = lambda x: x,
    leave: Callable = lambda y: y,
) -> tf.keras.Model:
    """A network of the same inputs, outputs and calls, with what `called` makes of each call.

    Args:
        model: functional or sequential, with any number of inputs and outputs.
        called: of (layer, name, arguments, options), what stands for its outputs; layers of inner
            models have their turn too, by the name "inner/layer".
        enter: makes of an input's tensor what `called` is given.
        leave: makes the tensor of an output of what `called` gave.

    Raises:
        ValueError: an inner model is subclassed.
    """
    inputs = [
        tf.keras.Input(x.shape[1:], name=name, dtype=x.dtype)
        for x, name in zip(model.inputs, model.input_names, strict=True)
    ]
    outputs = [leave(y) for y in _run(model, [enter(x) for x in inputs], "", called)]
    structured = tf.nest.pack_sequence_as(model.output, outputs)
    return tf.keras.Model(inputs, structured, name=model.name)


def walked(model: tf.keras.Model, inputs: list, called: Callable[[Layer, str, tuple, dict], Any]):
    """What a network's outputs are if its layers are called as `called` says.

    Args:
        model: functional or sequential.
        inputs: a value for each input, of any kind that `called` takes.
        called: of (layer, name, arguments, options), the layer's outputs, as for `rebuilt`.

    Returns:
        the outputs, in the model's own structure.

    Raises:
        ValueError: an inner model is subclassed.
    """
    return tf.nest.pack_sequence_as(model.output, _run(model, inputs, "", called))


def _run(model: tf.keras.Model, inputs: list, prefix: str, called: Callable) -> list:
    """Call a model's layers in its order; flat lists of values in and out."""

    def entered(layer, arguments, options):
        name = f"{prefix}{layer.name}"
        if isinstance(layer, tf.keras.Model):
            outputs = _run(layer, tf.nest.flatten(arguments), f"{name}/", called)
            return tf.nest.pack_sequence_as(layer.output, outputs)
        return called(layer, name, arguments, options)

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
