"""Convolutional networks of a population, trained in groups: every array has an axis of members.

One graph trains a group; its members may differ in scheme, seed and learning rate, not in their
architecture. The arithmetic is that of `loops`: tfmot's fake quantisation, Keras's Adamax.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tensorflow as tf

from labkit.checkpoint import Checkpoint
from labkit.explore import loops
from labkit.explore.members import Cnn, ExploreError, Member, Settings
from labkit.explore.population import (
    Population,
    Progress,
    Samples,
    facts_of,
    initial,
    initial_ranges,
    numbered,
    recorded,
    shapes_of,
)

#: Members of a group: their buffers should stay in the processor's cache.
GROUP = 10
_KEEP = 20.0  # s: how much work of a group may be lost by a kill
_BETA_1, _BETA_2, _EPSILON, _DECAY = 0.9, 0.999, 1e-7, 1 - 0.999


def train(
    members: Sequence[Member],
    training: Samples,
    validation: Samples,
    settings: Settings,
    history: bool,
    checkpoint: str | Path | None,
    on_progress: Callable[[float], None] | None,
) -> Population:
    """As `population.train`, which calls it, for networks with convolutions of one architecture."""
    if len({member.network for member in members}) != 1:
        raise ExploreError("these CNNs are of several architectures: train each by itself.")
    facts = facts_of(training, validation, settings, history)
    parts = []
    with Progress(len(members) * settings.epochs, on_progress) as progress:
        for number, start in enumerate(range(0, len(members), GROUP)):
            part = members[start : start + GROUP]
            path = None if checkpoint is None else Path(checkpoint) / f"group-{number:05d}.npz"
            kept = Checkpoint(path, facts | {"members": [asdict(member) for member in part]})
            run = _Run(part, training, validation, settings, history, kept)
            parts.append(run.run(progress))
    weights, ranges, record, histories = zip(*parts, strict=True)
    return Population(
        tuple(members),
        recorded(np.concatenate(record)),
        np.concatenate(histories),
        [own for part in weights for own in part],
        [own for part in ranges for own in part],
    )


def outputs(found: Population, x: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Outputs of these members, a group at a time, float32 (members, N, outputs)."""
    for start in range(0, len(numbers), GROUP):
        chosen = numbers[start : start + GROUP]
        members = [found.members[i] for i in chosen]
        group = _Group(members, x.shape[1:], found.weights[chosen[0]][-1].size)
        for variable, values in zip(
            group.parameters, zip(*(found.weights[i] for i in chosen), strict=True), strict=True
        ):
            variable.assign(np.stack(values).reshape(variable.shape))
        group.ranges.assign(np.stack([found.ranges[i] for i in chosen], axis=1))
        parts = [group.infer(x[at : at + _AT_ONCE]).numpy() for at in range(0, len(x), _AT_ONCE)]
        yield np.concatenate(parts, axis=1)


_AT_ONCE = 256  # samples


