"""Post-training quantisation: from a trained Keras model to the bytes of a TFLite file."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import tensorflow as tf

from labkit import flatbuffer, runtime
from labkit.flatbuffer import schema
from labkit.models.graph import flat

MODES = ("float", "float16", "dynamic_range", "int8", "int16x8")
_CALIBRATED = ("int8", "int16x8")
_RECURRENT = (tf.keras.layers.RNN, tf.keras.layers.Bidirectional)
_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
_LOOPS = ("While", "StatelessWhile")


class ConversionWarning(UserWarning):
    """A file that is not in integers throughout, though it was asked for."""


def convert(
    model: tf.keras.Model,
    mode: str,
    representative: np.ndarray | None = None,
    batch: int | None = None,
) -> bytes:
    """Convert a Keras model to a TFLite file; the model is not changed.

    Args:
        model: any functional or sequential Keras model; of several inputs and outputs the file
            has them in the model's order (`measure`'s runtime takes them by name).
        mode: "float"; "float16" (weights float16, computed in float32); "dynamic_range" (int8
            weights, activations quantised at run time); "int8" (integers throughout, int8 input
            and output); "int16x8" (int16 activations, int8 weights, float input and output). A
            warning names the operators that stay in floating point all the same.
        representative: float32 (N, *input shape), inputs as in training, for "int8" and
            "int16x8": their activation ranges are measured on it. Of several inputs a dictionary by
            name, or a sequence in the model's order, or a batched `tf.data.Dataset` whose elements
            (or their first parts) are such.
        batch: samples that the file takes at a time, any number without. A microcontroller's takes
            one: nothing has to find out then how many there are. Of a network with LSTMs, whose
            state has a fixed size, it is one anyway.

    Returns:
        the content of a `.tflite` file.

    Raises:
        TypeError: not a Keras 2 model.
        ValueError: unknown mode, no usable representative images, or a loop over time that the
            converter has no integers for.

    Source: R. Krishnamoorthi, arXiv:1806.08342, section 3.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
    _check_model(model)
    function, saved = _traced(model, batch)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], saved)
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode in _CALIBRATED:
        inputs = _checked(representative, model, mode)
        _check_loops(function, saved, model, mode)
        converter.representative_dataset = lambda: _one_by_one(inputs, model)
    if mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if mode == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    content = quietly(converter)
    if mode in _CALIBRATED and (found := in_float(content)):
        warnings.warn(
            f"not all of the {mode} file is in integers: {', '.join(found)} stay in floating "
            "point, since the converter has no integer form of them. A device without floating "
            "point cannot run it: replace those layers (ReLU for ELU, for example).",
            ConversionWarning,
            stacklevel=2,
        )
    return content


def in_float(content: bytes) -> list[str]:
    """Operators of a file that compute in floating point, each "ELU (conv2d/Elu)".

    Those that turn floats into codes and back are not among them, nor is what only brings an
    integer input to them.
    """
    model = flatbuffer.unpack(content)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            outputs = [graph.tensors[i] for i in operator.outputs]
            computes = any(tensor.type in _FLOATS for tensor in outputs)
            if computes and name not in ("QUANTIZE", "DEQUANTIZE", "CAST"):
                where = outputs[0].name.decode().split(";")[0].split("/", 1)[-1]
                found.append(f"{name} ({where})")
    return found


def _check_loops(function, saved: tf.Module, model: tf.keras.Model, mode: str) -> None:
    """Refuse a loop: the converter ends the process when it quantises one."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    if not any(node.op in _LOOPS for node in nodes):
        return
    # The loops of LSTMs become operators, those of others stay: the file in floats tells.
    content = quietly(tf.lite.TFLiteConverter.from_concrete_functions([function], saved))
    if len(flatbuffer.unpack(content).subgraphs) > 1:
        layers = [layer for layer in flat(model).layers if isinstance(layer, _RECURRENT)]
        names = [repr(layer.name) for layer in layers if _turns(layer)] or ["a layer of its own"]
        raise ValueError(
            f"the converter has no integers for a loop over time, which {', '.join(names)} has: "
            f"for mode {mode!r} build such a layer with unroll=True."
        )


def _turns(layer: tf.keras.layers.Layer) -> bool:
    """Whether a recurrent layer is a loop in a file, not an operator and not unrolled."""
    inner = getattr(layer, "forward_layer", layer)
    return not (isinstance(inner, tf.keras.layers.LSTM) or getattr(inner, "unroll", False))


def converter_of(model: tf.keras.Model, batch: int | None = None) -> tf.lite.TFLiteConverter:
    """What `TFLiteConverter.from_keras_model` gives, several times as fast.

    That one saves every layer of the model by itself, with all that would be needed to train it
    again, before it converts; here one traced graph is saved. The files are the same but for one
    byte, the field of their metadata that tells where they come from, and for reshaping layers:
    Keras asks the input for the number of samples, which takes three more operators and about 1.1
    kB of the file for each of them.

    Args:
        model: Keras model with any number of inputs and outputs.
        batch: as `convert` takes it.
    """
    function, saved = _traced(model, batch)
    return tf.lite.TFLiteConverter.from_concrete_functions([function], saved)


def _traced(model: tf.keras.Model, batch: int | None):
    """A network as one function of TensorFlow, and what holds its variables."""
    names = model.output_names
    if batch is None and any(isinstance(layer, _RECURRENT) for layer in flat(model).layers):
        batch = 1

    def outputs(*inputs):
        given = inputs[0] if len(inputs) == 1 else _structured(model, inputs)
        return dict(zip(names, tf.nest.flatten(model(given, training=False)), strict=True))

    specs = [
        tf.TensorSpec([batch or x.shape[0], *x.shape[1:]], x.dtype, name)
        for x, name in zip(model.inputs, model.input_names, strict=True)
    ]
    saved = tf.Module()
    saved.variables_of_model = model.variables
    saved.call = tf.function(outputs, input_signature=specs)
    with _constant_shapes(model):
        return saved.call.get_concrete_function(), saved


@contextlib.contextmanager
def _constant_shapes(model: tf.keras.Model):
    """Let reshaping layers have a shape that is a constant, -1 for the number of samples."""

    def constant(layer):
        as_keras = layer.call

        def call(inputs):
            shape = layer.compute_output_shape(inputs.shape)[1:]
            return as_keras(inputs) if None in shape else tf.reshape(inputs, (-1, *shape))

        return call

    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if type(layer) is tf.keras.layers.Reshape
    ]
    for layer in layers:
        layer.call = constant(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _structured(model: tf.keras.Model, inputs):
    """Inputs in the model's order, in the structure that it is called with."""
    return tf.nest.pack_sequence_as(model.input, list(inputs))


