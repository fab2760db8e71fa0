"""QuantNET, the network of the lab on significant layers: two convolutions and three dense layers.

Source: Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices*
(IIT Madras, 2022), section 3.2 and table 4.1. The text mentions no pooling, but the 534,416
parameters of its table 4.5 for the first dense layer are a misprint of 524,416 = 4,096 · 128 + 128,
and 4,096 inputs are what two poolings leave of 32 × 32 × 64.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from labkit.training import mirrored_and_shifted, recipes


def build(
    filters: Sequence[int] = (32, 64),
    units: Sequence[int] = (128, 16),
    dropout: float = 0.1,
    classes: int = 2,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    name: str = "quantnet",
) -> tf.keras.Model:
    """An untrained network: 545,889 parameters, nearly all of them in the first dense layer.

    Args:
        filters: of the convolutions.
        units: of the dense layers before the last one.
        dropout: behind each convolution.
        classes: two are told apart by one output, the probability of the second class; more by as
            many outputs.
        input_shape: of images in [0, 1].
    """
    layers = tf.keras.layers
    inputs = x = layers.Input(input_shape, name="image")
    options = {"activation": "relu", "kernel_initializer": "he_normal"}
    for i, width in enumerate(filters, start=1):
        x = layers.Conv2D(width, 3, padding="same", name=f"conv{i}", **options)(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
        x = layers.Dropout(dropout, name=f"drop{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, width in enumerate(units, start=1):
        x = layers.Dense(width, name=f"linear{i}", **options)(x)
    ends = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    outputs = layers.Dense(*ends, kernel_initializer="glorot_normal", name="output")(x)
    return tf.keras.Model(inputs, outputs, name=name)


#: For `Lab.trained`, of two classes. The thesis has a rate of 0.001 for up to 100 epochs, and no
#: augmentation. The rate rises first: at 0.002 from the first step on all ReLUs of the last layers
#: died with one of three seeds on real cats and dogs, and the network guessed to its end.
RECIPES = recipes(
    *(8, 24, 1e-3),
    batch=64,
    warm_up=0.1,
    loss="binary_crossentropy",
    augment=mirrored_and_shifted,
)
