"""The course's figures, in one style.

Every function returns a matplotlib figure; `show` displays it with its alternative text.
"""

from labkit.plots.accuracy import (
    accuracy_over_size,
    accuracy_over_sparsity,
    comparison,
    history,
    lines,
    phases,
)
from labkit.plots.classes import confusion, montage
from labkit.plots.engine import energy, engine_job
from labkit.plots.front import front
from labkit.plots.style import COLOURS, bundle, show, style
from labkit.plots.tensors import (
    activation_ranges,
    centroids,
    levels,
    limits,
    mask_patterns,
    quantisation_steps,
    rounded_values,
    weight_histogram,
)

__all__ = [
    "COLOURS",
    "accuracy_over_size",
    "accuracy_over_sparsity",
    "activation_ranges",
    "bundle",
    "centroids",
    "comparison",
    "confusion",
    "energy",
    "engine_job",
    "front",
    "history",
    "levels",
    "limits",
    "lines",
    "mask_patterns",
    "montage",
    "phases",
    "quantisation_steps",
    "rounded_values",
    "show",
    "style",
    "weight_histogram",
]
