"""A recipe: everything that a training needs to know beside the network, the data and the seed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import tensorflow as tf


class Schedule(str, Enum):
    """How the learning rate moves over the steps of a training.

    COSINE falls to zero along a cosine, after a rise in a straight line if there is a warm-up.
    TRIANGLE rises in a straight line to the peak, and falls to zero in another. CONSTANT stays.
    STEPS falls to a tenth after each third of the training.
    """

    COSINE = "cosine"
    TRIANGLE = "triangle"
    CONSTANT = "constant"
    STEPS = "steps"


#: Stochastic gradient descent with Nesterov's momentum, as in the thesis's GenericNet (code 3).
momentum_sgd = functools.partial(tf.keras.optimizers.SGD, momentum=0.9, nesterov=True)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: passes over the training data; 0.5 is half a pass.
        learning_rate: at its peak.
        batch: samples per step; of a `tf.data.Dataset`, which is batched already, it says nothing.
        schedule: of the learning rate.
        warm_up: part of the training, 0 to 1, in which the rate rises.
        optimizer: makes one from a learning rate or a schedule of it.
        loss: as Keras's `compile` takes it: a name, a loss, or one for each output.
        metrics: as Keras's `compile` takes them.
        augment: changes a batch of inputs at random, in TensorFlow; of arrays alone.
        weight_decay: L2 penalty on kernels, decay / 2 · Σ w².
        steps: of an epoch, for a `tf.data.Dataset` that does not know its length.
        name: for the files of trained networks, for example "quick".

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> recipe = Recipe(epochs=12, learning_rate=4e-3, batch=64)
        >>> shorter = recipe.but(epochs=2)
    """

    epochs: float
    learning_rate: float = 1e-3
    batch: int = 128
    schedule: Schedule = Schedule.COSINE
    warm_up: float = 0.0
    optimizer: Callable[..., tf.keras.optimizers.Optimizer] = tf.keras.optimizers.Adam
    loss: object = "sparse_categorical_crossentropy"
    metrics: object = ("accuracy",)
    augment: Callable[[tf.Tensor], tf.Tensor] | None = None
    weight_decay: float = 0.0
    steps: int | None = None
    name: str = ""

    def __post_init__(self):
        """Check the numbers."""
        object.__setattr__(self, "schedule", Schedule(self.schedule))
        for name, low in (("epochs", 0), ("learning_rate", 0), ("batch", 0)):
            if not getattr(self, name) > low:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than {low}.")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}, expected 0 or more.")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up is {self.warm_up}, expected a part from 0 to below 1.")

    def but(self, **changes) -> Recipe:
        """The same recipe with other values."""
        return replace(self, **changes)

    def total(self, steps: int) -> int:
        """Steps of the whole training, of an epoch's steps."""
        return max(1, round(steps * self.epochs))

    def facts(self) -> dict:
        """What decides how a training ends, as JSON takes it."""
        named = {"optimizer": self.optimizer, "loss": self.loss, "augment": self.augment}
        return {
            "epochs": self.epochs,
            "learning rate": self.learning_rate,
            "batch": self.batch,
            "schedule": self.schedule.value,
            "warm-up": self.warm_up,
            "weight decay": self.weight_decay,
            **{name: _named(value) for name, value in named.items()},
        }

    def rate(self, total: int) -> tf.keras.optimizers.schedules.LearningRateSchedule | None:
        """Keras's schedule over so many steps; None where `rates` has them."""
        if self.schedule is not Schedule.COSINE:
            return None
        if not self.warm_up:
            return tf.keras.optimizers.schedules.CosineDecay(self.learning_rate, total)
        rising = max(1, round(self.warm_up * total))
        return tf.keras.optimizers.schedules.CosineDecay(
            0.0, max(1, total - rising), warmup_target=self.learning_rate, warmup_steps=rising
        )

    def rates(self, total: int) -> np.ndarray:
        """The learning rate of each step, float32 (total,), of all schedules but the cosine."""
        if self.schedule is Schedule.CONSTANT:
            return np.full(total, self.learning_rate, np.float32)
        if self.schedule is Schedule.STEPS:
            thirds = 3 * np.arange(total) // total
            return (self.learning_rate * 0.1**thirds).astype(np.float32)
        done = [step / (total + 1) for step in range(1, total + 1)]
        return np.array([triangle(self.learning_rate, d, self.warm_up) for d in done], np.float32)


def triangle(peak: float, done: float, warm_up: float) -> float:
    """The learning rate: up in a straight line to the peak, and down to zero.

    Args:
        done: part of the training that is behind, 0 to 1.
        warm_up: part of the training in which the rate rises.
    """
    rising = done / warm_up if warm_up else 1.0
    return peak * min(rising, (1 - done) / (1 - warm_up), 1.0)


def whole_epochs(recipe: Recipe) -> int:
    """Epochs that are begun."""
    return max(1, math.ceil(recipe.epochs))


def _named(value: object) -> object:
    """A name for a function, a class or a partial one, that is the same in every process."""
    if isinstance(value, functools.partial):
        return [
            _named(value.func),
            *map(str, value.args),
            {k: str(v) for k, v in sorted(value.keywords.items())},
        ]
    if isinstance(value, dict):
        return {str(key): _named(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(one) for one in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    kind = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
