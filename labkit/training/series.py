"""Augmentation of series of three-axis sensors: worn a little askew, moved a little otherwise."""

from __future__ import annotations

import tensorflow as tf


def rotations(count: int | tf.Tensor, spread: float) -> tf.Tensor:
    """Random rotation matrices, float32 (count, 3, 3).

    Args:
        spread: standard deviation of the angle, radians; the axis has any direction.

    Source: Rodrigues' formula, R = I + sin θ K + (1 - cos θ) K², K v = axis × v.
    """
    axis = tf.math.l2_normalize(tf.random.normal([count, 3]), axis=1)
    angle = tf.random.normal([count, 1, 1], stddev=spread)
    x, y, z = tf.unstack(axis, axis=1)
    zero = tf.zeros_like(x)
    cross = tf.reshape(tf.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1), [-1, 3, 3])
    return tf.eye(3) + tf.sin(angle) * cross + (1 - tf.cos(angle)) * (cross @ cross)


def augment(
    series: tf.Tensor, rotation: float = 0.3, scale: float = 0.1, jitter: float = 0.02
) -> tf.Tensor:
    """Turn, scale and disturb a batch of series at random, each by its own.

    All sensors of a series turn by the same rotation, as when a device is worn askew. Rotation and
    scaling to a common size commute: the three axes of a sensor have to be in one unit, not
    standardised one by one.

    Args:
        series: float32 (N, time, 3 · sensors), the three axes of a sensor side by side.
        rotation: standard deviation of the angle, radians.
        scale: standard deviation of the factor around 1.
        jitter: standard deviation of what is added to every value.

    Example:
        >>> recipe = Recipe(epochs=20, augment=functools.partial(series.augment, rotation=0.2))
    """
    count, time, channels = tf.unstack(tf.shape(series))
    sensors = tf.reshape(series, [count, -1, 3])  # the axes of one sensor at one time
    turned = tf.reshape(
        tf.matmul(sensors, rotations(count, rotation), transpose_b=True), [count, time, channels]
    )
    factor = tf.random.normal([count, 1, 1], 1.0, scale)
    moved = turned * factor + tf.random.normal(tf.shape(series), stddev=jitter)
    return tf.ensure_shape(moved, series.shape)
