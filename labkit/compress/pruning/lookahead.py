"""LookAhead pruning: a weight counts by what stands before and behind it, not by its size alone.

The score of a weight is the distortion that its removal causes in the linear block of its layer and
the layers next to it: |w| times the norm of what makes its input, times the norm of what reads its
output. Magnitude pruning is the same without the neighbours.

Source: S. Park, J. Lee, S. Mo & J. Shin, *Lookahead: a far-sighted alternative of magnitude-based
pruning*, ICLR 2020, section 2, with its variant for batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from labkit.compress.kernels import prunable
from labkit.models.graph import Layer, calls, flat, normalizes_channels

_L = tf.keras.layers
_PLAIN = (_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D)
_TRANSPOSED = (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose)
_DEPTHWISE = (_L.DepthwiseConv1D, _L.DepthwiseConv2D)
_SEPARABLE = (_L.SeparableConv1D, _L.SeparableConv2D)
#: Layers that leave every channel where it is. What they do to its values is not looked at.
_PASSING = (
    *(_L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU, _L.PReLU, _L.Softmax, _L.ThresholdedReLU),
    *(_L.Dropout, _L.GaussianDropout, _L.GaussianNoise, _L.AlphaDropout, _L.ActivityRegularization),
    *(_L.MaxPooling1D, _L.AveragePooling1D, _L.GlobalMaxPooling1D, _L.GlobalAveragePooling1D),
    *(_L.MaxPooling2D, _L.AveragePooling2D, _L.GlobalMaxPooling2D, _L.GlobalAveragePooling2D),
    *(_L.ZeroPadding1D, _L.ZeroPadding2D, _L.Cropping1D, _L.Cropping2D),
    *(_L.UpSampling1D, _L.UpSampling2D, _L.RepeatVector),
)
_SUMS = (_L.Add, _L.Subtract, _L.Average)
#: A neighbour that is all zero counts as this part of the largest one, in squares: a weight beside
#: it goes before all others, but is told from a weight that is zero itself.
_LEAST = 1e-12


def lookahead_scores(model: tf.keras.Model) -> dict[str, np.ndarray]:
    """Score of every prunable weight: |w| · ‖what makes its input‖ · ‖what reads its output‖.

    Norms are Frobenius norms of the filters, over all positions of a convolution and all rows of a
    dense layer behind a Flatten that belong to a channel. A normalisation directly behind a kernel
    multiplies by its |γ|/σ, and a depthwise convolution by the norm of its channel's kernel, since
    both scale channels one by one; activations, pooling and dropout are passed by, and so is a
    normalisation behind them: there σ is of what an activation lets through, and a unit that is
    dead, σ = 0, would count most. Several sources
    (sums, concatenations, a layer called twice) and several readers count by the root of the sum
    of squares. The network's inputs and outputs, and layers that are none of these, count as 1: a
    weight without neighbours has its magnitude for a score.

    Args:
        model: functional or sequential; of a nested one the names are those of `graph.flat`.

    Returns:
        float64, the kernel's shape, by name of the layer, for the kernels of `prunable`.

    Example:
        >>> model = tf.keras.Sequential([Dense(1, use_bias=False), Dense(1, use_bias=False)])
        >>> model.build((None, 2)); model.set_weights([[[3.0], [1.0]], [[2.0]]])
        >>> lookahead_scores(model)  # |w| * 2 in the first, |w| * sqrt(3² + 1²) in the second
        {'dense': array([[6.], [2.]]), 'dense_1': array([[6.32455532]])}
    """
    network = flat(model)
    before, behind = _neighbours(network)
    scores = {}
    for name, kernel in prunable(network).items():
        layer = network.get_layer(name)
        size = np.abs(_inputs_first(layer, kernel))
        groups = getattr(layer, "groups", 1)
        by_group = _alive(before[name]).reshape(groups, -1).T
        factors = np.repeat(by_group, size.shape[-1] // groups, axis=1) * _alive(behind[name])
        scores[name] = _inputs_first(layer, size * np.sqrt(factors))
    return scores


def _neighbours(network: tf.keras.Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Squared norms of what makes the inputs (in,), and of what reads the outputs (out,), by layer.

    One pass from the inputs to the outputs and one back, as in back-propagation: a layer with a
    kernel shows its own norms, everything else passes on what it gets.
    """
    made, read, steps = {}, {}, []
    before = {name: np.zeros(1) for name in prunable(network)}
    behind = dict(before)
    for layer, inputs, outputs in calls(network):
        arriving = [made.get(id(x), _ones(x)) for x in inputs]
        forward, back = _passed(layer, arriving, inputs, outputs)
        made.update((id(y), forward) for y in outputs)
        steps.append((layer, inputs, outputs, back))
        if layer.name in before:
            before[layer.name] = before[layer.name] + _at_kernel(layer, arriving[0])
    for output in network.outputs:
        read[id(output)] = _ones(output)
    for layer, inputs, outputs, back in reversed(steps):
        leaving = read.get(id(outputs[0]), np.zeros(1))
        for x, squares in zip(inputs, back(leaving), strict=True):
            read[id(x)] = read.get(id(x), 0) + squares
        if layer.name in behind:
            behind[layer.name] = behind[layer.name] + leaving
    return before, behind


