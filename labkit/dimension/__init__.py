"""Intrinsic dimension: how many numbers it takes to say where points lie.

By principal components, which see straight subspaces alone, and by the two nearest neighbours of
each point, which see curved ones too. The points are any: images, or what a layer makes of them.
"""

from labkit.dimension.neighbours import DimensionError, distinct, two_nearest
from labkit.dimension.principal import Covariance, components, explained
from labkit.dimension.two_nn import (
    BIAS,
    ESTIMATORS,
    DimensionWarning,
    Estimate,
    decimation,
    estimate,
    two_nn,
)

__all__ = [
    "BIAS",
    "ESTIMATORS",
    "Covariance",
    "DimensionError",
    "DimensionWarning",
    "Estimate",
    "components",
    "decimation",
    "distinct",
    "estimate",
    "explained",
    "two_nearest",
    "two_nn",
]
