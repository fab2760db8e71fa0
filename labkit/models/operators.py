"""The layers that operators between tensors and functions of TensorFlow stand for, by name."""

from __future__ import annotations

#: By the name that Keras gives an operator: class and settings of the layer that computes the same,
#: and how many tensors it takes.
LAYERS: dict[str, tuple[str, dict, int]] = {
    "__operators__.add": ("Add", {}, 2),
    "math.add": ("Add", {}, 2),
    "math.subtract": ("Subtract", {}, 2),
    "math.multiply": ("Multiply", {}, 2),
    "math.maximum": ("Maximum", {}, 2),
    "math.minimum": ("Minimum", {}, 2),
    "nn.relu": ("ReLU", {}, 1),
    "nn.relu6": ("ReLU", {"max_value": 6.0}, 1),
    "nn.softmax": ("Softmax", {}, 1),
}
