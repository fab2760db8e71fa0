"""Trained networks that are kept: trained once for each data set, recipe and seed, then loaded."""

from __future__ import annotations

import json
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

import labkit
from labkit.checkpoint import Checkpoint, CheckpointError
from labkit.datasets import Dataset
from labkit.training.data import Batches
from labkit.training.engine import fit
from labkit.training.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """A trained network with its provenance.

    Attributes:
        model: the trained network; conversion and fine-tuning work on copies of it.
        history: "loss" and the recipe's metrics an epoch, on augmented training samples.
        seconds: that the training took, on the machine that did it.
        loaded: whether it came from a file of an earlier run.
    """

    model: tf.keras.Model
    history: dict[str, list[float]]
    seconds: float
    seed: int
    loaded: bool

    def describe(self) -> str:
        """One line: parameters, seed, and whether it was trained now."""
        origin = "loaded, it was trained earlier" if self.loaded else "trained now"
        return (
            f"seed {self.seed}: {self.model.count_params():,} parameters, "
            f"{len(self.history['loss'])} epochs, {origin} in {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Network:
    """A network with the recipes it is trained by, as `Lab.trained` takes it.

    Attributes:
        build: makes it, untrained.
        RECIPES: by profile, for example from `recipes`.
        facts: what tells it from another network of the same name, as JSON takes it.
    """

    build: Callable[[], tf.keras.Model]
    RECIPES: dict[str, Recipe]
    facts: dict = field(default_factory=dict)


def recipes(quick: float, full: float, rate: float, **options) -> dict[str, Recipe]:
    """Recipes of the two profiles, which differ in their epochs alone."""
    return {
        name: Recipe(epochs, rate, name=name, **options)
        for name, epochs in (("quick", quick), ("full", full))
    }


def fitted(
    folder: str | Path,
    model: tf.keras.Model,
    data: Dataset,
    recipe: Recipe,
    seed: int,
    *,
    batches: Batches | None = None,
    validation=None,
    resume: bool = False,
    **network,
) -> Trained:
    """A network trained by a recipe: loaded from `folder`/baseline, or trained now and kept there.

    Args:
        model: untrained; gets the weights.
        data: what it is trained on, and named after.
        recipe: its name is part of the file's.
        seed: of order, augmentation and dropout.
        batches: of the data set, where its arrays are not fed as they are.
        validation: what each epoch is measured on besides, as `fit` takes it; nothing without.
        resume: keep every epoch too, so that a killed training goes on with the one in which it
            was; `fit` says what that means for its seeds.
        network: options of the network, as JSON takes them, that its name does not tell.
    """
    path = Path(folder) / "baseline" / f"{model.name}-{data.source}-{recipe.name}-seed{seed}.npz"
    whole = provenance(data, recipe, seed, **network)
    # A training by another recipe has another name.
    key = zlib.crc32(json.dumps(whole, sort_keys=True).encode())
    part = path.with_name(f"{path.stem}-{key:08x}.part.npz") if resume else None

    def train() -> dict[str, list[float]]:
        fed = data if batches is None else batches
        history = fit(model, fed, recipe, seed, checkpoint=part, validation=validation)
        if part is not None:
            part.unlink()
        return history

    return keep(path, model, train, whole, seed)


def keep(
    path: Path,
    model: tf.keras.Model,
    train: Callable[[], dict[str, list[float]]],
    provenance: dict,
    seed: int,
) -> Trained:
    """The trained network: loaded from `path`, or trained and kept there.

    A file that cannot be read, or that comes from other samples or another recipe, is replaced,
    with a warning.

    Args:
        path: `.npz` of weights and a note of what they were trained on.
        model: untrained; gets the weights.
        train: trains it in place, returns its history.
        provenance: all that decides which weights the training ends with, from `provenance`.
        seed: of the training.
    """
    kept = Checkpoint(path, provenance)
    try:
        weights, note = kept.read()
        if note:
            model.set_weights(weights)
            return Trained(model, note["history"], note["seconds"], seed, loaded=True)
    except (CheckpointError, LookupError, ValueError) as error:
        warnings.warn(f"{path.name} cannot be used ({error}); training again.", stacklevel=2)
    started = time.perf_counter()
    history = train()
    seconds = time.perf_counter() - started
    kept.write(model.get_weights(), {"history": history, "seconds": seconds})
    return Trained(model, history, seconds, seed, loaded=False)


def provenance(dataset: Dataset, recipe: Recipe, seed: int, **network) -> dict:
    """All that decides which weights a training ends with, machine and library versions aside.

    Args:
        network: options of the network, as JSON takes them.
    """
    checksum = zlib.crc32(np.ascontiguousarray(dataset.x_train))
    return {
        "labkit": labkit.__version__,
        "data": dataset.source,
        "samples": len(dataset.x_train),
        "checksum": zlib.crc32(np.ascontiguousarray(dataset.y_train), checksum),
        "seed": seed,
        **recipe.facts(),
        **network,
    }
