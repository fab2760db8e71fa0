"""Two networks to compare with: BasicNet and LeNet.

Source: P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), section 3.3.2,
which gives their layers in words and their sizes, 17 MB and 5 MB in float32; LeNet after LeCun et
al., Proceedings of the IEEE, 1998, in the widths that this size belongs to.
"""

from __future__ import annotations

import tensorflow as tf


def basicnet(input_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10) -> tf.keras.Model:
    """Two convolutions, pooling in the middle, two dense layers: easy to train, and huge.

    4,210,090 parameters for 32x32x3 and ten classes, nearly all in the first dense layer.
    """
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input(input_shape, name="images"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(512, activation="relu", name="dense1"),
            layers.Dropout(0.5, name="drop1"),
            layers.Dense(classes, name="dense2"),
            layers.Softmax(name="loss"),
        ],
        name="basicnet",
    )


def lenet(input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> tf.keras.Model:
    """Two 5x5 convolutions with pooling after each, two dense layers.

    1,256,080 parameters for 28x28x1 and ten classes.
    """
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input(input_shape, name="images"),
            layers.Conv2D(20, 5, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(50, 5, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(500, activation="relu", name="dense1"),
            layers.Dense(classes, name="dense2"),
            layers.Softmax(name="loss"),
        ],
        name="lenet",
    )
