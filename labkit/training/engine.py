"""The one engine: Keras's `fit`, with schedules in steps, locked layers and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from labkit import runtime
from labkit.checkpoint import Checkpoint
from labkit.training.data import Batches, Feed, TrainingError
from labkit.training.evaluation import accuracy_of, predictor
from labkit.training.recipe import Recipe, whole_epochs

__all__ = ["Trainer", "TrainingError", "fit"]


class Trainer:
    """Trains one network as often as wanted; its graphs are traced once for a kind of recipe.

    Every call of `fit` begins anew: momentum and rate of one training are not there in the next.

    Args:
        model: any Keras model; trained in place.
    """

    def __init__(self, model: tf.keras.Model):
        self.model = model
        self.predict = predictor(model)
        self._compiled: tuple | None = None
        self._rates = _Rates()
        self._locked: frozenset[str] = frozenset()
        self._locks = False

    def lock(self, layers: Collection[str]) -> bool:
        """Leave the layers of these names as they are from now on, and train all others.

        Returns:
            whether anything is left to train.
        """
        self._locked, self._locks = frozenset(layers), True
        return bool(np.any(self._moves()))

    def fit(
        self,
        data,
        recipe: Recipe,
        seed: int = 0,
        *,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        validation=None,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        checkpoint: str | Path | None = None,
    ) -> dict[str, list[float]]:
        """Train; arguments, result and errors are those of `fit`."""
        # TensorFlow prepares every graph anew after a new seed, which takes longer than a short
        # training. Where nothing draws from it, `Batches` have a seed of their own.
        draws = self._draws or not isinstance(data, Batches)
        if draws:
            runtime.set_seed(seed)
        feed = Feed(data, recipe)
        total = recipe.total(feed.steps)
        self._compile(recipe, total)
        settings = {"network": self._shape(), "steps": [feed.steps, total], "seed": seed}
        kept = Checkpoint(checkpoint, settings | recipe.facts())
        progress = _Progress(total, feed.steps, kept, self._variables(), on_epoch)
        if isinstance(validation, (tuple, list)):
            validation = tf.data.Dataset.from_tensor_slices(tuple(validation)).batch(recipe.batch)
        called = [progress, *callbacks]
        with progress.bar:
            if checkpoint is None:
                self._run(feed, seed, 0, whole_epochs(recipe), called, validation)
            # Each epoch draws from a seed of its own, so that a killed training ends as another.
            while checkpoint is not None and progress.done < total:
                epoch = len(progress.rows)
                own = _epoch_seed(seed, epoch)
                if draws:
                    runtime.set_seed(own)
                if self._draws:  # dropout draws by the seed that is in force when it is traced
                    self.model.make_train_function(force=True)
                self._run(feed, own, epoch, epoch + 1, called, validation)
        rows = progress.rows
        return {name: [row[name] for row in rows] for name in rows[0]}

    def accuracy(self, source: Batches, top: int = 1) -> float:
        """Share of validation images whose class is among the `top` most probable ones."""
        return accuracy_of(self.predict, source, top)

    def _run(self, feed: Feed, seed: int, first: int, last: int, callbacks, validation) -> None:
        batches, steps = feed.batches(seed)
        self._build_metrics(batches.element_spec[1])
        self.model.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=callbacks,
            validation_data=validation,
        )

    def _compile(self, recipe: Recipe, total: int) -> None:
        """Compile for a recipe, or set what is compiled back to its beginning."""
        rate = recipe.rate(total)
        # Else gradients reach the optimizer as they are: those of shared weights are sparse.
        selects = self._locks or bool(recipe.weight_decay)
        kind = (recipe.optimizer, recipe.loss, recipe.metrics, selects)
        if rate is None:
            self._rates.values.assign(recipe.rates(total))
        if rate is not None or self._compiled != kind:
            optimizer = recipe.optimizer(self._rates if rate is None else rate)
            metrics = recipe.metrics
            self.model.compile(
                optimizer,
                recipe.loss,
                metrics=list(metrics) if isinstance(metrics, tuple) else metrics,
            )
            self._step = _Selected(optimizer, self.model.trainable_variables) if selects else None
            optimizer.build(self.model.trainable_variables)
            self._compiled = kind if rate is None else None
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        if self._step is not None:
            self._step.set(self._moves(), recipe.weight_decay)

    def _build_metrics(self, targets) -> None:
        """Make the variables of metrics now: a step that makes them itself is traced twice."""
        model = self.model
        if getattr(model, "_is_graph_network", False) and not model.compiled_metrics.built:
            model.compiled_loss.build(model.output)
            model.compiled_metrics.build(model.output, targets)

    def _moves(self) -> list[float]:
        """1 for each variable that is trained, 0 for those of locked layers."""
        locked = {
            id(v) for name in self._locked for v in self.model.get_layer(name).trainable_variables
        }
        return [float(id(v) not in locked) for v in self.model.trainable_variables]

    def _variables(self) -> list[tf.Variable]:
        return [*self.model.weights, *self.model.optimizer.variables]

    def _shape(self) -> list:
        return [list(weight.shape) for weight in self.model.weights]

    @property
    def _draws(self) -> bool:
        return any(
            getattr(layer, "rate", 0) or getattr(layer, "stddev", 0) for layer in self.model.layers
        )


def fit(
    model: tf.keras.Model,
    data,
    recipe: Recipe,
    seed: int = 0,
    *,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    validation=None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    checkpoint: str | Path | None = None,
) -> dict[str, list[float]]:
    """Train a network in place.

    With a checkpoint, every epoch draws from a seed of its own, so that a training that was killed
    goes on with the epoch in which it was, and ends with the same weights as one that was not.

    Args:
        model: any Keras model: plain, or wrapped by a technique of `labkit.compress`.
        data: a `Dataset` (its training part), arrays (inputs, targets), a batched
            `tf.data.Dataset` of (inputs, targets), or a `Batches`. Structures of several inputs or
            outputs as Keras takes them.
        recipe: epochs, rate, loss and so on.
        seed: of order, augmentation and dropout; a `tf.data.Dataset` shuffles as it was made to.
        callbacks: that a technique needs, for example `pruning.callbacks()`, or of your own.
        validation: arrays or a batched `tf.data.Dataset`, measured after each epoch.
        on_epoch: called after each epoch with its number, from 1, and its figures.
        checkpoint: `.npz` that is written after each epoch, and taken up if it is there. Callbacks
            are told of the beginning of a training before each epoch then.

    Returns:
        "loss" and the recipe's metrics (and "val_..." of a validation), a value per epoch.

    Raises:
        TrainingError: data that cannot be trained with.
        CheckpointError: the checkpoint is damaged, or belongs to another training.

    Example:
        >>> x, y = np.ones((64, 8), np.float32), np.arange(64) % 2
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, "softmax", input_shape=(8,))])
        >>> history = fit(model, (x, y), Recipe(epochs=2, batch=16))
    """
    return Trainer(model).fit(
        data,
        recipe,
        seed,
        callbacks=callbacks,
        validation=validation,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


class _Progress(tf.keras.callbacks.Callback):
    """Counts steps, ends a training within an epoch, and keeps what each epoch has reached."""

    def __init__(self, total: int, steps: int, kept: Checkpoint, variables, on_epoch):
        super().__init__()
        self._supports_tf_logs = True  # or Keras fetches the figures of every step
        self._kept, self._variables, self._on_epoch = kept, variables, on_epoch
        values, note = kept.read()
        for variable, value in zip(variables, values, strict=bool(values)):
            variable.assign(value)
        self.rows: list[dict[str, float]] = note.get("history", [])
        self._total, self.done = total, min(len(self.rows) * steps, total)
        quiet = not runtime.interactive()
        self.bar = tqdm(total=total, initial=self.done, unit="step", leave=False, disable=quiet)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        self.bar.update()
        if self.done >= self._total:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({name: float(value) for name, value in (logs or {}).items()})
        if self._kept.path is not None:
            values = [variable.numpy() for variable in self._variables]
            self._kept.write(values, {"history": self.rows})
        if self._on_epoch:
            self._on_epoch(len(self.rows), self.rows[-1])


@tf.keras.utils.register_keras_serializable("labkit")
class _Rates(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step from a table that can be exchanged without a new graph."""

    def __init__(self, values: Sequence[float] = (0.0,)):
        self.values = tf.Variable(values, trainable=False, shape=[None], dtype=tf.float32)

    def __call__(self, step):
        """The rate of a step, from 0; the last one's afterwards."""
        last = tf.shape(self.values)[0] - 1
        return tf.gather(self.values, tf.minimum(tf.cast(step, tf.int32), last))

    def get_config(self):
        """The table: a model can be stored and sent with what it was trained with."""
        return {"values": self.values.numpy().tolist()}


