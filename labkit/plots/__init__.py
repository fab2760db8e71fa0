"""The course's figures, in one style.

Every function returns a matplotlib figure; `show` displays it with its alternative text.
"""

from labkit.plots.classes import confusion, montage, windows
from labkit.plots.engine import energy, engine_job
from labkit.plots.front import front
from labkit.plots.metrics import (
    comparison,
    heat_map,
    history,
    lines,
    over_size,
    over_sparsity,
    phases,
)
from labkit.plots.style import COLORS, axes_of, bundle, show, style
from labkit.plots.tensors import (
    activation_ranges,
    centroids,
    limits,
    mask_patterns,
    quantization_steps,
    quantizer_values,
    rounded_values,
    weight_histogram,
)
from labkit.plots.tracks import designs, room, tracks

__all__ = [
    "COLORS",
    "activation_ranges",
    "axes_of",
    "bundle",
    "centroids",
    "comparison",
    "confusion",
    "designs",
    "energy",
    "engine_job",
    "front",
    "heat_map",
    "history",
    "limits",
    "lines",
    "mask_patterns",
    "montage",
    "over_size",
    "over_sparsity",
    "phases",
    "quantization_steps",
    "quantizer_values",
    "room",
    "rounded_values",
    "show",
    "style",
    "tracks",
    "weight_histogram",
    "windows",
]
