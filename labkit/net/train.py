"""Training of a network over a tree of images, in a folder from which a killed run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import tensorflow as tf

from labkit import files, training
from labkit.models import folding, graph, weights
from labkit.net import NetError
from labkit.net.task import Task, claim, outputs

WEIGHTS, HISTORY, CHECKPOINT = "weights.npz", "history.csv", "checkpoint.npz"


@dataclass(frozen=True)
class Options:
    """How a network is trained, as the command line says it.

    Attributes:
        epochs: passes over the training images.
        learning_rate: at its peak.
        weight_decay: L2 penalty on kernels.
        seed: of weights, order and augmentation.
        augment: mirror and shift images at random.
        batch_norm: normalise while training; None for squeezenet from scratch. The weights that
            are written are folded.
        freeze: levels that keep their weights.
        new_head: the last layer begins with random weights.
    """

    epochs: float
    learning_rate: float
    weight_decay: float = 0.0
    seed: int = 0
    augment: bool = True
    batch_norm: bool | None = None
    freeze: tuple[str, ...] = ()
    new_head: bool = False


def train(task: Task, options: Options, out: Path, report: Callable[[dict], None]) -> pd.DataFrame:
    """Train, and write weights, their description and the history to a folder.

    Args:
        task: with "train" and "val"; its weights are where the training begins.
        options: epochs, rate and so on.
        out: the folder, for one run; a run that was killed goes on from its checkpoint, and ends
            with the same weights as one that was not.
        report: called after each epoch with its row of the history.

    Returns:
        "epoch", "loss", "accuracy" (training images) and "validation" (accuracy), a row per epoch.

    Raises:
        NetError: the folder holds another run, a level does not exist, or the weights do not fit.
        DataError: an image cannot be read; names the file.
    """
    model, normalised = _beginning(task, options)
    claim(out, {"command": "train", **task.facts(), **asdict(options)})
    source = task.source(options.augment)
    history = out / HISTORY
    rows = _rows(history)

    def on_epoch(epoch: int, figures: dict) -> None:
        rows[epoch] = {"epoch": epoch, **figures, "validation": training.accuracy(model, source)}
        files.write_text(history, _table(rows).to_csv(index=False))
        report(rows[epoch])

    recipe = training.Recipe(
        options.epochs,
        options.learning_rate,
        schedule=training.Schedule.TRIANGLE,
        warm_up=0.2,
        optimizer=training.momentum_sgd,
        weight_decay=options.weight_decay,
    )
    trained = training.fit(
        model, source, recipe, options.seed, on_epoch=on_epoch, checkpoint=out / CHECKPOINT
    )
    # An epoch that ended just before the process did has no row yet.
    for epoch, values in enumerate(zip(*trained.values(), strict=True), start=1):
        figures = dict(zip(trained, values, strict=True))
        rows.setdefault(epoch, {"epoch": epoch, **figures, "validation": float("nan")})
    files.write_text(history, _table(rows).to_csv(index=False))
    weights.save(folding.fold(model) if normalised else model, out / WEIGHTS)
    task.describe(out / WEIGHTS)
    return _table(rows)


def _beginning(task: Task, options: Options) -> tuple[tf.keras.Model, bool]:
    """The network before its training, and whether it is normalised."""
    scratch = task.weights is None
    normalised = options.batch_norm
    if normalised is None:
        normalised = scratch and task.network.name == "squeezenet"
    if normalised and not scratch:
        raise NetError("--batch-norm is for a training without --weights: theirs is folded.")
    if options.new_head and scratch:
        raise NetError("--new-head is for a training that begins with --weights.")
    model = task.untrained(options.seed, normalised)
    if not scratch:
        _warm(model, task, options.new_head)
    levels = graph.levels(model)
    for level in options.freeze:
        if level not in levels:
            raise NetError(f"--freeze {level}: the network has the levels {', '.join(levels)}.")
    for layer in model.layers:
        layer.trainable = layer.name.split("/")[0] not in options.freeze
    if not model.trainable_variables:
        raise NetError("--freeze leaves nothing to train.")
    return model, normalised


def _warm(model: tf.keras.Model, task: Task, new_head: bool) -> None:
    """Give a network the weights of the task's file, its last layer aside if that is new."""
    if not new_head:
        weights.load(model, task.weights)
        return
    names = tuple(map(str, range(outputs(task))))
    old = dataclasses.replace(task, class_names=names).model
    head = list(graph.levels(model).values())[-1][-1]
    for layer in model.layers:
        if layer.name != head:
            layer.set_weights(old.get_layer(layer.name).get_weights())


def _rows(path: Path) -> dict[int, dict]:
    if not path.exists():
        return {}
    return {int(row["epoch"]): row for row in pd.read_csv(path).to_dict("records")}


def _table(rows: dict[int, dict]) -> pd.DataFrame:
    return pd.DataFrame([rows[epoch] for epoch in sorted(rows)])
