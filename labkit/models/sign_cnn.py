"""The baseline of the sign-language labs: a small convolutional network that reads 24 letters.

Convolution, batch normalisation, ReLU, pooling, four times; global average pooling; one dense
layer. Each normalisation stands directly before its activation, so that it folds into the
convolution before it (Jacob et al., CVPR 2018, section 3.2).
"""

from __future__ import annotations

import tensorflow as tf

from labkit.training import Recipe

FILTERS = (16, 32, 48, 64)


def build() -> tf.keras.Model:
    """An untrained network: input (28, 28, 1) in [0, 1], output 24 probabilities."""
    layers = tf.keras.layers
    inputs = x = layers.Input((28, 28, 1), name="image")
    for i, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.95, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i < len(FILTERS):
            x = layers.MaxPooling2D(name=f"pool{i}")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = layers.Dense(24, activation="softmax", name="letter")(x)
    return tf.keras.Model(inputs, outputs, name="sign_cnn")


def augment(images: tf.Tensor) -> tf.Tensor:
    """Turn, scale, shear, shift and relight a batch of images (N, 28, 28, 1) in [0, 1] at random.

    At most 11°, 12 %, 0.1, 3 pixels; the border repeats its last pixel.
    """
    count = tf.shape(images)[0]

    def uniform(limit):
        return tf.random.uniform([count], -limit, limit)

    angle, shear = uniform(0.2), uniform(0.1)
    scale_y = tf.exp(uniform(0.12))
    scale_x = scale_y * tf.exp(uniform(0.06))
    a, b = tf.cos(angle) * scale_x, -tf.sin(angle) * scale_y + shear
    c, d = tf.sin(angle) * scale_x, tf.cos(angle) * scale_y
    centre, zero = 13.5, tf.zeros(count)
    shift_x = centre - (a + b) * centre + uniform(3.0)
    shift_y = centre - (c + d) * centre + uniform(3.0)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=1),
        output_shape=[28, 28],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    contrast = tf.exp(uniform(0.25))[:, None, None, None]
    brightness = uniform(0.12)[:, None, None, None]
    return tf.clip_by_value((moved - 0.5) * contrast + 0.5 + brightness, 0.0, 1.0)


#: Fixed in advance: a random split of the training file shares photographs between its parts, so
#: nothing can be selected on it, and the test file is for measuring alone.
RECIPES = {
    "quick": Recipe(12, 4e-3, batch=64, augment=augment, name="quick"),
    "full": Recipe(15, 4e-3, batch=128, augment=augment, name="full"),
}
