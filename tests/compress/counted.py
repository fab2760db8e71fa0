"""What a test counts in a network."""

import numpy as np

from labkit.compress.kernels import prunable


def clusters_of(model):
    """Number of different values in each kernel of a plain model, by name of the layer."""
    return {name: len(np.unique(kernel)) for name, kernel in prunable(model).items()}