class _Group(tf.Module):
    """Members of one architecture with their state, and one graph for a step of all.

    Parameters have the members first, (G, 1, inputs, units) and (G, 1, units), and ranges the ends,
    (2, G, R), in the order of `Population.ranges`.
    """

    def __init__(self, members: Sequence[Member], inputs: tuple[int, int], outputs: int):
        super().__init__()
        self.network: Cnn = members[0].network
        self.shapes = shapes_of(self.network, inputs, outputs)
        count = len(members)
        first = np.stack([initial(member, self.shapes) for member in members])
        self.parameters = []
        at = 0
        for k, u in self.shapes:
            self.parameters += [tf.Variable(first[:, at : at + k * u].reshape(count, k, u))]
            self.parameters += [tf.Variable(first[:, at + k * u : at + (k + 1) * u][:, None])]
            at += (k + 1) * u
        self.moments = [tf.Variable(tf.zeros_like(each)) for each in self.parameters]
        self.largest = [tf.Variable(tf.zeros_like(each)) for each in self.parameters]
        ranges = np.stack([initial_ranges(member, self.shapes) for member in members], axis=1)
        self.ranges = tf.Variable(ranges)
        self.steps = tf.Variable(0.0)
        self._numbers = np.array([numbered(member) for member in members])
        self._rates = np.array([m.learning_rate for m in members], np.float32)[:, None, None]

    @tf.function(reduce_retracing=True)
    def infer(self, x: tf.Tensor) -> tf.Tensor:
        """Outputs (G, N, outputs) of samples (N, time, channels), with the ranges as they are."""
        many = tf.broadcast_to(x, [len(self._numbers), *tf.unstack(tf.shape(x))])
        return self._forward(many, None)

    @tf.function(reduce_retracing=True)
    def epoch(self, x, y, orders, batch: int, decay: tf.Tensor) -> tf.Tensor:
        """Train for an epoch; orders int32 (G, N). Returns the mean loss of each member, (G,)."""
        count = orders.shape[1]
        losses = tf.zeros([len(self._numbers)])
        whole = count // batch
        for step in tf.range(whole):
            part = orders[:, step * batch : (step + 1) * batch]
            part = tf.ensure_shape(part, [len(self._numbers), batch])
            losses += batch * self._step(tf.gather(x, part), tf.gather(y, part), decay)
        if count % batch:
            part = orders[:, whole * batch :]
            losses += (count % batch) * self._step(tf.gather(x, part), tf.gather(y, part), decay)
        return losses / count

    def _step(self, x, y, decay) -> tf.Tensor:
        with tf.GradientTape() as tape:
            ranges = []
            errors = tf.reduce_mean((self._forward(x, ranges) - y) ** 2, axis=[1, 2])
            loss = tf.reduce_sum(errors)
        gradients = tape.gradient(loss, self.parameters)
        self.ranges.assign(tf.concat(ranges, axis=2))
        self.steps.assign_add(1.0)
        factor = 1 - tf.pow(_BETA_1, self.steps)
        for i, gradient in enumerate(gradients):
            w, m, v = self.parameters[i], self.moments[i], self.largest[i]
            if i % 2 == 0:
                gradient = gradient + decay * w
            m.assign_add((gradient - m) * (1 - _BETA_1))
            v.assign(tf.maximum(_BETA_2 * v, tf.abs(gradient)))
            w.assign_sub(self._rates * m / (factor * (v + _EPSILON)))
        return errors

    def _forward(self, x: tf.Tensor, ranges: list | None) -> tf.Tensor:
        """Outputs of samples (G, B, time, channels); `ranges`, if given, receives the new ones."""
        network = self.network
        x = self._rounded(x, 0, 0, ranges)
        place = 1
        reach = network.kernel // 2
        for layer, (_, units) in enumerate(self.shapes):
            convolution = layer < len(network.filters)
            if convolution:
                padded = tf.pad(x, [[0, 0], [0, 0], [reach, reach], [0, 0]])
                length = x.shape[2]
                taps = [padded[:, :, t : t + length] for t in range(network.kernel)]
                x = tf.concat(taps, axis=3)
            elif layer == len(network.filters):
                x = tf.reshape(x, [x.shape[0], tf.shape(x)[1], self.shapes[layer][0]])
            kernel = self._rounded_kernel(self.parameters[2 * layer], place, ranges)
            shape = tf.concat([tf.shape(x)[:-1], [units]], axis=0)
            flat = tf.reshape(x, [x.shape[0], -1, x.shape[-1]])
            x = tf.matmul(flat, kernel) + self.parameters[2 * layer + 1]
            if layer < len(self.shapes) - 1:
                x = tf.nn.relu(x)
            place += units
            x = self._rounded(x, place, 2, ranges)
            place += 1
            x = tf.reshape(x, shape)
            if convolution:
                x = tf.ensure_shape(x, [len(self._numbers), None, length, units])
                if layer == 0 and network.pool > 1:
                    x = _pooled(x, network.pool)
        return x

    def _rounded(self, x: tf.Tensor, place: int, which: int, ranges: list | None) -> tf.Tensor:
        """Inputs (which 0) or activations (2), one range per member."""
        axes = list(range(1, x.shape.rank))
        low, high = self.ranges[0, :, place], self.ranges[1, :, place]
        if ranges is not None:
            lowest, highest = tf.reduce_min(x, axes), tf.reduce_max(x, axes)
            low, high = _moved(low, high, lowest, highest, self._numbers[:, which])
            ranges.append(tf.stack([low, high])[:, :, None])
        shape = [-1] + [1] * (x.shape.rank - 1)
        return _fake_quantized(x, low, high, self._numbers[:, which], shape)

    def _rounded_kernel(self, kernel: tf.Tensor, place: int, ranges: list | None) -> tf.Tensor:
        """A kernel (G, inputs, units): a range per unit, or the first one for all of a member."""
        units = kernel.shape[2]
        numbers = np.repeat(self._numbers[:, 1], units, axis=0).reshape(-1, units, 5)
        per_channel = numbers[:, :1, 4].astype(bool)
        low = self.ranges[0, :, place : place + units]
        high = self.ranges[1, :, place : place + units]
        if ranges is not None:
            lowest, highest = tf.reduce_min(kernel, 1), tf.reduce_max(kernel, 1)
            lowest = tf.where(per_channel, lowest, tf.reduce_min(lowest, 1, keepdims=True))
            highest = tf.where(per_channel, highest, tf.reduce_max(highest, 1, keepdims=True))
            low, high = _moved(low, high, lowest, highest, numbers)
            ranges.append(tf.stack([low, high]))
        return _fake_quantized(kernel, low, high, numbers, [-1, 1, units])


