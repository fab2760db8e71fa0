"""The best weights of a training: those whose validation was the best of all its epochs."""

from __future__ import annotations

import math

import tensorflow as tf


class Best(tf.keras.callbacks.Callback):
    """Remembers the weights after the epoch with the best validation; `restore` puts them back.

    Args:
        monitor: what is compared, a smaller one being better.

    Attributes:
        epoch: the best one, from 1; 0 before the first.
        value: of what is compared, after it.

    Example:
        >>> best = Best()
        >>> fit(model, train, recipe, callbacks=[best], validation=held_out)  # doctest: +SKIP
        >>> best.restore()  # doctest: +SKIP
    """

    def __init__(self, monitor: str = "val_loss"):
        super().__init__()
        self._supports_tf_logs = True
        self.monitor, self.epoch, self.value = monitor, 0, math.inf
        self._weights: list = []

    def on_epoch_end(self, epoch, logs=None):
        """Compare, and remember."""
        value = float(logs[self.monitor])
        if value < self.value:
            self.epoch, self.value = epoch + 1, value
            self._weights = self.model.get_weights()

    def restore(self) -> None:
        """Give the model the weights that were best; nothing before the first epoch."""
        if self._weights:
            self.model.set_weights(self._weights)
