"""The lab sheet's two rules for a network that every later technique can work on."""

from __future__ import annotations

import tensorflow as tf

from labkit.errors import LabkitError
from labkit.models.graph import Wiring

_ACTIVATIONS = (
    tf.keras.layers.Activation,
    tf.keras.layers.ReLU,
    tf.keras.layers.LeakyReLU,
    tf.keras.layers.ELU,
    tf.keras.layers.PReLU,
    tf.keras.layers.Softmax,
)


class RuleError(LabkitError):
    """A network that breaks one of the rules; the message names the layer and the remedy."""


def check(model: tf.keras.Model) -> None:
    """Check that a model has no customised layers, and normalises directly before activations.

    Source: CS/ECE 528 lab 3 (Fall 2021), Q1 (a), note.

    Raises:
        RuleError: naming the first layer that breaks a rule.
    """
    wiring = Wiring(model)
    for layer in model.layers:
        if _is_custom(layer):
            raise RuleError(
                f"Layer {layer.name!r} is a {type(layer).__name__}, a customised layer: not every "
                "optimisation knows it. Build it from standard Keras layers."
            )
        if isinstance(layer, tf.keras.Model):
            check(layer)
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            _check_followed_by_activation(layer, wiring)


def _is_custom(layer: tf.keras.layers.Layer) -> bool:
    package, _, module = type(layer).__module__.partition(".")
    # An operation on tensors, such as `2 * x`, becomes a layer of the module tf_op_layer.
    return (
        package not in ("tf_keras", "keras")
        or module.endswith("tf_op_layer")
        or isinstance(layer, tf.keras.layers.Lambda)
    )


def _check_followed_by_activation(
    layer: tf.keras.layers.BatchNormalization, wiring: Wiring
) -> None:
    followers = [follower for follower in wiring.behind(layer) if follower is not None]
    if followers and all(isinstance(f, _ACTIVATIONS) for f in followers):
        return
    found = ", ".join(f"{f.name!r} ({type(f).__name__})" for f in followers) or "nothing"
    raise RuleError(
        f"Batch normalisation {layer.name!r} is followed by {found}. Put it immediately before "
        "an activation layer (convolution without activation, normalisation, ReLU), so that it "
        "can be folded."
    )
