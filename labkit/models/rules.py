"""The lab sheet's two rules for a network that every later technique can work on."""

from __future__ import annotations

import tensorflow as tf

_ACTIVATIONS = (
    tf.keras.layers.Activation,
    tf.keras.layers.ReLU,
    tf.keras.layers.LeakyReLU,
    tf.keras.layers.ELU,
    tf.keras.layers.PReLU,
    tf.keras.layers.Softmax,
)


class RuleError(ValueError):
    """A network that breaks one of the rules; the message names the layer and the remedy."""


def check(model: tf.keras.Model) -> None:
    """Check that a model has no customised layers, and normalises directly before activations.

    Source: CS/ECE 528 lab 3 (Fall 2021), Q1 (a), note.

    Raises:
        RuleError: naming the first layer that breaks a rule.
    """
    for layer in model.layers:
        package = type(layer).__module__.partition(".")[0]
        if package not in ("tf_keras", "keras") or isinstance(layer, tf.keras.layers.Lambda):
            raise RuleError(
                f"Layer {layer.name!r} is a {type(layer).__name__}, a customised layer: the "
                "converters do not know it. Build it from standard Keras layers."
            )
        if isinstance(layer, tf.keras.Model):
            check(layer)
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            _check_followed_by_activation(layer)


def _check_followed_by_activation(layer: tf.keras.layers.BatchNormalization) -> None:
    followers = [node.outbound_layer for node in layer.outbound_nodes]
    if followers and all(isinstance(f, _ACTIVATIONS) for f in followers):
        return
    found = ", ".join(f"{f.name!r} ({type(f).__name__})" for f in followers) or "nothing"
    raise RuleError(
        f"Batch normalisation {layer.name!r} is followed by {found}. Put it immediately before "
        "an activation layer (convolution without activation, normalisation, ReLU), so that it "
        "can be folded."
    )
