"""Where a training gets its samples from: arrays, a `tf.data.Dataset`, or a source of batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from labkit.datasets import Dataset
from labkit.datasets.image_folder import ImageFolder, Preprocessing
from labkit.errors import LabkitError
from labkit.training.recipe import Recipe


class TrainingError(LabkitError):
    """Data, network and recipe that do not go together."""


@runtime_checkable
class Batches(Protocol):
    """Batches of one size, drawn as a seed says.

    Attributes:
        steps: batches of an epoch.
    """

    steps: int

    def training(self, seed: int) -> Iterable[tuple]:
        """Batches (images, classes) of training images, without an end; the same for a seed."""

    def validation(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches (images, classes) that cover the validation images once."""


@dataclass(frozen=True)
class ArrayBatches:
    """Images that lie in memory.

    Args:
        x_train, x_val: float32 (N, height, width, channels), as the network takes them.
        y_train, y_val: integer (N,).
        batch: images at a time.
        augment: mirror at random, and shift by up to an eighth of the width.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    batch: int = 128
    augment: bool = True

    @property
    def steps(self) -> int:
        """Batches of an epoch; what does not fill one is left out."""
        return max(1, len(self.x_train) // self.batch)

    def training(self, seed: int) -> Iterator[tuple]:
        """Batches without an end, in another order in every epoch."""
        return _augmented(self._batches(seed), seed) if self.augment else self._batches(seed)

    def _batches(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        random, waiting = np.random.default_rng(seed), np.empty(0, np.int64)
        while True:
            while len(waiting) < self.batch:
                waiting = np.concatenate([waiting, random.permutation(len(self.x_train))])
            part, waiting = waiting[: self.batch], waiting[self.batch :]
            yield self.x_train[part], self.y_train[part]

    def validation(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of the validation images."""
        for start in range(0, len(self.x_val), self.batch):
            part = slice(start, start + self.batch)
            yield self.x_val[part], self.y_val[part]