def _check_model(model: tf.keras.Model) -> None:
    if not isinstance(model, tf.keras.Model):
        raise TypeError(
            f"model is a {type(model).__module__}.{type(model).__name__}, expected a Keras 2 "
            "model: build it with tf.keras, and import labkit before TensorFlow."
        )
    if not model.inputs:
        raise ValueError(
            f"model {model.name!r} has no inputs yet: build it, or call it once on its inputs. (A "
            "sequential model has none before it is told its input shape.)"
        )


def _checked(given, model: tf.keras.Model, mode: str) -> list[np.ndarray]:
    """An array for each input, in the model's order, all of the same number of samples."""
    if given is None:
        raise ValueError(
            f"mode {mode!r} measures activation ranges: give representative images, for example "
            "dataset.representative(200, seed=0)."
        )
    if isinstance(given, tf.data.Dataset):
        batches = [b[0] if isinstance(b, tuple) else b for b in given.as_numpy_iterator()]
        if not batches:
            raise ValueError("representative is an empty tf.data.Dataset.")
        given = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)
    names = model.input_names
    if isinstance(given, dict):
        if missing := sorted(set(names) ^ set(given)):
            raise ValueError(
                f"representative has the inputs {sorted(given)}, expected {names} "
                f"({missing[0]!r} is in one of them only)."
            )
        parts = [given[name] for name in names]
    else:
        parts = list(given) if isinstance(given, (tuple, list)) and len(names) > 1 else [given]
    if len(parts) != len(names):
        raise ValueError(
            f"representative has {len(parts)} arrays, expected one for each of {', '.join(names)}."
        )
    parts = [
        _checked_input(np.asarray(part), tuple(x.shape[1:]), x.dtype.as_numpy_dtype, name)
        for part, x, name in zip(parts, model.inputs, names, strict=True)
    ]
    if len({len(part) for part in parts}) > 1:
        raise ValueError(
            f"representative has {[len(part) for part in parts]} samples, expected one number."
        )
    return parts


def _checked_input(images: np.ndarray, shape: tuple, dtype: type, name: str) -> np.ndarray:
    fits = images.ndim == len(shape) + 1 and all(
        expected in (None, found) for expected, found in zip(shape, images.shape[1:], strict=True)
    )
    if not fits or len(images) == 0:
        raise ValueError(
            f"representative has shape {images.shape}, expected (N, {', '.join(map(str, shape))}) "
            f"with N > 0, for the input {name!r}."
        )
    if images.dtype != dtype:
        raise ValueError(
            f"representative is {images.dtype}, expected {np.dtype(dtype)}, prepared as in "
            f"training, for the input {name!r}."
        )
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        raise ValueError("representative holds NaN or infinite values.")
    return images


def _one_by_one(inputs: list[np.ndarray], model: tf.keras.Model):
    """Samples as the converter wants them: in the order of the traced function's inputs."""
    if len(inputs) == 1:
        return ([image[None]] for image in inputs[0])
    names = model.input_names
    return (
        {name: x[i : i + 1] for name, x in zip(names, inputs, strict=True)}
        for i in range(len(inputs[0]))
    )


def quietly(converter: tf.lite.TFLiteConverter) -> bytes:
    """Run a converter without its chatter; what it printed is shown if it fails."""
    with runtime.captured_stderr() as printed, warnings.catch_warnings():
        # It misses statistics of the inputs, which a model with fake quantisation brings along.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return converter.convert()
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11 and later
                error.add_note(printed())
            raise
