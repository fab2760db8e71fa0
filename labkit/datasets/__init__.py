"""Data sets, real where they lie on the disk and synthetic where they do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labkit.errors import LabkitError


class DataError(LabkitError):
    """Data that cannot be used; the message names file, row and what was expected."""


@dataclass(frozen=True)
class Dataset:
    """Training and test samples with their classes, or with measurements to be estimated.

    Attributes:
        name: the registry's name, for example "sign_mnist".
        source: "real" or "synthetic".
        x_train, x_test: float32 (N, ...), of images (N, height, width, channels) in [0, 1].
        y_train, y_test: int64 (N,), index into `class_names`; or float (N, k), measurements.
        class_names: one short name a class, or a measurement.
    """

    name: str
    source: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    @property
    def noun(self) -> str:
        """What its samples are called: images, or samples of anything else."""
        return "images" if self.x_train.ndim == 4 else "samples"

    @property
    def label(self) -> str:
        """As the ledger names it: the source alone stands for the course's main data set."""
        return self.source if self.name == "sign_mnist" else f"{self.name}, {self.source}"

    def describe(self) -> str:
        """One sentence that says which data this is; a notebook's first output."""
        kind = (
            f"real {self.noun}"
            if self.source == "real"
            else f"synthetic {self.noun}, {'drawn' if self.noun == 'images' else 'made'} by labkit "
            "(results on them are not results on the real data)"
        )
        classes = f"{len(self.class_names)} classes"
        if self.y_train.dtype.kind == "f":
            classes = f"to estimate {', '.join(self.class_names)}"
        return (
            f"`{self.name}`, {kind}: {len(self.x_train):,} for training, {len(self.x_test):,} for "
            f"testing, {classes}."
        )

    def subset(self, train: int, test: int, seed: int = 0) -> Dataset:
        """A smaller data set with the same proportions of classes, drawn with `seed`."""
        a = _drawn(self.y_train, train, seed)
        b = _drawn(self.y_test, test, seed)
        return replace(
            self,
            x_train=self.x_train[a],
            y_train=self.y_train[a],
            x_test=self.x_test[b],
            y_test=self.y_test[b],
        )

    def standardised(self) -> Dataset:
        """Each channel with mean 0 and standard deviation 1 over the training images."""
        axes = tuple(range(self.x_train.ndim - 1))
        mean = self.x_train.mean(axes, dtype=np.float64).astype(np.float32)
        deviation = self.x_train.std(axes, dtype=np.float64).astype(np.float32)
        return replace(
            self,
            x_train=(self.x_train - mean) / deviation,
            x_test=(self.x_test - mean) / deviation,
        )

    def representative(self, count: int, seed: int = 0) -> np.ndarray:
        """Training samples of all classes, float32 (count, ...), to calibrate activation ranges."""
        return self.x_train[_drawn(self.y_train, count, seed)]


def _drawn(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` samples: of classes in their proportions, of measurements any."""
    if targets.dtype.kind != "f":
        return stratified(targets, count, seed)
    if not 0 < count <= len(targets):
        raise ValueError(f"{count} items asked for, there are {len(targets)}.")
    return np.random.default_rng(seed).permutation(len(targets))[:count]


def stratified(classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` items in random order, the classes in their proportions.

    Raises:
        ValueError: more items asked for than there are.
    """
    if not 0 < count <= len(classes):
        raise ValueError(f"{count} items asked for, there are {len(classes)}.")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(classes))
    # Spread each class evenly over [0, 1): the first `count` then hold every class in proportion.
    position = np.empty(len(classes))
    for k in np.unique(classes):
        members = order[classes[order] == k]
        position[members] = (np.arange(len(members)) + rng.uniform()) / len(members)
    chosen = np.argsort(position, kind="stable")[:count]
    return rng.permutation(chosen)
