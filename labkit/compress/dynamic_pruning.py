"""Dynamic pruning with feedback (DPF), and one-way pruning with all else the same.

Both train a network behind masks. One-way pruning takes weights away for good. DPF keeps the dense
weights as well: the gradient is evaluated at the *pruned* weights and applied to the *dense* ones,
so that a pruned weight goes on learning, and comes back when it has grown larger than others.

Source: Lin, Stich, Barba, Dmitriev & Jaggi, *Dynamic model pruning with feedback*, ICLR 2020,
equation DPF and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import training
from labkit.compress import pruning
from labkit.models import graph
from labkit.training import Recipe

#: Steps from one mask to the next (the paper uses 16).
PERIOD = 16

Pattern = Callable[[np.ndarray, float], np.ndarray]


class MaskedTraining(tf.keras.Model):
    """Trains a copy of a network behind masks; compile and fit it as any Keras model.

    Args:
        model: a trained network; it is not changed.
        final_sparsity: of every kernel, or by name of the layer, see `pruning.layer_sparsities`.
        feedback: True is DPF. False is one-way pruning: a pruned weight is set to zero and stays.
        pattern: mask of a kernel and a sparsity, for example `pruning.magnitude_mask`.
        by: what weights are ranked by, "magnitude" or "lookahead", see `pruning.scores`.

    Attributes:
        network: the copy, with its dense weights.
        masks: a variable of zeros and ones for each kernel, by name of the layer.

    Raises:
        CompressionError: an unknown name of scores.
        ValueError: an unknown layer, or a sparsity that is not from 0 to 1.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        final_sparsity: float | Mapping[str, float],
        feedback: bool = True,
        pattern: Pattern = pruning.magnitude_mask,
        by: str = "magnitude",
    ):
        super().__init__(name="masked_training")
        self.final_sparsity = pruning.by_layer(model, final_sparsity)
        self.network = graph.copy_of(model)
        self.feedback = feedback
        self.pattern = pattern
        self.by = by
        pruning.scores(self.network, by)  # an unknown name is told before anything is trained
        self.kernels = pruning.prunable(self.network)
        self.masks = {
            name: tf.Variable(tf.ones_like(kernel), trainable=False, name=f"{name}_mask")
            for name, kernel in self.kernels.items()
        }
        self.built = True  # the network is: its inputs are whatever it takes

    def call(self, inputs, training=None):
        """The network with its dense weights; `pruned` returns the one to be used."""
        return self.network(inputs, training=training)

    def train_step(self, data):
        """One step: the gradient at the pruned weights, applied to the dense ones."""
        x, y, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        dense = {name: tf.identity(kernel) for name, kernel in self.kernels.items()}
        self._apply_masks()
        with tf.GradientTape() as tape:
            outputs = self.network(x, training=True)
            loss = self.compute_loss(x, y, outputs, weights)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self.feedback:
            for name, kernel in self.kernels.items():
                kernel.assign(dense[name])
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if not self.feedback:
            self._apply_masks()
        return self.compute_metrics(x, y, outputs, weights)

    def _apply_masks(self) -> None:
        for name, kernel in self.kernels.items():
            kernel.assign(kernel * self.masks[name])

    def update_masks(self, progress: float) -> int:
        """New masks from the dense weights.

        Args:
            progress: part of the final sparsity, from 0 to 1.

        Returns:
            how many pruned weights come back.
        """
        reactivated = 0
        for name, scores in pruning.scores(self.network, self.by).items():
            keep = self.pattern(scores, progress * self.final_sparsity[name])
            reactivated += int(np.count_nonzero(keep & (self.masks[name].numpy() == 0)))
            self.masks[name].assign(keep.astype(np.float32))
        return reactivated

    def pruned_count(self) -> int:
        """How many weights are pruned now."""
        return sum(int(np.count_nonzero(mask.numpy() == 0)) for mask in self.masks.values())

    def pruned(self) -> tf.keras.Model:
        """A plain copy of the network with its pruned weights set to zero."""
        return pruning.masked(self.network, {n: mask.numpy() for n, mask in self.masks.items()})


class MaskSchedule(tf.keras.callbacks.Callback):
    """Computes new masks every `period` steps, the sparsity rising as Zhu & Gupta have it.

    Args:
        end: step from which on the sparsity is the final one; masks go on being updated. 0: it is
            from the beginning.
        period: steps from one update to the next.

    Attributes:
        updates: of each update "step", "pruned" and "reactivated" (numbers of weights).
    """

    def __init__(self, end: int, period: int = PERIOD):
        super().__init__()
        self.end = end
        self.period = period
        self.step = 0
        self.updates: list[dict[str, int]] = []

    def on_train_batch_begin(self, batch, logs=None):
        """Update the masks where an update is due."""
        if self.step % self.period == 0:
            progress = 1.0
            if self.end > 0:
                progress = pruning.polynomial_sparsity(self.step, 0, self.end, 0.0, 1.0)
            reactivated = self.model.update_masks(progress)
            pruned = self.model.pruned_count()
            self.updates.append({"step": self.step, "pruned": pruned, "reactivated": reactivated})
        self.step += 1


def schedule(
    data, recipe: Recipe, period: int = PERIOD, part: float = pruning.PRUNING_PART
) -> MaskSchedule:
    """The masks' schedule for a training: the sparsity rises over its first part.

    Args:
        data, recipe: as `training.fit` gets them.
        period: steps from one update of the masks to the next.
        part: of the training in which the sparsity rises; 0: everything is pruned at once.
    """
    end = int(part * training.steps(data, recipe))
    return MaskSchedule(max(1, end) if part > 0 else 0, period)


def train(
    model: tf.keras.Model,
    data,
    final_sparsity: float | Mapping[str, float],
    recipe: Recipe,
    seed: int = 0,
    *,
    feedback: bool = True,
    pattern: Pattern = pruning.magnitude_mask,
    by: str = "magnitude",
    part: float = pruning.PRUNING_PART,
) -> tuple[tf.keras.Model, pd.DataFrame]:
    """Prune a copy of a trained model while it is fine-tuned.

    Args:
        model: a trained network; it is not changed.
        data: as `training.fit` takes it.
        final_sparsity: of every kernel, or by name of the layer, see `pruning.layer_sparsities`.
        recipe: of the fine-tuning.
        seed: of order and augmentation.
        feedback: DPF, or one-way pruning.
        pattern: mask of a kernel and a sparsity.
        by: what weights are ranked by, "magnitude" or "lookahead".
        part: of the fine-tuning in which the sparsity rises; 0: everything is pruned at once.

    Returns:
        The plain pruned model, and a row for each update of the masks: "step", "pruned" and
        "reactivated" (numbers of weights).

    Raises:
        CompressionError: an unknown name of scores.
        ValueError: an unknown layer, or a sparsity that is not from 0 to 1.
    """
    behind = MaskedTraining(model, final_sparsity, feedback, pattern, by)
    masks = schedule(data, recipe, part=part)
    training.fit(behind, data, recipe, seed, callbacks=[masks])
    return behind.pruned(), pd.DataFrame(masks.updates)
