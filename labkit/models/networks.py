"""The networks by name, and what all of them can do: levels, weights from files, taps, folding.

A network's convolutions and dense layers form levels, in the order of execution: those whose names
begin alike ("fire2/squeeze1x1", "fire2/expand1x1", ...) are one level. Level k of a quantisation
means that the first k levels are quantised.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), sections 3.3
(GenericNet) and 4.5.4 (levels, extraction).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from labkit import files
from labkit.datasets.image_folder import Preprocessing
from labkit.errors import LabkitError
from labkit.models import caffe, classic, squeezenet


class NetworkError(LabkitError):
    """A network, level or file of weights that does not exist or does not fit."""


@dataclass(frozen=True)
class Network:
    """A kind of network.

    Attributes:
        name: as the command line says it.
        build: of (input_shape, classes), the untrained Keras model.
        preprocessing: what its images go through, at its usual size.
    """

    name: str
    build: Callable[..., tf.keras.Model]
    preprocessing: Preprocessing


NETWORKS = {
    network.name: network
    for network in (
        Network("squeezenet", squeezenet.build, squeezenet.PREPROCESSING),
        Network("basicnet", classic.basicnet, Preprocessing(32)),
        Network("lenet", classic.lenet, Preprocessing(28, "grey")),
    )
}


def network(name: str) -> Network:
    """The kind of network of that name.

    Raises:
        NetworkError: there is none; the message lists those there are.
    """
    if name not in NETWORKS:
        raise NetworkError(f"there is no network {name!r}; labkit knows {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def levels(model: tf.keras.Model) -> dict[str, tuple[str, ...]]:
    """The levels of a model: the names of their layers with kernels, in the order of execution.

    Example:
        >>> list(levels(squeezenet.build()))
        ['conv1', 'fire2', ..., 'fire9', 'conv10']
    """
    found: dict[str, tuple[str, ...]] = {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            level = layer.name.split("/")[0]
            found[level] = (*found.get(level, ()), layer.name)
    return found


def copy_of(
    model: tf.keras.Model,
    layer_of: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer] | None = None,
) -> tf.keras.Model:
    """A copy with the same weights; layer_of(layer), if given, makes the layer that stands for it.

    `tfmot` modifies what it wraps: wrap a copy.
    """
    copy = tf.keras.models.clone_model(model, clone_function=layer_of)
    copy.set_weights(model.get_weights())
    return copy


def convolution_output(
    model: tf.keras.Model, layer: str, images: np.ndarray, batch: int = 64
) -> np.ndarray:
    """What a layer computes before bias and activation: the sums that an engine has to hold.

    Args:
        model: any model, quantised or not.
        layer: name of a convolution or dense layer.
        images: float32 (N, ...), as the model takes them.

    Returns:
        float32 (N, height, width, filters), or (N, units).

    Raises:
        NetworkError: there is no such layer, or it has no kernel.
    """
    kernels = [name for names in levels(model).values() for name in names]
    if layer not in kernels:
        raise NetworkError(
            f"there is no layer {layer!r} with a kernel; there are {', '.join(kernels)}."
        )
    found = model.get_layer(layer)
    before = tf.keras.Model(model.inputs, found.input)
    kernel = found.kernel

    @tf.function
    def sums(x):
        x = before(x, training=False)
        return found.convolution_op(x, kernel) if kernel.shape.rank > 2 else tf.matmul(x, kernel)

    parts = [sums(images[i : i + batch]).numpy() for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def fold(model: tf.keras.Model) -> tf.keras.Model:
    """The same function without batch normalisation: folded into the kernels before it.

    w' = w · γ / √(σ² + ε) for each output channel, b' = β + (b - μ) · γ / √(σ² + ε).

    Args:
        model: functional or sequential; each normalisation follows a convolution or dense layer
            that nothing else reads.

    Raises:
        NetworkError: a normalisation follows something else.

    Source: Jacob et al., CVPR 2018, section 3.2.
    """
    folded = {}
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            before = layer.inbound_nodes[0].inbound_layers
            if not hasattr(before, "kernel") or len(before.outbound_nodes) != 1:
                raise NetworkError(
                    f"normalisation {layer.name!r} follows {getattr(before, 'name', before)!r}: it "
                    "can be folded into a convolution or dense layer alone, used by nothing else."
                )
            folded[before.name] = layer
    tensors = {}

    def translated(keras_tensors):
        return tf.nest.map_structure(lambda tensor: tensors[tensor.ref()], keras_tensors)

    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.InputLayer):
            copied = tf.keras.Input(layer.input.shape[1:], name=layer.name)
        elif isinstance(layer, tf.keras.layers.BatchNormalization):
            copied = translated(layer.input)
        else:
            extra = {"use_bias": True} if layer.name in folded else {}
            copied = type(layer).from_config(layer.get_config() | extra)(translated(layer.input))
        tensors[layer.output.ref()] = copied
    plain = tf.keras.Model(translated(model.inputs), translated(model.output), name=model.name)
    for layer in plain.layers:
        old = model.get_layer(layer.name)
        norm = folded.get(layer.name)
        layer.set_weights(_folded(old, norm) if norm else old.get_weights())
    return plain


def _folded(layer: tf.keras.layers.Layer, norm: tf.keras.layers.BatchNormalization) -> list:
    kernel, *bias = layer.get_weights()
    deviation = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    factor = (norm.gamma.numpy() if norm.scale else 1.0) / deviation
    shift = norm.beta.numpy() if norm.center else 0.0
    return [
        kernel * factor,
        shift + ((bias[0] if bias else 0.0) - norm.moving_mean.numpy()) * factor,
    ]


def save_weights(model: tf.keras.Model, path: str | Path) -> Path:
    """Write kernels and biases as NumPy arrays `<layer>/kernel`, `<layer>/bias` (HWIO), `.npz`."""
    arrays = {
        f"{layer.name}/{variable.name.rsplit('/', 1)[-1].split(':')[0]}": variable.numpy()
        for layer in model.layers
        for variable in layer.weights
    }
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return Path(path)


def load_weights(model: tf.keras.Model, path: str | Path) -> tf.keras.Model:
    """Set the weights of a model from a file, all of them.

    Args:
        path: `.npz` as `save_weights` writes it (of any float type), or `.caffemodel`, the form in
            which SqueezeNet's authors publish it.

    Returns:
        the model.

    Raises:
        NetworkError: the file is damaged, or belongs to another network; names the first layer
            that does not fit.
    """
    arrays = read_weights(path)
    values = []
    for layer in model.layers:
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name.rsplit('/', 1)[-1].split(':')[0]}"
            if key not in arrays:
                raise NetworkError(f"{path} holds no {key}: it belongs to another network.")
            if arrays[key].shape != tuple(variable.shape):
                raise NetworkError(
                    f"{path}: {key} has the shape {arrays[key].shape}, the network's has "
                    f"{tuple(variable.shape)}: another size, or another number of classes."
                )
            values.append((variable, arrays[key]))
    for variable, value in values:
        variable.assign(value.astype(np.float32))
    return model


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, as `load_weights` takes it.

    Raises:
        NetworkError: there is no such file, or it is damaged.
        CaffeError: likewise, of a `.caffemodel`.
    """
    path = Path(path)
    return caffe.read(path) if path.suffix == ".caffemodel" else _read_npz(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise NetworkError(f"{path}: there is no such file of weights.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise NetworkError(f"{path} is not a file of weights: {error}.") from error
