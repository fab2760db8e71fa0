"""Post-training quantisation: from a trained Keras model to the bytes of a TFLite file."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from labkit import runtime

MODES = ("float", "float16", "dynamic_range", "int8", "int16x8")
_CALIBRATED = ("int8", "int16x8")


def convert(model: tf.keras.Model, mode: str, representative: np.ndarray | None = None) -> bytes:
    """Convert a Keras model to a TFLite file; the model is not changed.

    Args:
        model: any functional or sequential Keras model with one input.
        mode: "float"; "float16" (weights float16, computed in float32); "dynamic_range" (int8
            weights, activations quantised at run time); "int8" (integers throughout, int8 input
            and output); "int16x8" (int16 activations, int8 weights, float input and output).
        representative: float32 (N, *input shape), inputs as in training, for "int8" and
            "int16x8": their activation ranges are measured on it.

    Returns:
        the content of a `.tflite` file.

    Raises:
        TypeError: not a Keras 2 model.
        ValueError: unknown mode, several inputs, or no usable representative images.

    Source: R. Krishnamoorthi, arXiv:1806.08342, section 3.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
    shape = _input_shape(model)
    converter = converter_of(model)
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode in _CALIBRATED:
        images = _checked(representative, shape, mode)
        converter.representative_dataset = lambda: ([image[None]] for image in images)
    if mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if mode == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    return quietly(converter)


def converter_of(model: tf.keras.Model) -> tf.lite.TFLiteConverter:
    """What `TFLiteConverter.from_keras_model` gives, several times as fast.

    That one saves every layer of the model by itself, with all that would be needed to train it
    again, before it converts; here one traced graph is saved. The files are the same but for one
    byte, the field of their metadata that tells where they come from.

    Args:
        model: Keras model with one input; any number of outputs.
    """
    names = model.output_names

    def outputs(images):
        return dict(zip(names, tf.nest.flatten(model(images, training=False)), strict=True))

    images = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype, model.input_names[0])
    saved = tf.Module()
    saved.variables_of_model = model.variables
    saved.call = tf.function(outputs, input_signature=[images])
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [saved.call.get_concrete_function()], saved
    )


def _input_shape(model: tf.keras.Model) -> tuple[int | None, ...]:
    """Shape of one input of a model, without the batch."""
    if not isinstance(model, tf.keras.Model):
        raise TypeError(
            f"model is a {type(model).__module__}.{type(model).__name__}, expected a Keras 2 "
            "model: build it with tf.keras, and import labkit before TensorFlow."
        )
    if len(model.inputs or ()) != 1:
        raise ValueError(
            f"model {model.name!r} has {len(model.inputs or ())} inputs, expected one. (A "
            "sequential model has none before it is told its input shape.)"
        )
    return tuple(model.inputs[0].shape[1:])


def _checked(images: np.ndarray | None, shape: tuple, mode: str) -> np.ndarray:
    if images is None:
        raise ValueError(
            f"mode {mode!r} measures activation ranges: give representative images, for example "
            "dataset.representative(200, seed=0)."
        )
    images = np.asarray(images)
    fits = images.ndim == len(shape) + 1 and all(
        expected in (None, found) for expected, found in zip(shape, images.shape[1:], strict=True)
    )
    if not fits or len(images) == 0:
        raise ValueError(
            f"representative has shape {images.shape}, expected (N, {', '.join(map(str, shape))}) "
            "with N > 0."
        )
    if images.dtype != np.float32:
        raise ValueError(
            f"representative is {images.dtype}, expected float32, prepared as in training."
        )
    if not np.isfinite(images).all():
        raise ValueError("representative holds NaN or infinite values.")
    return images


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
