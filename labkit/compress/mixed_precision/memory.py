"""What the weights of a network in mixed precision cost, in bits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit.compress.mixed_precision.layers import FLOAT
from labkit.compress.mixed_precision.network import Plan, checked, plan_of
from labkit.models import graph


def memory(model: tf.keras.Model, plan: Plan | None = None) -> pd.DataFrame:
    """Bits of all weights, by layer.

    The thesis counts biases at the width of the weights, and no scales ("an empirical calculation
    using the parameter count and precisions"): its ratios are those of "published (bits)".
    "size (bits)" is what has to be stored: biases and everything else but the weights in floating
    point, and the scales.

    Args:
        model: any network; or one from `quantize`, with its own plan.
        plan: of its layers, which is applied for the counting alone.

    Returns:
        a row per layer with weights: "weights" (of the kernel), "others" (biases, normalisation and
        the like), "bits of a weight", "scales", "size (bits)", "published (bits)", and "size at 32
        bits (bits)".

    Raises:
        CompressionError: a layer or a precision that there is not.

    Example:
        >>> table = memory(quantnet.build(), {"conv2": 1, "linear1": 2, "linear2": 2})
        >>> reduction(table, "published (bits)")
        15.87...

    Source: the thesis, table 4.7.
    """
    model = graph.flat(model)
    plan = plan_of(model) if plan is None else checked(model, plan)
    rows = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        precision = plan.get(layer.name)
        bits = FLOAT if precision is None else precision.weights
        count = layer.count_params()
        weights = int(tf.size(layer.kernel)) if hasattr(layer, "kernel") else 0
        scales = 0
        if precision is not None:
            scales = layer.kernel.shape[-1] if precision.scale == "channel" else 1
        rows[layer.name] = {
            "weights": weights,
            "others": count - weights,
            "bits of a weight": bits,
            "scales": scales,
            "size (bits)": weights * bits + (count - weights + scales) * FLOAT,
            "published (bits)": count * bits,
            "size at 32 bits (bits)": count * FLOAT,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def reduction(table: pd.DataFrame, size: str = "size (bits)") -> float:
    """How many times smaller a network is than at 32 bits.

    Args:
        table: from `memory`.
        size: the column that is counted.
    """
    return float(np.divide(*table[["size at 32 bits (bits)", size]].sum()))