def _passed(
    layer: Layer, arriving: list[np.ndarray], inputs: list, outputs: list
) -> tuple[np.ndarray, Callable[[np.ndarray], list[np.ndarray]]]:
    """What the layers behind a layer see of it, and what those before it see, both squared norms.

    Args:
        arriving: of each input (channels,), of what makes it.

    Returns:
        (channels,) of the output, of what makes it; and a function from what reads the output to
        what reads each input.
    """
    first, channels = arriving[0], outputs[0].shape[-1]
    if getattr(layer, "data_format", None) == "channels_first":
        return _unknown(inputs, outputs)
    if isinstance(layer, (*_PLAIN, *_SEPARABLE)):
        seen = _readers(layer)
        return _squares(layer).sum(axis=0), lambda leaving: [seen]
    if isinstance(layer, _DEPTHWISE):
        scales = _depthwise(layer)
        made = (first[:, None] * scales).ravel()
        return made, lambda leaving: [(leaving.reshape(scales.shape) * scales).sum(axis=1)]
    if normalizes_channels(layer):
        scale = _scale(layer, inputs[0])
        return first * scale, lambda leaving: [leaving * scale]
    if isinstance(layer, _PASSING):
        return first, lambda leaving: [leaving]
    if isinstance(layer, _SUMS) and {len(a) for a in arriving} == {channels}:
        part = 1 / len(inputs) ** 2 if isinstance(layer, _L.Average) else 1.0
        return part * sum(arriving), lambda leaving: [part * leaving] * len(inputs)
    if isinstance(layer, _L.Concatenate) and sum(map(len, arriving)) == channels:
        ends = np.cumsum([len(a) for a in arriving])[:-1]
        return np.concatenate(arriving), lambda leaving: np.split(leaving, ends)
    if isinstance(layer, (_L.Flatten, _L.Reshape)) and channels:
        # Positions lie side by side, or channels are taken apart, or all stays as it is.
        size = len(first)
        if channels % size == 0:
            made = np.tile(first, channels // size)
            return made, lambda leaving: [leaving.reshape(-1, size).sum(axis=0)]
        if size % channels == 0:
            made = first.reshape(-1, channels).sum(axis=0)
            return made, lambda leaving: [np.tile(leaving, size // channels)]
    return _unknown(inputs, outputs)


def _scale(norm: Layer, tensor) -> np.ndarray | float:
    """γ²/σ² of a normalisation that stands directly behind a kernel, and 1 anywhere else."""
    before = tensor._keras_history.layer
    linear = isinstance(before, (*_PLAIN, *_DEPTHWISE, *_SEPARABLE))
    if not linear or before.activation is not tf.keras.activations.linear:
        return 1.0
    gamma = norm.gamma.numpy() if norm.scale else 1.0
    return gamma**2 / (norm.moving_variance.numpy() + norm.epsilon)


def _unknown(inputs: list, outputs: list) -> tuple[np.ndarray, Callable]:
    """`_passed` of a layer that is not looked through."""
    return _ones(outputs[0]), lambda leaving: [_ones(x) for x in inputs]


def _inputs_first(layer: Layer, kernel) -> np.ndarray:
    """A kernel with its axes as (..., in, out), float64; and such a one as the layer has it."""
    kernel = np.asarray(kernel, np.float64)
    return np.swapaxes(kernel, -1, -2) if isinstance(layer, _TRANSPOSED) else kernel


def _squares(layer: Layer) -> np.ndarray:
    """Squared norms (in of a group, out) of a layer's connections."""
    kernel = layer.pointwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel
    kernel = _inputs_first(layer, kernel)
    return np.square(kernel).reshape(-1, *kernel.shape[-2:]).sum(axis=0)


def _readers(layer: Layer) -> np.ndarray:
    """Squared norms (in,) of what a layer has for each channel of its input."""
    squares = _squares(layer)
    groups = getattr(layer, "groups", 1)
    seen = squares.reshape(len(squares), groups, -1).sum(axis=2).T.ravel()
    if not isinstance(layer, _SEPARABLE):
        return seen
    scales = _depthwise(layer)
    return (seen.reshape(scales.shape) * scales).sum(axis=1)


def _at_kernel(layer: Layer, arriving: np.ndarray) -> np.ndarray:
    """What arrives at a layer's kernel: in a separable convolution, behind the depthwise one."""
    if isinstance(layer, _SEPARABLE):
        return (arriving[:, None] * _depthwise(layer)).ravel()
    return arriving


def _depthwise(layer: Layer) -> np.ndarray:
    """Squared norms (in, multiplier) of a depthwise kernel."""
    kernel = layer.depthwise_kernel.numpy().astype(np.float64)
    return np.square(kernel).reshape(-1, *kernel.shape[-2:]).sum(axis=0)


def _ones(tensor) -> np.ndarray:
    return np.ones(tensor.shape[-1] or 1)


def _alive(squares: np.ndarray) -> np.ndarray:
    """Squared norms, none of them zero."""
    return np.maximum(squares, _LEAST * squares.max() or 1.0)
