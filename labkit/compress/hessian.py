"""How sharply the loss bends along the weights of a layer: the trace of its Hessian, estimated.

Source: Z. Dong et al., *HAWQ-V2: Hessian aware trace-weighted quantization of neural networks*,
NeurIPS 2020 (arXiv:1911.03852).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm.auto import tqdm

from labkit import runtime
from labkit.compress.kernels import CompressionError, prunable
from labkit.models.graph import copy_of


def mean_traces(
    model: tf.keras.Model,
    data: tuple,
    loss: object,
    *,
    draws: int = 50,
    batch: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of the Hessian's diagonal over the kernel of each layer, by Hutchinson's estimator.

    For a vector v of random signs the mean of vᵀHv is the trace of H; Hv is the gradient of vᵀg, g
    being the gradient of the loss. One v for all layers: their cross terms have the mean zero.

    Args:
        model: a trained network; it is not changed.
        data: (inputs, targets), arrays or structures of them as the model takes them.
        loss: as Keras's `compile` takes it; its mean over the data is what bends.
        draws: of v.
        batch: samples at a time; the result does not depend on it.
        seed: of v.

    Returns:
        a row per convolution or dense layer: "mean trace", its standard error "±" over the draws,
        and "weights", their number.

    Raises:
        CompressionError: fewer than two draws, or no samples.

    Source: M. Hutchinson, Communications in Statistics 18, 1989; Dong et al.
    """
    x, y = data
    count = len(tf.nest.flatten(x)[0])
    if draws < 2 or not count:
        raise CompressionError(f"{draws} draws on {count} samples, expected 2 or more on some.")
    copy = copy_of(model)
    copy.compile(loss=loss)
    kernels = prunable(copy)
    variables = list(kernels.values())

    @tf.function(reduce_retracing=True)
    def products(x, y, vectors):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                value = copy.compute_loss(x, y, copy(x, training=False))
            gradients = inner.gradient(value, variables, unconnected_gradients="zero")
            pairs = zip(gradients, vectors, strict=True)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in pairs])
        bent = outer.gradient(along, variables, unconnected_gradients="zero")
        return [tf.reduce_sum(h * v) for h, v in zip(bent, vectors, strict=True)]

    random, traces = np.random.default_rng(seed), np.zeros((draws, len(variables)))
    for draw in tqdm(range(draws), "Hessian", leave=False, disable=not runtime.interactive()):
        vectors = [tf.constant(random.choice([-1.0, 1.0], v.shape), v.dtype) for v in variables]
        for start in range(0, count, batch):
            part = slice(start, min(start + batch, count))
            pieces = tf.nest.map_structure(lambda a, part=part: tf.constant(a[part]), (x, y))
            share = (part.stop - part.start) / count
            traces[draw] += share * np.array(products(*pieces, vectors))
    sizes = np.array([int(tf.size(variable)) for variable in variables])
    return pd.DataFrame(
        {
            "mean trace": traces.mean(axis=0) / sizes,
            "±": traces.std(axis=0, ddof=1) / np.sqrt(draws) / sizes,
            "weights": sizes,
        },
        index=pd.Index(list(kernels), name="layer"),
    )
