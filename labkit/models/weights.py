"""Files of weights: NumPy arrays by layer, or the form in which Caffe's networks are published."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from labkit import files
from labkit.models import caffe
from labkit.models.graph import NetworkError


def save(model: tf.keras.Model, path: str | Path) -> Path:
    """Write the weights as NumPy arrays `<layer>/kernel`, `<layer>/bias` (HWIO), `.npz`.

    A layer of an inner model is called "inner/layer".
    """
    arrays = {key: variable.numpy() for key, variable in _variables(model)}
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return Path(path)


def load(model: tf.keras.Model, path: str | Path) -> tf.keras.Model:
    """Set the weights of a model from a file, all of them.

    Args:
        path: `.npz` as `save` writes it (of any float type), or `.caffemodel`, the form in which
            SqueezeNet's authors publish it.

    Returns:
        the model.

    Raises:
        NetworkError: the file is damaged, or belongs to another network; names the first layer
            that does not fit.
    """
    arrays = read(path)
    values = []
    for key, variable in _variables(model):
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


def _variables(model: tf.keras.Model, prefix: str = "") -> Iterator[tuple[str, tf.Variable]]:
    """Each weight, by the name of its layer and its own."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _variables(layer, f"{prefix}{layer.name}/")
            continue
        for variable in layer.weights:
            # Layers of several parts, as attention, have weights "layer/query/kernel:0".
            *_, own = variable.name.split(":")[0].rpartition(f"{layer.name}/")
            yield f"{prefix}{layer.name}/{own}", variable


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, as `load` takes it.

    Raises:
        NetworkError: there is no such file, or it is damaged.
        CaffeError: likewise, of a `.caffemodel`.
    """
    path = Path(path)
    return caffe.read(path) if path.suffix == ".caffemodel" else _read_npz(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    foreign = NetworkError(
        f"{path} is not a file of weights that labkit reads: it is no .npz and no .caffemodel. "
        "Load it with the library that wrote it, and write it with labkit.models.weights.save."
    )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise NetworkError(f"{path}: there is no such file of weights.") from error
    except OSError as error:
        raise NetworkError(f"{path} cannot be read: {error.strerror or error}.") from error
    # TypeError, AttributeError: of a single array, which is no archive of them.
    except (
        *(ValueError, EOFError, TypeError, AttributeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise foreign from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise foreign
    return arrays
