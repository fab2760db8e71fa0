"""Progressive quantisation: a network is quantised level by level while it is trained on.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), sections 4.5
and 5.5: quantize-and-lock, quantize-while-train, gradual resolution loss, relaxation.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import training
from labkit.compress import fixed_point
from labkit.compress.fixed_point import CONVOLUTIONS, AdjustableConv2D, QuantizedConv2D
from labkit.errors import LabkitError
from labkit.hwce.formats import QFormat
from labkit.hwce.plan import LayerPlan, Plan
from labkit.models import graph
from labkit.training import Batches, Checkpoint, Recipe, Trainer, momentum_sgd

#: "static": no training. "lock": a level is quantised and no longer trained, the others are.
#: "train": everything is trained throughout. "gradual": all levels at once, bit by bit.
STRATEGIES = ("static", "lock", "train", "gradual")
ORDERS = ("forward", "backward", "random")
#: Widths that "gradual" goes through, as far as they are above what is wanted.
WIDTHS = (16, 12, 10, 8, 7, 6, 5, 4, 3, 2)
#: What `run` keeps in its folder.
CHECKPOINT = "progressive.npz"


class ProgressiveError(LabkitError):
    """A resolution or schedule that cannot be used."""


@dataclass(frozen=True)
class Resolution:
    """Bits of a convolution's kernel, inputs and outputs: the thesis's k:i:o."""

    kernel: int
    input: int
    output: int

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """Read "8:6:6", or "8" for the same width everywhere.

        Raises:
            ProgressiveError: it is not of that form, or a width is not from 2 to 16.
        """
        if not re.fullmatch(r"\s*\d+\s*(:\s*\d+\s*:\s*\d+\s*)?", text):
            raise ProgressiveError(
                f"the resolution is {text!r}, expected k:i:o, bits of kernel, inputs and outputs, "
                "for example 8:6:6."
            )
        widths = [int(part) for part in text.split(":")]
        if not all(2 <= width <= 16 for width in widths):
            raise ProgressiveError(
                f"the resolution is {text!r}, expected widths from 2 to 16 bits."
            )
        return cls(*(widths if len(widths) == 3 else widths * 3))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.kernel}:{self.input}:{self.output}"


@dataclass(frozen=True)
class Schedule:
    """How a network is quantised.

    Args:
        strategy: one of `STRATEGIES`.
        order: of the levels: one of `ORDERS`.
        epochs: of training in each phase; parts of one are allowed.
        learning_rate: at the start of a phase; it falls to zero within it. Folded normalisations
            bear little: 0.01 takes a SqueezeNet for CIFAR-10 from 61 to 23 % in its first phase.
        relax: one more phase at the end, with everything trained.
        seed: of the training, and of the random order.

    Raises:
        ProgressiveError: a value is not one of those.
    """

    strategy: str = "train"
    order: str = "forward"
    epochs: float = 1.0
    learning_rate: float = 0.0005
    relax: bool = False
    seed: int = 0

    def __post_init__(self):
        """Check the values."""
        for name, allowed in (("strategy", STRATEGIES), ("order", ORDERS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ProgressiveError(
                    f"{name} is {value!r}, expected one of {', '.join(allowed)}."
                )
        if self.epochs <= 0:
            raise ProgressiveError(f"epochs is {self.epochs}, expected more than 0.")

    @property
    def recipe(self) -> Recipe:
        """How a phase is trained: the rate falls in a straight line."""
        return Recipe(
            self.epochs,
            self.learning_rate,
            schedule=training.Schedule.TRIANGLE,
            optimizer=momentum_sgd,
        )


@dataclass(frozen=True)
class Phase:
    """A part of a schedule.

    Attributes:
        name: the level that is quantised in it, the width that is reached, or "relax".
        quantized: levels that are quantised during it.
        locked: levels that are not trained.
        plan: the formats; None for floating point.
    """

    name: str
    quantized: tuple[str, ...]
    locked: tuple[str, ...]
    plan: Plan | None


@dataclass(eq=False)
class Progress:
    """A quantised network and how it came about.

    Args:
        start: the network in floating point that was quantised.
        plan: formats of its convolutions; None where it was trained in floating point.
        levels: that are quantised at the end.
        history: a row per phase: "phase", "levels" (quantised ones), "epochs" (in all, so far),
            "before" and "after" (accuracy on the validation images, before and after the phase's
            training) and "loss" (of the training images; NaN without training).
        weights: as the network's `set_weights` takes them.
    """

    start: tf.keras.Model
    plan: Plan | None
    levels: tuple[str, ...]
    history: pd.DataFrame
    weights: list[np.ndarray]

    @cached_property
    def model(self) -> tf.keras.Model:
        """With `QuantizedConv2D` layers, all enabled."""
        if self.plan is None:
            network = tf.keras.models.clone_model(self.start)
        else:
            network = quantized(self.start, self.plan, self.levels)
        network.set_weights(self.weights)
        return network


def quantized(
    model: tf.keras.Model,
    plan: Plan,
    levels: Collection[str] | None = None,
    mode: str | None = None,
) -> tf.keras.Model:
    """A copy with a `QuantizedConv2D` for each convolution; the model itself is not changed.

    Args:
        model: of plain or quantised convolutions. Dense layers stay as they are: the engine has
            none.
        plan: formats by layer.
        levels: that are quantised, as `graph.levels` names them; the others' layers are there,
            not enabled. None for all.
        mode: "nearest", "floor" or "thesis"; the plan's without.

    Raises:
        ProgressiveError: a level that the model does not have, or a convolution without a plan.
    """
    known = graph.levels(model)
    levels = set(known if levels is None else levels)
    if unknown := levels - set(known):
        raise ProgressiveError(
            f"there is no level {min(unknown)!r}; the network has {', '.join(known)}."
        )

    def layer_of(layer):
        if type(layer) not in CONVOLUTIONS:
            return type(layer).from_config(layer.get_config())
        if layer.name not in plan.layers:
            raise ProgressiveError(f"the plan has no formats for the convolution {layer.name!r}.")
        formats = plan.layers[layer.name]
        config = layer.get_config() | {
            "kernel_format": formats.kernel,
            "input_format": formats.input,
            "output_format": formats.output,
            "mode": mode or plan.mode,
            "enabled": layer.name.split("/")[0] in levels,
        }
        return QuantizedConv2D.from_config(config)

    return graph.copy_of(model, layer_of)


def with_bits(plan: Plan, resolution: Resolution) -> Plan:
    """The plan with other widths; the msb of every layer stays."""
    layers = {
        name: LayerPlan(
            QFormat(resolution.kernel, formats.kernel.msb),
            QFormat(resolution.input, formats.input.msb),
            QFormat(resolution.output, formats.output.msb),
        )
        for name, formats in plan.layers.items()
    }
    return dataclasses.replace(plan, layers=layers)


def phases(model: tf.keras.Model, plan: Plan | None, schedule: Schedule) -> list[Phase]:
    """What a schedule does to a network, phase by phase.

    Raises:
        ProgressiveError: "gradual" without a plan, which says how far down it goes.
    """
    if plan is None and schedule.strategy == "gradual":
        raise ProgressiveError("gradual loss of resolution needs a plan, which says where it ends.")
    flat = graph.flat(model)
    levels = tuple(
        name
        for name, layers in graph.levels(flat).items()
        if all(type(flat.get_layer(layer)) in CONVOLUTIONS for layer in layers)
    )
    if schedule.strategy == "static":
        found = [Phase("static", levels, tuple(graph.levels(model)), plan)]
    elif schedule.strategy == "gradual":
        found = [
            Phase(f"{width} bits", levels, (), with_bits(plan, resolution))
            for width, resolution in _narrowing(plan)
        ]
    else:
        order = _ordered(levels, schedule)
        done = [tuple(order[: i + 1]) for i in range(len(order))]
        locks = schedule.strategy == "lock"
        found = [Phase(part[-1], part, part if locks else (), plan) for part in done]
    if schedule.relax:
        found.append(Phase("relax", levels, (), plan))
    return found


def _ordered(levels: Sequence[str], schedule: Schedule) -> list[str]:
    if schedule.order == "random":
        return list(np.random.default_rng(schedule.seed).permutation(levels))
    return list(levels) if schedule.order == "forward" else list(levels)[::-1]


def _narrowing(plan: Plan) -> list[tuple[int, Resolution]]:
    """Widths from the widest on, none below the plan's own."""
    formats = next(iter(plan.layers.values()))
    target = (formats.kernel.bits, formats.input.bits, formats.output.bits)
    widths = [width for width in WIDTHS if width > min(target)] + [min(target)]
    return [(width, Resolution(*(max(width, bits) for bits in target))) for width in widths]


