"""Trained networks that are kept: trained once for each data set, recipe and seed, then loaded."""

from __future__ import annotations

import json
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

import labkit
from labkit import files
from labkit.datasets import Dataset


@dataclass(frozen=True)
class Trained:
    """A trained network with its provenance.

    Attributes:
        model: the trained network; conversion and fine-tuning work on copies of it.
        history: "loss" and "accuracy" an epoch, on augmented training images.
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


def keep(
    path: Path,
    model: tf.keras.Model,
    train: Callable[[], dict[str, list[float]]],
    provenance: dict,
    seed: int,
) -> Trained:
    """The trained network: loaded from `path`, or trained and kept there.

    A file that cannot be read, or that comes from other images or another recipe, is replaced,
    with a warning.

    Args:
        path: `.npz` of weights and a note of what they were trained on.
        model: untrained; gets the weights.
        train: trains it in place, returns its history.
        provenance: all that decides which weights the training ends with, from `provenance`.
        seed: of the training.
    """
    kept = _read(path, model, provenance)
    if kept is not None:
        return Trained(model, kept["history"], kept["seconds"], seed, loaded=True)
    started = time.perf_counter()
    history = train()
    seconds = time.perf_counter() - started
    note = json.dumps({"provenance": provenance, "history": history, "seconds": seconds})
    with files.replacing(path) as temporary:
        np.savez(temporary, *model.get_weights(), note=np.array(note))
    return Trained(model, history, seconds, seed, loaded=False)


def provenance(dataset: Dataset, profile: str, seed: int, **recipe) -> dict:
    """All that decides which weights a training ends with, machine and library versions aside.

    Args:
        recipe: epochs, learning rate and the like, as JSON takes them.
    """
    checksum = zlib.crc32(np.ascontiguousarray(dataset.x_train))
    return {
        "labkit": labkit.__version__,
        "data": dataset.source,
        "images": len(dataset.x_train),
        "checksum": zlib.crc32(np.ascontiguousarray(dataset.y_train), checksum),
        "profile": profile,
        "seed": seed,
        **{name.replace("_", " "): value for name, value in recipe.items()},
    }


def _read(path: Path, model: tf.keras.Model, provenance: dict) -> dict | None:
    """Set the weights that `path` holds and return its note; None if they are not the ones."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            note = json.loads(str(stored["note"]))
            other = [key for key in provenance if note["provenance"].get(key) != provenance[key]]
            if other:
                raise ValueError(f"it was trained with other {', '.join(other)}")
            count = len(model.get_weights())
            model.set_weights([stored[f"arr_{i}"] for i in range(count)])
            return note
    except FileNotFoundError:
        return None
    except (OSError, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path.name} cannot be used ({error}); training again.", stacklevel=3)
        return None
