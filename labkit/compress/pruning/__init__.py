"""Magnitude pruning: masks, the schedule, training with `tfmot`, and filters taken out for good."""

from labkit.compress.kernels import masked, prunable, sparsity_of, with_new_statistics
from labkit.compress.pruning.filters import mask_filters, remove_filters
from labkit.compress.pruning.masks import (
    filter_mask,
    filter_norms,
    lamp_scores,
    magnitude_mask,
    n_of_m_mask,
)
from labkit.compress.pruning.network import (
    by_layer,
    callbacks,
    layer_sparsities,
    prune,
    quantize_preserving,
    strip,
)
from labkit.compress.pruning.schedule import PRUNING_PART, polynomial_sparsity

__all__ = [
    "PRUNING_PART",
    "by_layer",
    "callbacks",
    "filter_mask",
    "filter_norms",
    "lamp_scores",
    "layer_sparsities",
    "magnitude_mask",
    "mask_filters",
    "masked",
    "n_of_m_mask",
    "polynomial_sparsity",
    "prunable",
    "prune",
    "quantize_preserving",
    "remove_filters",
    "sparsity_of",
    "strip",
    "with_new_statistics",
]
