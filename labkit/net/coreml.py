"""Core ML packages: a network that takes a picture and names its class, checked without macOS."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import tensorflow as tf

from labkit.net import NetError
from labkit.net.task import Task

#: Kernels may differ by this share: by half a step of float16's 11 bits.
HALF, SINGLE = 2.0**-11, 1e-6

_COLOURS = {"rgb": "RGB", "bgr": "BGR", "grey": "GRAYSCALE"}


def convert(tools: ModuleType, task: Task, model: tf.keras.Model, half: bool):
    """A network with its preprocessing and the names of its classes, as an ML program.

    Args:
        tools: the module coremltools.
        task: preprocessing and class names.
        model: the network.
        half: compute in float16; else in float32.

    Returns:
        coremltools's MLModel.
    """
    preprocessing = task.preprocessing
    bias = [-mean * preprocessing.scale for mean in preprocessing.mean_pixel]
    shape = (1, *preprocessing.shape)
    picture = tools.ImageType(
        name="images",
        shape=shape,
        scale=preprocessing.scale,
        bias=(bias if preprocessing.channels > 1 else bias[0]) if bias else None,
        color_layout=getattr(tools.colorlayout, _COLOURS[preprocessing.channel_order]),
    )
    function = tf.function(lambda images: model(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, "images"))
    return tools.convert(
        [concrete],
        source="tensorflow",
        convert_to="mlprogram",
        inputs=[picture],
        classifier_config=tools.ClassifierConfig(list(task.class_names)),
        compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32,
        skip_model_load=True,
    )


def checked(tools: ModuleType, task: Task, model: tf.keras.Model, package) -> str:
    """Compare input, classes, operations and every kernel of a package with the network's.

    Returns:
        one line that says what agrees.

    Raises:
        NetError: something does not.
    """
    preprocessing = task.preprocessing
    spec = package.get_spec()
    (picture,) = (entry.type.imageType for entry in spec.description.input)
    colours = type(picture).ColorSpace.Name(picture.colorSpace)
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    counts = Counter(operation.type for operation in operations)
    layers = Counter(type(layer).__name__.removeprefix("Quantized") for layer in model.layers)
    convolutions, dense = counts["conv"], counts["linear"] + counts["matmul"]
    for what, found, expected in (
        ("the picture", (picture.height, picture.width), preprocessing.shape[:2]),
        ("its colours", colours, _COLOURS[preprocessing.channel_order]),
        ("the classes", _class_names(operations), task.class_names),
        ("convolutions", convolutions, layers["Conv2D"]),
        ("dense layers", dense, layers["Dense"]),
    ):
        if found != expected:
            raise NetError(
                f"Core ML's package differs in {what}: {found}, expected {expected}; nothing was "
                "written."
            )
    found = tools.optimize.coreml.get_weights_metadata(package, weight_threshold=1)
    weights = _compared(model, [entry.val for entry in found.values()])
    return (
        f"Core ML, by structure (only macOS runs it): takes {picture.height}x{picture.width} "
        f"{colours}, names {len(task.class_names):,} classes; {convolutions} convolutions, {dense} "
        f"dense layers, {len(operations)} operations, all {weights:,} weights of the kernels"
    )


def _class_names(operations) -> tuple[str, ...]:
    """The names that a program's last operation gives to probabilities."""
    (classify,) = (operation for operation in operations if operation.type == "classify")
    names = classify.inputs["classes"].arguments[0].value.immediateValue.list.values
    return tuple(name.immediateValue.tensor.strings.values[0] for name in names)


def _compared(model: tf.keras.Model, arrays: Sequence[np.ndarray]) -> int:
    """How many weights the kernels of a network have, all of which must be among the arrays."""
    total = 0
    for layer in (layer for layer in model.layers if hasattr(layer, "kernel")):
        kernel = layer.get_weights()[0]
        # Core ML's order is out, in, height, width; of a dense layer either.
        forms = [kernel.transpose(3, 2, 0, 1)] if kernel.ndim == 4 else [kernel, kernel.T]
        if getattr(layer, "enabled", False):
            forms = [layer.kernel_format.quantize(form, layer.mode) for form in forms]
            # The division of the sums by their step, a power of two, is moved into the kernel.
            forms += [form / layer.output_format.step for form in forms]
        if not any(_equal(array, form) for array in arrays for form in forms):
            raise NetError(
                f"Core ML's package lacks the kernel of {layer.name}; nothing was written."
            )
        total += math.prod(kernel.shape)
    return total


def _equal(array: np.ndarray, kernel: np.ndarray) -> bool:
    if array.shape != kernel.shape:
        return False
    share = HALF if array.dtype == np.float16 else SINGLE
    # Of small weights float16 keeps fewer bits.
    return np.allclose(array, kernel, rtol=share, atol=share * np.abs(kernel).max())
