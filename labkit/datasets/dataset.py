"""Samples with what is to be said of them, for training and for testing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from labkit.errors import LabkitError


class DataError(LabkitError):
    """Data that cannot be used; the message names file, row and what was expected."""


class Origin(str, Enum):
    """Where samples come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"


class Part(NamedTuple):
    """The samples of training, or those of testing.

    Attributes:
        x: (N, ...), as a `Dataset` has them; or uint8, shown to networks as x / 255.
        y: (N,) or (N, k), as a `Dataset` has them.
        groups: (N,), as a `Dataset` has them.
    """

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Dataset:
    """Training and test samples with their classes, or with coordinates to be estimated.

    Attributes:
        name: the registry's name, for example "sign_mnist".
        origin: real or synthetic.
        x_train, x_test: float32 (N, ...): images (N, height, width, channels) in [0, 1], time
            series (N, time, channels), or measurements (N, features).
        y_train, y_test: int64 (N,), index into `class_names`; or float (N, k), coordinates.
        class_names: one short name per class; None where coordinates are to be estimated.
        groups_train, groups_test: (N,) whose sample it is, for example the subject or the track.
        coordinates: one short name per coordinate, where there are no classes.
        unit: of the coordinates.
        in_order: whether each sample follows the one before it in time. What is cut out of such a
            part is one stretch of it: a sample drawn from between two others is known by them.

    Raises:
        DataError: these do not go together, or are not finite; or a group is in both parts.
    """

    name: str
    origin: Origin
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...] | None = None
    groups_train: np.ndarray | None = None
    groups_test: np.ndarray | None = None
    coordinates: tuple[str, ...] = ()
    unit: str = ""
    in_order: bool = False

    def __post_init__(self):
        """Check the arrays against one another."""
        for fault in self._faults():
            raise DataError(f"data set {self.name!r}: {fault}")
        object.__setattr__(self, "origin", Origin(self.origin))

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: Part | tuple,
        test: Part | tuple,
        *,
        class_names: tuple[str, ...] | None = None,
        coordinates: tuple[str, ...] = (),
        unit: str = "",
        in_order: bool = False,
        origin: Origin = Origin.REAL,
    ) -> Dataset:
        """A data set of anybody's arrays, (x, y) or (x, y, groups) a part.

        Args:
            train, test: x of any numbers, of which uint8 becomes [0, 1]; y (N,) integers are
                classes, (N,) or (N, k) floats coordinates.
            class_names: the classes' numbers without.
        """
        train, test = _part(*train), _part(*test)
        if class_names is None and train.y.dtype.kind == "i":
            class_names = tuple(map(str, range(max(train.y.max(), test.y.max()) + 1)))
        return cls(
            *(name, origin, train.x, train.y, test.x, test.y, class_names),
            *(train.groups, test.groups, coordinates, unit, in_order),
        )

    def _faults(self) -> Iterator[str]:
        """What is wrong, the first thing first: what comes after may take it for granted."""
        if self.origin not in list(Origin):
            yield f"origin is {self.origin!r}, expected real or synthetic."
        for part in ("train", "test"):
            x, y, groups = (getattr(self, f"{what}_{part}") for what in ("x", "y", "groups"))
            if not 0 < len(x) == len(y):
                yield f"x_{part} has {len(x):,} samples and y_{part} {len(y):,}, expected as many."
            if groups is not None and np.shape(groups) != (len(x),):
                yield f"groups_{part} is {np.shape(groups)}, expected ({len(x)},), one per sample."
            if self.is_classification and (y.dtype.kind not in "iu" or y.ndim != 1):
                yield f"y_{part} is {y.dtype} {y.shape}, expected classes, integers (N,)."
            if not self.is_classification and (y.dtype.kind != "f" or y.ndim != 2):
                yield f"y_{part} is {y.dtype} {y.shape}, expected coordinates, floats (N, k)."
            for what, values in (("x", x), ("y", y)):
                if not np.isfinite([values.min(), values.max()]).all():
                    yield f"{what}_{part} has values that are not finite numbers."
            if self.is_classification and not 0 <= y.min() <= y.max() < len(self.class_names):
                last = len(self.class_names) - 1
                yield f"y_{part} has classes {y.min()} to {y.max()}, expected 0 to {last}."
        for what in ("x", "y"):
            shapes = [getattr(self, f"{what}_{part}").shape[1:] for part in ("train", "test")]
            if shapes[0] != shapes[1]:
                yield f"{what} has samples of {shapes[0]} in train and {shapes[1]} in test."
        if self.coordinates and self.y_train.shape[1:] != (len(self.coordinates),):
            yield f"y_train is {self.y_train.shape}, expected {', '.join(self.coordinates)}."
        if (self.groups_train is None) != (self.groups_test is None):
            yield "one part has groups and the other has none."
        if self.groups_train is not None:
            common = np.intersect1d(self.groups_train, self.groups_test)
            if len(common):
                yield f"group {common[0]} is in train and in test: it would be known when tested."

    @property
    def source(self) -> str:
        """Its origin as the ledger and files' names have it, "real" or "synthetic"."""
        return self.origin.value

    @property
    def is_classification(self) -> bool:
        """Whether classes are to be found, not coordinates."""
        return self.class_names is not None

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
            if self.origin is Origin.REAL
            else f"synthetic {self.noun}, {'drawn' if self.noun == 'images' else 'made'} by labkit "
            "(results on them are not results on the real data)"
        )
        if self.is_classification:
            wanted = f"{len(self.class_names)} classes"
        else:
            names = self.coordinates or [f"{self.y_train.shape[1]} coordinates"]
            wanted = f"to estimate {', '.join(names)}" + (f" ({self.unit})" if self.unit else "")
        return (
            f"`{self.name}`, {kind}: {len(self.x_train):,} for training, {len(self.x_test):,} for "
            f"testing, {wanted}."
        )

    def subset(self, train: int, test: int, seed: int = 0) -> Dataset:
        """A smaller data set with the same proportions of classes, drawn with `seed`.

        Of samples in order of time, a stretch that begins where `seed` says.
        """
        chosen = _stretch if self.in_order else _drawn
        return self._of(
            ("train", chosen(self.y_train, train, seed)), ("test", chosen(self.y_test, test, seed))
        )

    def holdout(self, fraction: float, seed: int = 0) -> Dataset:
        """The training part alone, a part of it held out as the test part: to choose on.

        The last samples are held out where they are in order of time, whole groups where there are
        groups; else every class in its proportion.

        Args:
            fraction: of the groups, or of the samples, that is held out.
            seed: of the choice, where there is one.

        Raises:
            DataError: there are too few samples or groups for both.
        """
        if self.in_order:
            return self._last_held_out(fraction)
        # It takes a while to import, and most who load data never hold any out.
        from sklearn import model_selection

        kind = (
            model_selection.GroupShuffleSplit
            if self.groups_train is not None
            else model_selection.StratifiedShuffleSplit
            if self.is_classification
            else model_selection.ShuffleSplit
        )
        split = kind(1, test_size=fraction, random_state=seed)
        try:
            kept, held = next(split.split(self.y_train, self.y_train, self.groups_train))
        except ValueError as error:
            raise DataError(
                f"data set {self.name!r}: {fraction} of it cannot be held out: {error}"
            ) from error
        return self._of(("train", np.sort(kept)), ("train", np.sort(held)))

    def _last_held_out(self, fraction: float) -> Dataset:
        count = len(self.x_train)
        kept = count - round(fraction * count)
        if not 0 < kept < count:
            raise DataError(
                f"data set {self.name!r}: {fraction} of it cannot be held out: of {count:,} "
                f"samples, {kept:,} would stay."
            )
        return self._of(("train", np.arange(kept)), ("train", np.arange(kept, count)))

    def standardised(self) -> Dataset:
        """Each channel with mean 0 and standard deviation 1 over the training images."""
        axes = tuple(range(self.x_train.ndim - 1))
        mean = self.x_train.mean(axes, dtype=np.float64).astype(np.float32)
        deviation = self.x_train.std(axes, dtype=np.float64).astype(np.float32)
        deviation[deviation == 0] = 1  # a channel that is always the same
        return replace(
            self,
            x_train=(self.x_train - mean) / deviation,
            x_test=(self.x_test - mean) / deviation,
        )

    def corrupted(self, noise: float, contrast: float = 1.0, seed: int = 0) -> Dataset:
        """The same data set with a harder test part; the training part stays as it is.

        Each test image loses contrast and gets noise, x' = clip(1/2 + c (x - 1/2) + n, 0, 1), with
        n normal and independent from pixel to pixel. For networks that read the test images as they
        are without a mistake: what they lose when they are made smaller shows here.

        Args:
            noise: standard deviation of n.
            contrast: c.
            seed: of the noise.

        Raises:
            DataError: these are no images in [0, 1].
        """
        if self.x_test.ndim != 4 or self.x_test.min() < 0 or self.x_test.max() > 1:
            raise DataError(f"data set {self.name!r}: only images in [0, 1] can be corrupted.")
        n = np.random.default_rng(seed).normal(0, noise, self.x_test.shape).astype(np.float32)
        harder = np.clip(0.5 + np.float32(contrast) * (self.x_test - 0.5) + n, 0, 1)
        return replace(
            self, name=f"{self.name}, noise {noise:g}, contrast {contrast:g}", x_test=harder
        )

    def of_test(self, count: int, seed: int | list[int] = 0) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` test samples and their classes, the classes in their proportions."""
        chosen = stratified(self.y_test, min(count, len(self.y_test)), seed)
        return self.x_test[chosen], self.y_test[chosen]

    def representative(self, count: int, seed: int = 0) -> np.ndarray:
        """Training samples of all classes, float32 (count, ...), to calibrate activation ranges."""
        return self.x_train[_drawn(self.y_train, count, seed)]

    def _of(self, *chosen: tuple[str, np.ndarray]) -> Dataset:
        """A data set whose training and test part are these samples of the parts named."""
        arrays = {}
        for part, (of, indices) in zip(("train", "test"), chosen, strict=True):
            for what in ("x", "y", "groups"):
                values = getattr(self, f"{what}_{of}")
                arrays[f"{what}_{part}"] = None if values is None else values[indices]
        return replace(self, **arrays)


def _part(x, y, groups=None) -> Part:
    """Arrays of any numbers as a `Dataset` has them."""
    x, y = np.asarray(x), np.asarray(y)
    x = x / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)
    if y.dtype.kind in "iu":
        y = y.astype(np.int64, copy=False)
    elif y.dtype.kind == "f" and y.ndim == 1:
        y = y[:, None]
    return Part(x, y, None if groups is None else np.asarray(groups))


def _drawn(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` samples: of classes in their proportions, of coordinates any."""
    return stratified(np.zeros(len(targets)) if targets.ndim > 1 else targets, count, seed)


def _stretch(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` samples in a row, from one on that is drawn with `seed`."""
    if not 0 < count <= len(targets):
        raise ValueError(f"{count} items asked for, there are {len(targets)}.")
    first = np.random.default_rng(seed).integers(len(targets) - count + 1)
    return np.arange(first, first + count)


def stratified(classes: np.ndarray, count: int, seed: int | list[int]) -> np.ndarray:
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
