"""Pruning by magnitude and LookAhead: masks, schedules, training with `tfmot`, and filters."""

from labkit.compress.kernels import masked, prunable, sparsity_of, with_new_statistics
from labkit.compress.pruning.filters import mask_filters, remove_filters
from labkit.compress.pruning.lookahead import lookahead_scores
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
    layer_masks,
    layer_sparsities,
    prune,
    quantize_preserving,
    scores,
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
    "layer_masks",
    "layer_sparsities",
    "lookahead_scores",
    "magnitude_mask",
    "mask_filters",
    "masked",
    "n_of_m_mask",
    "polynomial_sparsity",
    "prunable",
    "prune",
    "quantize_preserving",
    "remove_filters",
    "scores",
    "sparsity_of",
    "strip",
    "with_new_statistics",
]
