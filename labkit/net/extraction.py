"""Dumps what every layer of a network gives for some images, to HDF5 or NumPy.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), sections 3.2.5
and 4.5.4, whose extraction takes the sums before bias and activation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from labkit import files, training
from labkit.models import graph
from labkit.net import NetError
from labkit.net.task import Task

#: Where a layer's output is taken: after its activation, before it, or before the bias as well.
STAGES = ("after", "before", "sums")
SUFFIXES = (".h5", ".hdf5", ".npz")

_PLAIN = {"before": {"activation": "linear"}, "sums": {"activation": "linear", "use_bias": False}}


def extract(
    task: Task,
    model: tf.keras.Model,
    path: Path,
    *,
    layers: Sequence[str] = (),
    level: str | None = None,
    stage: str = "after",
    kernels: bool = True,
    note: dict | None = None,
) -> dict[str, tuple[int, ...]]:
    """Write layers' outputs for all validation images of a task, whole or not at all.

    The file holds `images` (as the network takes them), `classes`, `files` (names of the images),
    `outputs/<layer>`, and `weights/<layer>/kernel` and `bias`; of a quantised convolution its
    kernel in the numbers that it computes with.

    Args:
        task: images and batch.
        model: the network, quantised or not.
        path: `.h5`, `.hdf5` (written batch by batch) or `.npz` (from memory).
        layers: those to take; all without.
        level: all layers up to the last of this level, in place of `layers`.
        stage: one of `STAGES`; all but "after" is for layers with kernels alone.
        kernels: write weights as well.
        note: what else is to be known of the file, as JSON in the attribute or array `note`.

    Returns:
        shape of each array by its name.

    Raises:
        NetError: a layer, level or suffix that does not exist.
    """
    if path.suffix not in SUFFIXES:
        raise NetError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}.")
    names = chosen(model, layers, level, stage)
    taps = tf.keras.Model(model.inputs, [_tap(model.get_layer(name), stage) for name in names])
    predict = training.predictor(taps)
    fixed = _weights(model, names) if kernels else {}
    fixed |= {"classes": task.tree.classes["val"], "note": np.array(json.dumps(note or {}))}
    fixed["files"] = np.array(task.tree.members["val"])
    with files.replacing(path) as temporary, _store(temporary) as arrays:
        for name, array in fixed.items():
            arrays.put(name, array)
        done, total = 0, len(task.tree.members["val"])
        for images, _ in task.source().validation():
            found = {"images": images}
            outputs = tf.nest.flatten(predict(images))
            found |= {f"outputs/{n}": y for n, y in zip(names, outputs, strict=True)}
            for name, values in found.items():
                arrays.rows(name, done, total, values)
            done += len(images)
        return arrays.shapes


def chosen(model: tf.keras.Model, layers: Sequence[str], level: str | None, stage: str) -> list:
    """Names of the layers that are meant, in the order of the network.

    Raises:
        NetError: a layer or level that the network does not have at this stage.
    """
    levels = graph.levels(model)
    kernels = {name for level_layers in levels.values() for name in level_layers}
    names = [
        layer.name
        for layer in model.layers
        if not isinstance(layer, tf.keras.layers.InputLayer)
        and (stage == "after" or layer.name in kernels)
    ]
    if layers and level:
        raise NetError("give --layer or --level, not both.")
    if level:
        if level not in levels:
            raise NetError(f"there is no level {level!r}; the network has {', '.join(levels)}.")
        last = max(i for i, name in enumerate(names) if name.split("/")[0] == level)
        return names[: last + 1]
    if unknown := [name for name in layers if name not in names]:
        raise NetError(f"there is no layer {unknown[0]!r} to take; there are {', '.join(names)}.")
    return [name for name in names if name in layers] if layers else names


def _tap(layer: tf.keras.layers.Layer, stage: str):
    """A layer's output at a stage, as a tensor of its model."""
    if stage == "after":
        return layer.output
    config = layer.get_config() | _PLAIN[stage] | {"name": f"{layer.name}/{stage}"}
    plain = type(layer).from_config(config)
    outputs = plain(layer.input)
    plain.set_weights(layer.get_weights()[: len(plain.weights)])
    return outputs


def _weights(model: tf.keras.Model, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Kernels and biases, by layer; quantised where the layer computes with quantised ones."""
    arrays = {}
    for layer in map(model.get_layer, names):
        if not hasattr(layer, "kernel"):
            continue
        kernel, *bias = layer.get_weights()
        if getattr(layer, "enabled", False):
            kernel = layer.kernel_format.quantize(kernel, layer.mode).astype(np.float32)
        arrays[f"weights/{layer.name}/kernel"] = kernel
        arrays |= {f"weights/{layer.name}/bias": values for values in bias}
    return arrays


class _Arrays:
    """Arrays by name that are filled row by row: NumPy's, or the data sets of an HDF5 file."""

    def __init__(self, create: Callable):
        self._create = create
        self.named: dict = {}

    def put(self, name: str, array: np.ndarray) -> None:
        self.named[name] = self._create(name, data=array)

    def rows(self, name: str, first: int, total: int, values: np.ndarray) -> None:
        if name not in self.named:
            shape = (total, *values.shape[1:])
            self.named[name] = self._create(name, shape=shape, dtype=values.dtype)
        self.named[name][first : first + len(values)] = values

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(array.shape) for name, array in self.named.items()}


@contextmanager
def _store(path: Path) -> Iterator[_Arrays]:
    """A file of arrays; it is complete when the body ends."""
    if path.suffix == ".npz":
        arrays = _Arrays(lambda name, data=None, **new: np.empty(**new) if data is None else data)
        yield arrays
        np.savez(path, **arrays.named)
        return
    import h5py

    def create(name, data=None, **new):
        if data is None or data.dtype.kind != "U":
            return file.create_dataset(name, data=data, **new)
        return file.create_dataset(name, data=data.astype(object), dtype=h5py.string_dtype())

    with h5py.File(path, "w") as file:
        yield _Arrays(create)