class Quantizer:
    """Quantises one network as often as wanted, by any plan: its graphs are traced once.

    It can be sent to other processes, which trace them once each. Accuracies are of `adjustable`'s
    float32 sums; measure a result itself where the last code counts.

    Args:
        model: trained, in floating point, without batch normalisation; it is not changed.
        source: of training and validation images.
    """

    def __init__(self, model: tf.keras.Model, source: Batches):
        self.model, self.source = graph.flat(model), source
        self._copy = fixed_point.adjustable(model)
        self._trainer = Trainer(self._copy)
        self._key = uuid.uuid4().hex

    def __reduce__(self):
        """What another process makes it of: graphs cannot be sent."""
        return _arrived, (self._key, self.model, self.source)

    def accuracy(
        self,
        plan: Plan | None = None,
        levels: Collection[str] | None = None,
        mode: str | None = None,
        top: int = 1,
        *,
        weights: list[np.ndarray] | None = None,
        source: Batches | None = None,
    ) -> float:
        """Share of validation images that are read right without any further training.

        Args:
            plan: formats by layer; None for floating point.
            levels: that are quantised; None for all.
            mode: "nearest" or "floor"; the plan's without.
            top: 1 or more: the right class is among so many.
            weights: in place of the network's own, those of a run (`Progress.weights`) or of a
                network that was trained otherwise.
            source: of other images than the quantizer's.
        """
        self._copy.set_weights(self.model.get_weights() if weights is None else weights)
        fixed_point.adjust(self._copy, plan, levels, mode)
        return self._trainer.accuracy(source or self.source, top)

    def signals(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        plan: Plan | None = None,
        mode: str | None = None,
    ) -> pd.DataFrame:
        """What is left of the signal on its way forwards, and of the gradient on its way back.

        Args:
            images: float32 (N, ...).
            classes: integer (N,).
            plan: formats by layer; None for floating point.
            mode: "nearest" or "floor"; the plan's without.

        Returns:
            a row per convolution: "zeros (%)", the share of its outputs that a ReLU makes zero,
            "silent (%)", that of the channels that it makes zero for every image, and "gradient",
            the root mean square of the loss's derivative by its kernel.
        """
        self._copy.set_weights(self.model.get_weights())
        fixed_point.adjust(self._copy, plan, mode=mode)
        found = self._signals(tf.convert_to_tensor(images), tf.convert_to_tensor(classes))
        rows = {
            name: {
                "zeros (%)": 100 * float(np.mean(zeros)),
                "silent (%)": 100 * float(np.mean(zeros.numpy() == 1)),
                "gradient": float(np.sqrt(np.mean(np.square(gradient)))),
            }
            for name, zeros, gradient in found
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")

    @cached_property
    def _signals(self) -> Callable:
        """(images, classes) to a row per layer: its name, zeros in each channel, gradient."""
        layers = [layer for layer in self._copy.layers if isinstance(layer, AdjustableConv2D)]
        taps = tf.keras.Model(
            self._copy.inputs, [[layer.output for layer in layers], self._copy.output]
        )

        @tf.function
        def measured(images, classes):
            with tf.GradientTape() as tape:
                outputs, probabilities = taps(images, training=False)
                loss = tf.reduce_mean(
                    tf.keras.losses.sparse_categorical_crossentropy(classes, probabilities)
                )
            zeros = [tf.reduce_mean(tf.cast(y <= 0, tf.float32), [0, 1, 2]) for y in outputs]
            return zeros, tape.gradient(loss, [layer.kernel for layer in layers])

        return lambda *pair: zip([layer.name for layer in layers], *measured(*pair), strict=True)

    def run(
        self,
        plan: Plan | None,
        schedule: Schedule,
        folder: str | Path | None = None,
        on_phase: Callable[[dict], None] | None = None,
    ) -> Progress:
        """Quantise by a schedule; arguments, result and errors are those of `run`.

        Without a plan the phases train in floating point: what they gain so is not the rounding's.
        """
        todo = phases(self.model, plan, schedule)
        checkpoint = Checkpoint(
            None if folder is None else Path(folder) / CHECKPOINT,
            _fingerprint(self.model, plan, self.source, schedule),
        )
        weights, note = checkpoint.read()
        rows = note.get("history", [])
        self._copy.set_weights(weights or self.model.get_weights())
        for number, phase in enumerate(todo[len(rows) :], start=len(rows)):
            epochs = rows[-1]["epochs"] if rows else 0.0
            rows.append({"phase": phase.name, **self._phase(phase, schedule, number)})
            rows[-1]["epochs"] += epochs
            checkpoint.write(self._copy.get_weights(), {"history": rows})
            if on_phase:
                on_phase(rows[-1])
        columns = ["phase", "levels", "epochs", "before", "after", "loss"]
        history, weights = pd.DataFrame(rows, columns=columns), self._copy.get_weights()
        return Progress(self.model, plan, todo[-1].quantized, history, weights)

    def _phase(self, phase: Phase, schedule: Schedule, number: int) -> dict:
        """A row of the history, with the phase's own epochs."""
        fixed_point.adjust(self._copy, phase.plan, phase.quantized)
        before = self._trainer.accuracy(self.source)
        row = {
            "levels": len(phase.quantized),
            "epochs": 0.0,
            "before": before,
            "after": before,
            "loss": float("nan"),
        }
        layers = graph.levels(self._copy)
        if self._trainer.lock([name for level in phase.locked for name in layers[level]]):
            trained = self._trainer.fit(self.source, schedule.recipe, schedule.seed + number)
            row["loss"] = trained["loss"][-1]
            row["epochs"] = schedule.epochs
            row["after"] = self._trainer.accuracy(self.source)
        return row


#: The quantizer that was last sent to this process, by its key.
_arrivals: dict[str, Quantizer] = {}


def _arrived(key: str, model: tf.keras.Model, source: Batches) -> Quantizer:
    if key not in _arrivals:
        _arrivals.clear()
        _arrivals[key] = Quantizer(model, source)
    return _arrivals[key]


def run(
    model: tf.keras.Model,
    plan: Plan,
    source: Batches,
    schedule: Schedule,
    folder: str | Path | None = None,
    on_phase: Callable[[dict], None] | None = None,
) -> Progress:
    """Quantise a network by a schedule; for several of them, take a `Quantizer`.

    A run that was killed goes on with the phase in which it was, and ends with the same weights
    as one that was not.

    Args:
        model: trained, in floating point, without batch normalisation; it is not changed.
        plan: formats of every convolution.
        source: of training and validation images.
        schedule: strategy, order, epochs.
        folder: for checkpoints after each phase; None to keep none.
        on_phase: called with each new row of the history.

    Raises:
        CheckpointError: the folder holds the checkpoints of another run, or a damaged one.
    """
    return Quantizer(model, source).run(plan, schedule, folder, on_phase)


def _fingerprint(model, plan: Plan | None, source, schedule: Schedule) -> dict:
    """All that decides how a run ends, except the training images themselves."""
    sums = [float(np.sum(weight, dtype=np.float64)) for weight in model.get_weights()]
    return {
        "schedule": dataclasses.asdict(schedule),
        "plan": None if plan is None else plan.as_dict(),
        "steps": source.steps,
        "weights": sums,
    }
