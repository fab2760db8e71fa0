"""What the options describe: a tree of images, a network that fits it, and its preprocessing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from labkit import files, runtime, training
from labkit.datasets import image_folder
from labkit.datasets.image_folder import ImageFolder, Preprocessing
from labkit.models import graph, networks, weights
from labkit.net import NetError, labels
from labkit.net.options import Given

_SETTINGS = "settings.json"
# Of red, green and blue in grey, as Pillow mixes them (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Task:
    """Images and a network.

    Attributes:
        tree: the images, their classes numbered as the network's outputs.
        network: the kind of network.
        preprocessing: of every image.
        class_names: of the outputs.
        architecture: options of the network's builder.
        weights: the file, or none.
        batch: images at a time.
    """

    tree: ImageFolder
    network: networks.Network
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    architecture: Mapping[str, object] = field(default_factory=dict)
    weights: Path | None = None
    batch: int = 64

    def untrained(self, seed: int = 0, batch_norm: bool = False) -> tf.keras.Model:
        """The network with random weights.

        Raises:
            NetError: an option that the network does not have, or images too small for it.
        """
        options = self.architecture | ({"batch_norm": True} if batch_norm else {})
        if options and self.network.name != "squeezenet":
            raise NetError(
                f"{self.network.name} has no {', '.join(options)}: squeezenet alone has."
            )
        runtime.set_seed(seed)
        try:
            return self.network.build(self.preprocessing.shape, len(self.class_names), **options)
        except ValueError as error:  # pooled away
            raise NetError(
                f"{self.network.name} cannot be built for {self.preprocessing.size} pixels: "
                "give a larger --size."
            ) from error

    @cached_property
    def model(self) -> tf.keras.Model:
        """The network with the weights of the file.

        Raises:
            NetworkError: they do not fit.
        """
        return weights.load(self.untrained(), self.weights)

    def source(self, augment: bool = True) -> training.FolderBatches:
        """The images in batches, for training (if there are such) and validation."""
        members = {"train": ()} | self.tree.members
        classes = {"train": np.empty(0, np.int64)} | self.tree.classes
        tree = dataclasses.replace(self.tree, members=members, classes=classes)
        return training.FolderBatches(tree, self.preprocessing, self.batch, augment)

    def only(self, part: str, count: int | None) -> Task:
        """The task with that many images of a part, evenly spread over the tree; None for all.

        Raises:
            NetError: there are not so many.
        """
        if count is None:
            return self
        there = len(self.tree.members[part])
        if count > there:
            raise NetError(f"{count:,} images asked for, {self.tree.path} has {there:,} of {part}.")
        chosen = np.arange(count) * there // count
        members = tuple(self.tree.members[part][i] for i in chosen)
        tree = dataclasses.replace(
            self.tree,
            members=self.tree.members | {part: members},
            classes=self.tree.classes | {part: self.tree.classes[part][chosen]},
        )
        return dataclasses.replace(self, tree=tree)

    def sample(self, count: int, part: str = "val") -> tuple[np.ndarray, np.ndarray]:
        """That many images (N, height, width, channels), or all if there are fewer; classes."""
        count = min(count, len(self.tree.members[part]))
        return self.only(part, count).tree.load(part, self.preprocessing)

    def describe(self, weights: Path) -> Path:
        """Write beside a file of weights what it takes to use them."""
        description = {
            "network": self.network.name,
            **dataclasses.asdict(self.preprocessing),
            "architecture": self.architecture,
            "classes": self.class_names,
        }
        return _write_json(weights.with_suffix(".json"), description)

    def facts(self) -> dict:
        """All of the task that decides how a run over it ends."""
        facts = {
            "network": self.network.name,
            **dataclasses.asdict(self.preprocessing),
            "architecture": self.architecture,
            "classes": self.class_names,
            "batch": self.batch,
            "images": {part: _digest(map(os.fsencode, ms)) for part, ms in self._members()},
        }
        if self.weights is not None:
            facts["weights"] = _digest([self.weights.read_bytes()])
        return facts

    def _members(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        return self.tree.members.items()


def open_task(
    given: Given,
    parts: tuple[str, ...] = ("train", "val"),
    *,
    trained: bool = True,
    new_head: bool = False,
) -> Task:
    """Find the images and what is known of the weights; nothing is decoded or computed yet.

    Args:
        given: the options.
        parts: of the tree that must be there.
        trained: whether weights are needed.
        new_head: the outputs are the tree's classes, whatever the weights were trained for.

    Raises:
        DataError: of the tree.
        NetError: weights are missing, an option is wrong, or classes and outputs do not match.
        NetworkError, CaffeError: of the file of weights.
    """
    if trained and given.weights is None:
        raise NetError("give --weights: what is asked for makes no sense with random ones.")
    tree = image_folder.open_tree(given.data, parts)
    known = {} if given.weights is None else _description(given.weights)
    default = known.get("network", "squeezenet")
    network = networks.network(default if given.network is None else given.network.value)
    names = tuple(known.get("classes", ()))
    task = Task(
        tree,
        network,
        _preprocessing(given, known, network),
        tree.class_names,
        known.get("architecture", {}) | given.architecture,
        given.weights,
        given.batch,
    )
    if given.weights is None or new_head:
        return task
    count = len(names) or outputs(task)
    return dataclasses.replace(
        task,
        tree=labels.fitted(tree, count, names),
        class_names=names or labels.names(tree, count),
    )


def outputs(task: Task) -> int:
    """How many classes a task's weights were trained for.

    Raises:
        NetError: the weights belong to another network.
    """
    arrays = weights.read(task.weights)
    last = list(graph.levels(task.untrained()).values())[-1][-1]
    if f"{last}/kernel" not in arrays:
        raise NetError(
            f"{task.weights} holds no {last}/kernel: it belongs to another network than "
            f"{task.network.name}."
        )
    return arrays[f"{last}/kernel"].shape[-1]


def _description(weights: Path) -> dict:
    path = weights.with_suffix(".json")
    if not path.exists():
        return {}
    description = read_json(path)
    if "network" not in description:
        raise NetError(f"{path} does not describe the weights beside it: expected a network.")
    return description


def _preprocessing(given: Given, known: dict, network: networks.Network) -> Preprocessing:
    usual = dataclasses.asdict(network.preprocessing)
    usual |= {name: known[name] for name in usual if name in known}
    order = usual["channel_order"] if given.channels is None else given.channels.value
    mean = _moved(tuple(usual["mean_pixel"]), usual["channel_order"], order)
    try:
        return Preprocessing(
            usual["size"] if given.size is None else given.size,
            order,
            mean if given.mean is None else _mean(given.mean),
            usual["scale"] if given.scale is None else given.scale,
        )
    except ValueError as error:
        raise NetError(str(error)) from error


def _moved(mean: tuple[float, ...], before: str, after: str) -> tuple[float, ...]:
    """A mean pixel in another order of the channels."""
    if before == after or not mean:
        return mean
    if before == "grey":
        return mean * 3
    if after != "grey":
        return mean[::-1]
    rgb = mean if before == "rgb" else mean[::-1]
    return (sum(part * value for part, value in zip(_LUMA, rgb, strict=True)),)


def _mean(text: str) -> tuple[float, ...]:
    try:
        return () if text == "none" else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise NetError(
            f"--mean is {text!r}, expected numbers as in 104,117,123, or none."
        ) from error


def claim(folder: Path, settings: dict) -> None:
    """Make a folder the place of one run: another run does not go on from its checkpoints.

    Raises:
        NetError: the folder holds a run with other settings; names them.
    """
    path = folder / _SETTINGS
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        _write_json(path, settings)
        return
    before = read_json(path)
    other = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
    if other:
        raise NetError(
            f"{folder} holds another run, which differs in {', '.join(other)}: name another --out, "
            "or delete it."
        )


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises:
        NetError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NetError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise NetError(f"{path} holds no JSON object.")
    return content


def _write_json(path: Path, content: dict) -> Path:
    return files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part + b"\0")
    return digest.hexdigest()[:16]
