"""MetaQuant: training with quantised weights, where a network learns the quantiser's derivative.

A quantiser is a staircase: its derivative is zero or not there. The straight-through estimator
(STE) puts 1 in its place. MetaQuant puts there what a small network, the same for all weights, has
learned, and trains that network by what its answer did to the loss: the gradient that it gives
moves the weights, and the loss of the *next* step, at the moved weights, says how it should have
been.

For latent weights W of a layer:

- W̃ = A(W), a range that suits the quantiser, and Ŵ = Q(W̃), what the network computes with;
- g = ∂loss/∂Ŵ, from ordinary back-propagation;
- the weights move by g · f(W̃) · ∂A/∂W, where f is the derivative that the backward gives.

Source: S. Chen, W. Wang & S. J. Pan, *MetaQuant: learning to quantize by learning to penetrate
non-differentiable quantization*, NeurIPS 2019, section 3, and the code published with it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import training
from labkit.compress.forwards import FORWARDS, Forward
from labkit.compress.kernels import CompressionError, prunable
from labkit.models.graph import copy_of
from labkit.training import Recipe

#: Width of the meta networks' layers, and the rate of their Adam, as in the paper.
HIDDEN, META_RATE = 100, 1e-3


class StraightThrough:
    """f = 1 where |W̃| ≤ 1, and 0 elsewhere; nothing is learned.

    Args:
        count: weights that it serves.
        seed: of the meta network's beginning.
        hidden: width of the meta network.

    Attributes:
        variables: φ, what is learned.
        state: what a meta network with a memory remembers of each weight.
    """

    def __init__(self, count: int, seed: int = 0, hidden: int = HIDDEN):
        self.variables: list[tf.Variable] = []
        self.state: list[tf.Variable] = []

    def __call__(self, prepared: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """f of W̃, both (count,), and the state afterwards."""
        return tf.cast(tf.abs(prepared) <= 1, prepared.dtype), []


class FCGrad(StraightThrough):
    """Dense layers over the gradient, without biases and activations: f = c, one learned number.

    It is a learned factor of the learning rate. It begins at random, and may begin below zero.
    """

    layers = 2

    def __init__(self, count: int, seed: int = 0, hidden: int = HIDDEN):
        super().__init__(count)
        random = np.random.default_rng(seed)
        sizes = [1, *[hidden] * (self.layers - 1), 1]
        self.variables = [_uniform(random, (a, b), a) for a, b in itertools.pairwise(sizes)]

    @property
    def factor(self) -> tf.Tensor:
        """c, the product of the layers' matrices."""
        product = self.variables[0]
        for matrix in self.variables[1:]:
            product = product @ matrix
        return product[0, 0]

    def __call__(self, prepared: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """f of W̃, both (count,), and the state afterwards."""
        return self.factor * tf.ones_like(prepared), []


class MultiFC(FCGrad):
    """Three dense layers over the weight, without biases and activations: f = c · W̃.

    With a W̃ that has both signs, as BWN's, it pushes half of the weights uphill, whatever c is.
    """

    layers = 3

    def __call__(self, prepared: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """f of W̃, both (count,), and the state afterwards."""
        return self.factor * prepared, []


class LSTMFC(StraightThrough):
    """f from a dense layer on an LSTM, which has a state of its own for each weight of the network.

    A step of training is a step of the LSTM; the loss goes back through the last one.
    """

    def __init__(self, count: int, seed: int = 0, hidden: int = HIDDEN):
        super().__init__(count)
        random = np.random.default_rng(seed)
        shapes = ((1, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,), (hidden, 1), (1,))
        self.variables = [_uniform(random, shape, hidden) for shape in shapes]
        self.state = [tf.Variable(tf.zeros((count, hidden)), trainable=False) for _ in range(2)]

    def __call__(self, prepared: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """f of W̃, both (count,), and the state afterwards."""
        of_input, of_output, bias, last, last_bias = self.variables
        output, cell = self.state
        gates = prepared[:, None] * of_input + output @ of_output + bias
        enter, forget, candidate, leave = tf.split(gates, 4, axis=1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(enter) * tf.tanh(candidate)
        output = tf.sigmoid(leave) * tf.tanh(cell)
        return (output @ last + last_bias)[:, 0], [output, cell]


BACKWARDS = {"ste": StraightThrough, "fcgrad": FCGrad, "multifc": MultiFC, "lstmfc": LSTMFC}


class QuantizedTraining(tf.keras.Model):
    """Trains a copy of a network with quantised weights; compile and fit it as any Keras model.

    Evaluated, it computes with the quantised weights.

    Args:
        model: a trained network, or an untrained one; it is not changed.
        forward: one of `FORWARDS`, or a `Forward` of your own.
        bits: of a weight.
        backward: "ste", "fcgrad", "multifc" or "lstmfc".
        leave: names of layers that stay in floating point.
        seed: of the meta network's beginning.
        hidden: width of the meta network.

    Attributes:
        network: the copy, with its latent weights.
        kernels: that are quantised, by name of the layer.
        backward: the derivative.
        meta_optimizer: of the meta network: Adam at 1e-3.

    Raises:
        CompressionError: an unknown forward, backward or layer, bits that the forward does not
            have, or nothing to quantise.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        forward: str | Forward = "dorefa",
        bits: int = 1,
        backward: str = "ste",
        *,
        leave: Collection[str] = (),
        seed: int = 0,
        hidden: int = HIDDEN,
    ):
        super().__init__(name="quantized_training")
        self.quantiser = forward if isinstance(forward, Forward) else _of(FORWARDS, forward)(bits)
        self.network = copy_of(model)
        self.kernels = _kernels(self.network, leave)
        self._sizes = [int(tf.size(kernel)) for kernel in self.kernels.values()]
        count = sum(self._sizes)
        self.backward = _of(BACKWARDS, backward)(count, seed, hidden)
        self.meta_optimizer = tf.keras.optimizers.Adam(META_RATE, epsilon=1e-8)
        self.meta_optimizer.build(self.backward.variables)
        # Of the step before: W̃, and what f was multiplied by to make the weights' gradient.
        self._prepared = tf.Variable(tf.zeros(count), trainable=False)
        self._multiplied = tf.Variable(tf.zeros(count), trainable=False)
        self.built = True  # the network is: its inputs are whatever it takes

    @contextlib.contextmanager
    def _with_quantized_weights(self):
        latent = [tf.identity(kernel) for kernel in self.kernels.values()]
        for kernel in self.kernels.values():
            kernel.assign(self.quantiser.quantise(kernel))
        yield latent
        for kernel, weights in zip(self.kernels.values(), latent, strict=True):
            kernel.assign(weights)

    def call(self, inputs, training=None):
        """The network with its quantised weights."""
        with self._with_quantized_weights():
            return self.network(inputs, training=training)

    def train_step(self, data):
        """One step: of the meta network, by what the step before did, and of the weights."""
        x, y, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        with self._with_quantized_weights() as latent, tf.GradientTape() as tape:
            outputs = self.network(x, training=True)
            loss = self.compute_loss(x, y, outputs, weights)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        gradients = {v.ref(): g for v, g in zip(variables, gradients, strict=True)}
        prepared, slopes = zip(*map(self.quantiser.prepare, latent), strict=True)
        prepared = _line(prepared)
        multiplied = _line(slopes) * _line(
            gradients.get(kernel.ref(), tf.zeros_like(kernel))  # zeros of a layer that is frozen
            for kernel in self.kernels.values()
        )
        self._learn(multiplied)
        derivative, _ = self.backward(prepared)
        parts = tf.split(derivative * multiplied, self._sizes)
        for kernel, part in zip(self.kernels.values(), parts, strict=True):
            gradients[kernel.ref()] = tf.reshape(part, kernel.shape)
        self.optimizer.apply_gradients([(gradients[v.ref()], v) for v in variables])
        self._prepared.assign(prepared)
        self._multiplied.assign(multiplied)
        metrics = self.compute_metrics(x, y, outputs, weights)
        return metrics | {"derivative": tf.reduce_mean(derivative)}

    def _learn(self, gradient: tf.Tensor) -> None:
        """A step of the meta network.

        The weights are W - rate · f(W̃) · m, of the W, W̃ and m of the step before: the loss depends
        on φ by -rate · m · gradient · ∂f/∂φ. The gradient at the moved weights is taken straight
        through the quantiser, and what Adam made of the step counts as a constant, as in the
        published code.

        Args:
            gradient: of the loss by the latent weights, straight through, (count,).
        """
        if not self.backward.variables:
            return
        rate = tf.cast(self.optimizer.learning_rate, tf.float32)
        with tf.GradientTape() as tape:
            derivative, state = self.backward(self._prepared)
        by_phi = tape.gradient(
            derivative, self.backward.variables, -rate * self._multiplied * gradient
        )
        for variable, value in zip(self.backward.state, state, strict=True):
            variable.assign(value)
        self.meta_optimizer.apply_gradients(zip(by_phi, self.backward.variables, strict=True))

    def quantized(self) -> tf.keras.Model:
        """A plain copy of the network whose kernels have their quantised values."""
        copy = copy_of(self.network)
        kernels = prunable(copy)
        for name, kernel in self.kernels.items():
            kernels[name].assign(self.quantiser.quantise(kernel))
        return copy


def train(
    model: tf.keras.Model,
    data,
    recipe: Recipe,
    seed: int = 0,
    *,
    forward: str | Forward = "dorefa",
    bits: int = 1,
    backward: str = "ste",
    leave: Collection[str] = (),
    hidden: int = HIDDEN,
    validation=None,
) -> tuple[tf.keras.Model, pd.DataFrame]:
    """Train a copy of a network with quantised kernels; biases and normalisations stay as they are.

    Args:
        model: functional or sequential, trained or not; it is not changed.
        data: as `training.fit` takes it.
        recipe: its optimizer moves the weights; the paper has SGD or Adam at 1e-3, a batch of 128,
            and `Schedule.STEPS`.
        seed: of order, augmentation, and the meta network's beginning.
        forward: one of `FORWARDS`, or a `Forward` of your own.
        bits: of a weight: 1 to 8, of BWN 1.
        backward: "ste", or a meta network: "fcgrad", "multifc" or "lstmfc".
        leave: names of layers that stay in floating point.
        hidden: width of the meta network.
        validation: as `training.fit` takes it; measured with the quantised weights.

    Returns:
        The plain model with quantised values in its kernels, for `post_training.convert`; and a row
        an epoch: "loss", the recipe's metrics, and "derivative", the mean over all weights of the
        derivative that the backward gave in the epoch's last step.

    Raises:
        CompressionError: an unknown forward, backward or layer, or bits that the forward has not.
        TrainingError: data that cannot be trained with.

    Example:
        >>> recipe = Recipe(20, 1e-3, optimizer=tf.keras.optimizers.SGD, schedule="steps")
        >>> quantised, history = train(model, data, recipe, backward="fcgrad")
    """
    quantised = QuantizedTraining(
        model, forward, bits, backward, leave=leave, seed=seed, hidden=hidden
    )
    history = training.fit(quantised, data, recipe, seed, validation=validation)
    return quantised.quantized(), pd.DataFrame(history)


def _of(table: dict, name: str):
    if name not in table:
        raise CompressionError(f"there is no {name!r}, only {', '.join(table)}.")
    return table[name]


def _kernels(network: tf.keras.Model, leave: Collection[str]) -> dict[str, tf.Variable]:
    kernels = prunable(network)
    if unknown := sorted(set(leave) - set(kernels)):
        raise CompressionError(
            f"{unknown[0]!r} has no kernel to be left in floating point; these have: "
            f"{', '.join(kernels)}."
        )
    if not set(kernels) - set(leave):
        raise CompressionError(f"nothing of {network.name!r} is left to be quantised.")
    return {name: kernel for name, kernel in kernels.items() if name not in leave}


def _line(tensors) -> tf.Tensor:
    """Tensors one after the other, (count,)."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def _uniform(random: np.random.Generator, shape: tuple[int, ...], inputs: int) -> tf.Variable:
    """As PyTorch begins: evenly from -1/√inputs to 1/√inputs."""
    return tf.Variable(random.uniform(-1, 1, shape) / np.sqrt(inputs), dtype=tf.float32)
