"""Which weights go: masks by magnitude, by filter and by pattern, and scores across layers."""

from __future__ import annotations

import numpy as np


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Mask that is False for the smallest weights: unstructured (weight) pruning.

    Args:
        weights: of any shape.
        sparsity: part of the weights to be pruned, rounded to a whole number of them.

    Returns:
        bool, the shape of `weights`.

    Raises:
        ValueError: sparsity is not from 0 to 1.

    Example:
        >>> magnitude_mask(np.array([0.1, -0.5, 0.3, -0.2]), 0.5)
        array([False,  True,  True, False])

    Source: Han et al., *Learning both weights and connections*, NIPS 2015.
    """
    smallest = np.argsort(np.abs(weights), axis=None, kind="stable")
    mask = np.ones(np.size(weights), bool)
    mask[smallest[: _count(np.size(weights), sparsity)]] = False
    return mask.reshape(np.shape(weights))


def filter_mask(kernel: np.ndarray, sparsity: float, order: int = 1) -> np.ndarray:
    """Mask that is False for whole output channels, those of the smallest norm: filter pruning.

    Args:
        kernel: (..., in, out) of a convolution, or (in, out) of a dense layer, where an output
            channel is a neuron.
        sparsity: part of the output channels to be pruned; one is always left.
        order: 1 or 2, of the norm.

    Returns:
        bool, the shape of `kernel`.

    Raises:
        ValueError: sparsity is not from 0 to 1.

    Source: Li et al., *Pruning filters for efficient ConvNets*, ICLR 2017 (order 1).
    """
    norms = filter_norms(kernel, order)
    keep = magnitude_mask(norms, sparsity)
    keep[np.argmax(norms)] = True
    return np.broadcast_to(keep, np.shape(kernel)).copy()


def filter_norms(kernel: np.ndarray, order: int = 1) -> np.ndarray:
    """Norm (out,) of each output channel of a kernel (..., out)."""
    return np.linalg.norm(np.reshape(kernel, (-1, np.shape(kernel)[-1])), ord=order, axis=0)


def n_of_m_mask(kernel: np.ndarray, n: int = 2, m: int = 4) -> np.ndarray:
    """Mask that keeps the n largest of every m neighbours along the input axis: 2:4 sparsity.

    A group that the end of the axis cuts short keeps n of those it has: a convolution of a
    single-channel image stays dense.

    Args:
        kernel: (..., in, out).
        n: weights that are kept of each group.
        m: size of a group.

    Returns:
        bool, the shape of `kernel`.

    Raises:
        ValueError: not 0 < n <= m.

    Source: Mishra et al., *Accelerating sparse deep neural networks*, arXiv:2104.08378 (2021).
    """
    if not 0 < n <= m:
        raise ValueError(f"n of m is {n} of {m}, expected 0 < n <= m.")
    inputs_last = np.swapaxes(np.abs(kernel), -1, -2)
    short = -inputs_last.shape[-1] % m
    padding = [(0, 0)] * (inputs_last.ndim - 1) + [(0, short)]
    groups = np.pad(inputs_last, padding, constant_values=-1).reshape(-1, m)
    keep = np.zeros(groups.shape, bool)
    largest = np.argsort(-groups, axis=1, kind="stable")[:, :n]
    np.put_along_axis(keep, largest, True, axis=1)
    keep = keep.reshape(*inputs_last.shape[:-1], -1)[..., : inputs_last.shape[-1]]
    return np.ascontiguousarray(np.swapaxes(keep, -1, -2))


def _count(total: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is {sparsity}, expected a part from 0 to 1.")
    return round(sparsity * total)


def lamp_scores(weights: np.ndarray) -> np.ndarray:
    """How much of a layer each weight is, among those that are still there when its turn comes.

    The square of a weight divided by the sum of the squares of all that are not smaller. The
    largest has the score 1, whatever the layer's scale: scores of different layers can be
    compared, and a layer is never pruned away.

    Args:
        weights: a layer's kernel, any shape.

    Returns:
        float64, the same shape, in (0, 1] where a weight is not zero.

    Source: Lee et al., *Layer-adaptive sparsity for the magnitude-based pruning*, ICLR 2021,
    equation 4.
    """
    squares = np.square(np.ravel(weights).astype(np.float64))
    order = np.argsort(squares, kind="stable")
    not_smaller = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros(squares.size)
    scores[order] = squares[order] / np.maximum(not_smaller, np.finfo(float).tiny)
    return scores.reshape(np.shape(weights))
