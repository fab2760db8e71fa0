"""Training of a network from a source of images: arrays in memory, or a tree on the disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from labkit import runtime
from labkit.datasets.image_folder import ImageFolder, Preprocessing
from labkit.models.checkpoint import Checkpoint

#: Stochastic gradient descent as in the thesis's GenericNet (code 3).
MOMENTUM = 0.9


class Source(Protocol):
    """Where a training gets its images from, in batches of one size.

    Attributes:
        steps: batches of an epoch.
    """

    steps: int

    def training(self, seed: int) -> Iterable[tuple]:
        """Batches (images, classes) of training images, without an end; the same for a seed."""

    def validation(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches (images, classes) that cover the validation images once."""


@dataclass(frozen=True)
class ArraySource:
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
class FolderSource:
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
            "train", self.preprocessing, self.batch, shuffle=seed, forever=True,
            threads=self.threads,
        )  # fmt: skip
        return _augmented(batches, seed) if self.augment else batches

    def validation(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of the validation images."""
        return self.tree.batches("val", self.preprocessing, self.batch, threads=self.threads)


def _augmented(batches: Iterable[tuple], seed: int) -> Iterator[tuple]:
    """Batches with every image mirrored and shifted at random, the same for a seed."""
    for number, (images, classes) in enumerate(batches):
        yield _moved(tf.convert_to_tensor(images), tf.constant([seed, number], tf.int64)), classes


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


def triangle(peak: float, done: float, warm_up: float) -> float:
    """The learning rate: up in a straight line to the peak, and down to zero.

    Args:
        done: part of the training that is behind, 0 to 1.
        warm_up: part of the training in which the rate rises.
    """
    rising = done / warm_up if warm_up else 1.0
    return peak * min(rising, (1 - done) / (1 - warm_up), 1.0)


class Trainer:
    """Trains one model as often as wanted: its graphs are traced once.

    By SGD with Nesterov's momentum, which every call of `fit` begins anew.

    Args:
        model: ends in class probabilities; trained in place.
    """

    def __init__(self, model: tf.keras.Model):
        self.model = model
        self.predict = predictor(model)
        self._variables = list(model.trainable_variables)
        self._optimizer = tf.keras.optimizers.SGD(0.0, momentum=MOMENTUM, nesterov=True)
        self._optimizer.build(self._variables)
        self._moves = tf.Variable(tf.ones(len(self._variables)), trainable=False)
        self._step = self._traced()

    def lock(self, layers: Collection[str]) -> bool:
        """Leave the layers of these names as they are from now on, and train all others.

        Returns:
            whether anything is left to train.
        """
        locked = {id(v) for name in layers for v in self.model.get_layer(name).trainable_variables}
        self._moves.assign([float(id(v) not in locked) for v in self._variables])
        return bool(np.any(self._moves.numpy()))

    def fit(
        self,
        source: Source,
        epochs: float,
        learning_rate: float,
        seed: int = 0,
        *,
        warm_up: float = 0.2,
        weight_decay: float = 0.0,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> list[dict[str, float]]:
        """Train; arguments, result and errors are those of `fit`."""
        optimizer = self._optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        steps = max(1, round(source.steps * epochs))
        variables = [*self.model.weights, *optimizer.variables]
        settings = {"steps": [source.steps, steps], "learning rate": learning_rate, "seed": seed,
                    "warm-up": warm_up, "weight decay": weight_decay}  # fmt: skip
        kept = Checkpoint(checkpoint, settings)
        values, history = kept.read()
        for variable, value in zip(variables, values, strict=bool(values)):
            variable.assign(value)
        done = min(len(history) * source.steps, steps)
        bar = tqdm(total=steps, initial=done, unit="batch", leave=False,
                   disable=not runtime.interactive())  # fmt: skip
        batches = None
        with bar:
            while done < steps:
                if batches is None or checkpoint:
                    batches = iter(source.training(_epoch_seed(seed, len(history))))
                    if self._draws:  # dropout draws by the seed that is in force when it is traced
                        runtime.set_seed(_epoch_seed(seed, len(history)))
                        self._step = self._traced()
                sums = np.zeros(3)
                for _ in range(min(source.steps, steps - done)):
                    images, classes = next(batches)
                    done += 1
                    rate = triangle(learning_rate, done / (steps + 1), warm_up)
                    loss, right = self._step(
                        tf.convert_to_tensor(images), tf.convert_to_tensor(classes),
                        tf.constant(rate, tf.float32), tf.constant(weight_decay, tf.float32),
                    )  # fmt: skip
                    sums += (float(loss), float(right), len(images))
                    bar.update()
                loss, accuracy = sums[:2] / sums[2]
                history.append({"loss": float(loss), "accuracy": float(accuracy)})
                if checkpoint:
                    kept.write([variable.numpy() for variable in variables], history)
                if on_epoch:
                    on_epoch(len(history), history[-1])
        return history

    def accuracy(self, source: Source, top: int = 1) -> float:
        """Share of validation images whose class is among the `top` most probable ones."""
        return _accuracy(self.predict, source, top)

    @property
    def _draws(self) -> bool:
        return any(getattr(layer, "rate", 0) for layer in self.model.layers)

    def _traced(self) -> Callable:
        """One step: (images, classes, learning rate, weight decay) to sum of losses, hits."""
        model, variables, optimizer = self.model, self._variables, self._optimizer
        kernels = [v for v in variables if "kernel" in v.name]

        @tf.function(reduce_retracing=True)
        def step(images, classes, rate, decay):
            with tf.GradientTape() as tape:
                probabilities = model(images, training=True)
                losses = tf.keras.losses.sparse_categorical_crossentropy(classes, probabilities)
                penalty = tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
                loss = tf.reduce_mean(losses) + decay * penalty
            gradients = tape.gradient(loss, variables)
            moves = tf.unstack(self._moves)
            gradients = [g * move for g, move in zip(gradients, moves, strict=True)]
            optimizer.learning_rate = rate
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            right = tf.argmax(probabilities, axis=1) == tf.cast(classes, tf.int64)
            return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32))

        return step


def fit(
    model: tf.keras.Model, source: Source, epochs: float, learning_rate: float, seed: int = 0,
    **options,
) -> list[dict[str, float]]:  # fmt: skip
    """Train in place by SGD with Nesterov's momentum.

    With a checkpoint, every epoch draws from a seed of its own, so that a training that was killed
    goes on with the epoch in which it was, and ends with the same weights as one that was not.

    Args:
        model: ends in class probabilities.
        source: of the images.
        epochs: passes over the training images; 0.5 is half a pass.
        learning_rate: at the peak; it rises to it and falls to zero in straight lines.
        seed: of order and augmentation.
        **options: "warm_up", part of the training in which the rate rises, 0.2 without;
            "weight_decay", L2 penalty on kernels: decay / 2 · Σ w²; "on_epoch", called after each
            epoch with its number and its "loss" and "accuracy"; "checkpoint", `.npz` that is
            written after each epoch, and taken up if it is there.

    Returns:
        "loss" and "accuracy" on the training images, a row an epoch.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to another training.
    """
    return Trainer(model).fit(source, epochs, learning_rate, seed, **options)


def _epoch_seed(seed: int, epoch: int) -> int:
    """The seed itself for the first epoch, and for each other one its own."""
    return seed if epoch == 0 else int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def ranks(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many classes come before the right one, (N,): 0 is a hit of top-1, below 5 of top-5.

    Of equals the class with the lower number comes first, as in `numpy.argmax`: outputs of few
    bits tie now and then, and those of a collapsed network all do.

    Args:
        probabilities: (N, classes), or whatever orders the classes.
        classes: integer (N,), the right ones.
    """
    classes = np.asarray(classes)[:, None]
    right = np.take_along_axis(probabilities, classes, axis=1)
    before = np.arange(probabilities.shape[1]) < classes
    return ((probabilities > right) | ((probabilities == right) & before)).sum(axis=1)


def predictor(model: tf.keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of images (B, ...), any number of them, to outputs (B, ...).

    A model of several outputs gives them in its own structure.
    """

    @tf.function(reduce_retracing=True)
    def outputs(images):
        return model(images, training=False)

    return lambda images: tf.nest.map_structure(
        lambda y: y.numpy(), outputs(tf.convert_to_tensor(images))
    )


def accuracy(model: tf.keras.Model, source: Source, top: int = 1) -> float:
    """Share of validation images whose class is among the `top` most probable ones."""
    return _accuracy(predictor(model), source, top)


def _accuracy(predict: Callable, source: Source, top: int) -> float:
    hits = [ranks(predict(images), classes) < top for images, classes in source.validation()]
    return float(np.concatenate(hits).mean())
