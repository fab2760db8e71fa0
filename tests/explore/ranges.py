"""The ranges of a network of Keras and tfmot, by name."""

import numpy as np


def ranges_of(built):
    """Those of a model from `reference.model`: "inputs", "kernel 0", "activation 0" and so on."""
    named = {}
    for layer in built.layers:
        if layer.name == "inputs":
            low, high = (layer.quantizer_vars[f"{end}_var"].numpy() for end in ("min", "max"))
            named["inputs"] = np.array([low, high])
    for number, (_, _, ranges) in enumerate(built.kernels_and_ranges):
        for what, variables in ranges.items():
            named[f"{what} {number}"] = np.array([variable.numpy() for variable in variables])
    return named
