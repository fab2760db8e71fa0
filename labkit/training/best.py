"""The best weights of a training: those whose validation was the best of all its epochs."""

from __future__ import annotations

import math

import tensorflow as tf


class Best(tf.keras.callbacks.Callback):
    """Remembers the weights of the epoch with the least validation loss; `restore` puts them back.

    Attributes:
        epoch: the best one, from 1; 0 before the first.
        value: the loss after it.

    Example:
        >>> best = Best()
        >>> fit(model, train, recipe, callbacks=[best], validation=held_out)  # doctest: +SKIP
        >>> best.restore()  # doctest: +SKIP
    """

    def __init__(self):
        super().__init__()
        self._supports_tf_logs = True
        self.epoch, self.value = 0, math.inf
        self._weights: list = []

    def on_epoch_end(self, epoch, logs=None):
        """Compare, and remember."""
        value = float(logs["val_loss"])
        if value < self.value:
            self.epoch, self.value = epoch + 1, value
            self._weights = self.model.get_weights()

    def restore(self) -> None:
        """Give the model the weights that were best; nothing before the first epoch."""
        if self._weights:
            self.model.set_weights(self._weights)