class _Selected:
    """Lets an optimizer move some variables only, and adds the gradient of an L2 penalty.

    Args:
        optimizer: its `apply_gradients` is exchanged.
        variables: that are trained.
    """

    def __init__(self, optimizer: tf.keras.optimizers.Optimizer, variables: list[tf.Variable]):
        self._moves = tf.Variable(tf.ones(len(variables)), trainable=False)
        self._decay = tf.Variable(0.0, trainable=False)
        self._variables = {id(variable): i for i, variable in enumerate(variables)}
        self._apply = optimizer.apply_gradients
        optimizer.apply_gradients = self._selected

    def set(self, moves: list[float], decay: float) -> None:
        """Which variables move (1) and stay (0), and the weight decay."""
        self._moves.assign(moves)
        self._decay.assign(decay)

    def _selected(self, grads_and_vars, *arguments, **options):
        pairs = []
        for gradient, variable in grads_and_vars:
            place = self._variables.get(id(variable))
            if gradient is not None and place is not None:
                if "kernel" in variable.name:
                    gradient = gradient + self._decay * variable
                gradient = gradient * self._moves[place]
            pairs.append((gradient, variable))
        return self._apply(pairs, *arguments, **options)


def _epoch_seed(seed: int, epoch: int) -> int:
    """The seed itself for the first epoch, and for each other one its own."""
    return seed if epoch == 0 else int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