def _pooled(x: tf.Tensor, pool: int) -> tf.Tensor:
    """The maximum of so many samples of (G, B, time, units); what is left over is dropped.

    By Keras's own operation: of equal values, of which rounding makes many, the first one counts.
    """
    flat = tf.nn.max_pool1d(tf.reshape(x, [-1, *x.shape[2:]]), pool, pool, "VALID")
    return tf.reshape(flat, [x.shape[0], -1, *flat.shape[1:]])


def _moved(low, high, lowest, highest, numbers: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Ranges after values from `lowest` to `highest`, as `loops` has them; numbers (..., 5)."""
    kind, bits, symmetric, narrow, _ = np.moveaxis(numbers, -1, 0)
    whole = 2.0**bits
    ratio = np.where(narrow, -1, -(whole - 2) / np.maximum(whole, 1)).astype(np.float32)
    ratio = np.where(kind == 0, -1, ratio).astype(np.float32)
    mirrored = tf.minimum(lowest, highest / ratio)
    balanced = tf.maximum(highest, mirrored * ratio)
    lowest = tf.where(symmetric == 1, mirrored, tf.minimum(lowest, 0.0))
    highest = tf.where(symmetric == 1, balanced, tf.maximum(highest, 0.0))
    averaged = low - (low - lowest) * _DECAY, high - (high - highest) * _DECAY
    widest = tf.minimum(low, tf.minimum(lowest, 0.0)), tf.maximum(high, tf.maximum(highest, 0.0))
    ends = zip(averaged, widest, (lowest, highest), (low, high), strict=True)
    low, high = (
        tf.where(kind == 1, a, tf.where(kind == 3, w, tf.where(kind == 2, last, before)))
        for a, w, last, before in ends
    )
    return tf.stop_gradient(low), tf.stop_gradient(high)


def _fake_quantized(x, low, high, numbers: np.ndarray, shape: Sequence[int]) -> tf.Tensor:
    """Values rounded within ranges, one for each of `numbers` (..., 5); straight through inside."""
    kind, bits, _, narrow, _ = np.moveaxis(numbers, -1, 0)
    if not kind.any():
        return x
    least = narrow.astype(np.float32)
    most = np.where(kind == 0, 1, 2.0**bits - 1).astype(np.float32)
    empty = tf.logical_and(low == 0.0, high == 0.0)
    step = tf.where(empty, 1.0, (high - low) / (most - least))
    zero = tf.clip_by_value(tf.floor(least - low / step + 0.5), least, most)
    low, high = (least - zero) * step, (most - zero) * step
    low, high, step = (tf.stop_gradient(tf.reshape(a, shape)) for a in (low, high, step))
    empty, off = tf.reshape(empty, shape), tf.reshape(kind == 0, shape)

    @tf.custom_gradient
    def rounded(values):
        inverse = 1 / step
        inside = tf.clip_by_value(values, low, high) - low
        codes = tf.floor(inside * inverse - tf.floor(-low * inverse + 0.5) + 0.5)
        found = tf.where(off, values, tf.where(empty, 0.0, codes * step))

        def gradient(slopes):
            passes = (values >= low) & (values <= high) | off | empty
            return tf.where(passes, slopes, 0.0)

        return found, gradient

    return rounded(x)


class _Run:
    """The training of a group, taken up where it was."""

    def __init__(self, members, training, validation, settings, history, kept: Checkpoint):
        self._members, self._settings, self._kept = members, settings, kept
        self._training, self._validation = training, validation
        count = settings.epochs if history else 0
        self._history = np.zeros((len(members), count, 2), np.float32)

    def run(self, progress: Progress) -> tuple:
        """Weights and ranges of each member, record and history."""
        (x, y), epochs = self._training, self._settings.epochs
        group = _Group(self._members, x.shape[1:], y.shape[1])
        variables = [
            *(*group.parameters, *group.moments, *group.largest),
            *(group.ranges, group.steps),
        ]
        best = [variable.numpy() for variable in (*group.parameters, group.ranges)]
        record = np.full((len(self._members), loops.RECORDED), np.inf)
        record[:, loops.BEST_EPOCH] = 0
        arrays, note = self._kept.read()
        epoch = note.get("epoch", 0)
        if note:
            *state, record, self._history = arrays
            best = state[len(variables) :]
            for variable, value in zip(variables, state, strict=False):
                variable.assign(value)
        progress(epoch * len(self._members))
        inputs, targets = tf.constant(x), tf.constant(y)
        decay = tf.constant(self._settings.weight_decay, tf.float32)
        orders = np.empty((len(self._members), len(x)), np.int64)
        saved = time.monotonic()
        while epoch < epochs:
            for member, order in zip(self._members, orders, strict=True):
                loops.shuffled(np.uint64(member.seed), epoch, order)
            batch = min(self._settings.batch, len(x))
            losses = group.epoch(inputs, targets, tf.constant(orders, tf.int32), batch, decay)
            self._judge(group, epoch, losses.numpy(), record, best)
            epoch += 1
            progress(len(self._members))
            if epoch == epochs or time.monotonic() - saved > _KEEP:
                state = [variable.numpy() for variable in variables]
                self._kept.write([*state, *best, record, self._history], {"epoch": epoch})
                saved = time.monotonic()
        *parameters, ranges = best
        count = len(self._members)
        weights = [
            [array[g].reshape(-1, array.shape[-1]) for array in parameters] for g in range(count)
        ]
        weights = [[a if i % 2 == 0 else a[0] for i, a in enumerate(own)] for own in weights]
        return weights, [ranges[:, g] for g in range(count)], record, self._history

    def _judge(self, group: _Group, epoch: int, losses, record, best: list[np.ndarray]) -> None:
        """Validate after an epoch; where it is the best one, remember the weights."""
        x, y = self._validation
        validation = np.full(len(losses), np.nan)
        if len(x):
            parts = [group.infer(x[at : at + _AT_ONCE]) for at in range(0, len(x), _AT_ONCE)]
            found = np.concatenate(parts, axis=1)
            validation = np.mean((found - y) ** 2, axis=(1, 2))
        if self._history.shape[1]:
            self._history[:, epoch, 0], self._history[:, epoch, 1] = losses, validation
        record[:, loops.LAST_LOSS], record[:, loops.LAST_VALIDATION] = losses, validation
        judged = validation if len(x) else losses
        better = judged < record[:, loops.BEST_VALIDATION]
        record[better, loops.BEST_EPOCH] = epoch + 1
        record[better, loops.BEST_VALIDATION] = judged[better]
        if better.any():
            for kept, variable in zip(best, group.parameters, strict=False):
                kept[better] = variable.numpy()[better]
            best[-1][:, better] = group.ranges.numpy()[:, better]
