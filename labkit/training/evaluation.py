"""A network as a function, and how often it is right, without a file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from labkit.training.data import Batches


def ranks(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many classes come before the right one, (N,): 0 is a hit of top-1, below 5 of top-5.

    Of equals the class with the lower number comes first, as in `numpy.argmax`: outputs of few
    bits tie now and then, and those of a collapsed network all do.

    Args:
        probabilities: (N, classes), or whatever orders the classes; or (N, 1), that of the second
            of two classes.
        classes: integer (N,), the right ones.
    """
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
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


def accuracy(model: tf.keras.Model, source: Batches, top: int = 1) -> float:
    """Share of validation images whose class is among the `top` most probable ones."""
    return accuracy_of(predictor(model), source, top)


def accuracy_of(predict: Callable, source: Batches, top: int = 1) -> float:
    """As `accuracy`, of a function from `predictor`."""
    hits = [ranks(predict(images), classes) < top for images, classes in source.validation()]
    return float(np.concatenate(hits).mean())