@dataclass(frozen=True)
class FolderBatches:
    """Images of a tree, decoded in batches beside the training.

    Args:
        tree: with the parts "train" and "val".
        preprocessing: of every image.
        batch: images at a time.
        augment: mirror at random, and shift by up to an eighth of the width.
        threads: that decode.
    """

    tree: ImageFolder
    preprocessing: Preprocessing
    batch: int = 64
    augment: bool = True
    threads: int = 2

    @property
    def steps(self) -> int:
        """Batches of an epoch; what does not fill one is left out."""
        return max(1, len(self.tree.members["train"]) // self.batch)

    def training(self, seed: int) -> Iterator[tuple]:
        """Batches without an end, in another order in every epoch."""
        batches = self.tree.batches(
            "train",
            self.preprocessing,
            self.batch,
            shuffle=seed,
            forever=True,
            threads=self.threads,
        )
        return _augmented(batches, seed) if self.augment else batches

    def validation(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of the validation images."""
        return self.tree.batches("val", self.preprocessing, self.batch, threads=self.threads)


def _augmented(batches: Iterable[tuple], seed: int) -> Iterator[tuple]:
    """Batches with every image mirrored and shifted at random, the same for a seed."""
    for number, (images, classes) in enumerate(batches):
        yield _moved(tf.convert_to_tensor(images), tf.constant([seed, number], tf.int64)), classes


def mirrored_and_shifted(images: tf.Tensor) -> tf.Tensor:
    """Mirror a batch of images at random, and shift them by up to an eighth of their size.

    Args:
        images: float32 (N, height, width, channels).

    Example:
        >>> recipe = Recipe(epochs=30, augment=mirrored_and_shifted)
    """
    seed = tf.random.uniform([2], 0, 2**31 - 1, tf.int64)
    return tf.ensure_shape(_moved(images, seed), images.shape)


@tf.function(reduce_retracing=True)
def _moved(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrored at random, and shifted, each image by its own; what is missing is reflected."""
    count, height, width = tf.unstack(tf.shape(images)[:3])
    seeds = tf.random.split(seed, 3)
    mirror = tf.random.stateless_uniform([count, 1, 1, 1], seeds[0]) < 0.5
    images = tf.where(mirror, images[:, :, ::-1], images)
    high, wide = height // 8, width // 8
    padded = tf.pad(images, [[0, 0], [high, high], [wide, wide], [0, 0]], "REFLECT")
    top = tf.random.stateless_uniform([count, 1], seeds[1], 0, 2 * high + 1, tf.int32)
    left = tf.random.stateless_uniform([count, 1], seeds[2], 0, 2 * wide + 1, tf.int32)
    images = tf.gather(padded, top + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(images, left + tf.range(width), axis=2, batch_dims=1)


class Feed:
    """What a training is fed with, whatever it came from.

    Args:
        data: a `Dataset` (its training part), arrays (inputs, targets) in any structure that Keras
            takes, a batched `tf.data.Dataset` of (inputs, targets) or (inputs, targets, sample
            weights), or a `Batches`.
        recipe: batch, augmentation, and the steps of an epoch where the data do not know them.

    Attributes:
        steps: of an epoch.

    Raises:
        TrainingError: none of these, parts of different lengths, nothing in it, or a
            `tf.data.Dataset` of unknown length.
    """

    def __init__(self, data, recipe: Recipe):
        if isinstance(data, Dataset):
            data = (data.x_train, data.y_train)
        self._data, self._augment = data, recipe.augment
        if isinstance(data, tf.data.Dataset):
            self.steps = recipe.steps or _length(data)
        elif isinstance(data, Batches):
            self.steps = data.steps
        else:
            self.count = _count(data)
            self._batch = min(recipe.batch, self.count)
            self.steps = self.count // self._batch
        if self._augment is not None and not hasattr(self, "count"):
            raise TrainingError(
                "the recipe's augment changes arrays alone: map it over the tf.data.Dataset "
                "yourself, or give the source its own."
            )

    def batches(self, seed: int) -> tuple[tf.data.Dataset, int | None]:
        """Batches of a training, the same for a seed; and how many make an epoch.

        The number is None where the data come to an end by themselves after each epoch.
        """
        if isinstance(self._data, tf.data.Dataset):
            endless = tf.data.experimental.cardinality(self._data).numpy() < 0
            return self._data, self.steps if endless else None
        if isinstance(self._data, Batches):
            return _stream(self._data.training(seed)), self.steps
        samples = tf.data.Dataset.from_tensor_slices(self._data)
        samples = samples.shuffle(self.count, seed=seed).batch(self._batch, drop_remainder=True)
        if self._augment is not None:
            augment = self._augment
            # One call at a time and in order: the random numbers of a seed do not depend on timing.
            samples = samples.map(
                lambda x, *rest: (augment(x), *rest), num_parallel_calls=1, deterministic=True
            )
        return samples.prefetch(2), None


def steps(data, recipe: Recipe) -> int:
    """Steps of a whole training, for schedules that count in steps; arguments as `fit` has them."""
    return recipe.total(Feed(data, recipe).steps)


def _stream(batches: Iterable[tuple]) -> tf.data.Dataset:
    """Batches of an iterator, with their shapes but for the number of samples."""
    batches = iter(batches)
    first = next(batches)
    signature = tf.nest.map_structure(
        lambda part: tf.TensorSpec([None, *np.shape(part)[1:]], tf.as_dtype(part.dtype)), first
    )
    whole = itertools.chain([first], batches)
    return tf.data.Dataset.from_generator(lambda: whole, output_signature=signature).prefetch(2)


def _count(data) -> int:
    """Samples of arrays (inputs, targets), all of the same number."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TrainingError(
            f"data is a {type(data).__name__}, expected (inputs, targets), a labkit Dataset, a "
            "batched tf.data.Dataset or a source of batches."
        )
    lengths = {len(part) for part in tf.nest.flatten(tuple(data))}
    if len(lengths) != 1 or lengths == {0}:
        raise TrainingError(
            f"inputs and targets have {sorted(lengths)} samples, expected one number above 0."
        )
    return lengths.pop()


def _length(data: tf.data.Dataset) -> int:
    if not isinstance(data.element_spec, tuple) or len(data.element_spec) not in (2, 3):
        raise TrainingError(
            "the tf.data.Dataset gives no pairs (inputs, targets): labkit trains with targets; for "
            "an autoencoder map it with lambda x: (x, x)."
        )
    length = int(tf.data.experimental.cardinality(data).numpy())
    if length < 0:
        raise TrainingError(
            "the tf.data.Dataset does not know its length: say how many batches are an epoch, "
            "Recipe(..., steps=N), or data.apply(tf.data.experimental.assert_cardinality(N))."
        )
    if length == 0:
        raise TrainingError("the tf.data.Dataset is empty.")
    return length
