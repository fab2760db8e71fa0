"""The baseline of the sign-language labs: a small convolutional network that reads 24 letters.

Convolution, batch normalisation, ReLU, pooling, four times; global average pooling; one dense
layer. Each normalisation stands directly before its activation, so that it folds into the
convolution before it (Jacob et al., CVPR 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf
from tqdm.auto import tqdm

from labkit import runtime
from labkit.datasets import Dataset
from labkit.models import trained
from labkit.models.trained import Trained

FILTERS = (16, 32, 48, 64)
BATCH = {"quick": 64, "full": 128}
PEAK_LEARNING_RATE = 4e-3

#: Fixed in advance: a random split of the training file shares photographs between its parts, so
#: nothing can be selected on it, and the test file is for measuring alone.
EPOCHS = {"quick": 12, "full": 15}


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


def batches(dataset: Dataset, size: int, seed: int) -> tf.data.Dataset:
    """Shuffled and augmented training batches of an epoch, the same for the same seed."""
    images = tf.data.Dataset.from_tensor_slices((dataset.x_train, dataset.y_train))
    images = images.shuffle(len(dataset.x_train), seed=seed).batch(size, drop_remainder=True)
    # One call at a time and in order, so that the random numbers of a seed do not depend on timing.
    images = images.map(lambda x, y: (augment(x), y), num_parallel_calls=1, deterministic=True)
    return images.prefetch(2)


def train(
    model: tf.keras.Model,
    dataset: Dataset,
    profile: str = "full",
    seed: int = 0,
    *,
    epochs: int | None = None,
    learning_rate: float = PEAK_LEARNING_RATE,
    optimizer: Callable[..., tf.keras.optimizers.Optimizer] = tf.keras.optimizers.Adam,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Train in place, the learning rate falling to zero along a cosine.

    Args:
        model: from `build`, or a quantisation-aware copy of one.
        dataset: images (N, 28, 28, 1) in [0, 1] and classes (N,).
        profile: sets the number of epochs, unless `epochs` does.
        seed: of order and augmentation.
        epochs: instead of the profile's.
        learning_rate: at the start.
        optimizer: makes one from a schedule of the learning rate.
        callbacks: that a technique needs at each step, for example to move a pruning schedule on.

    Returns:
        "loss" and "accuracy" on the augmented training images, a value an epoch.
    """
    runtime.set_seed(seed)
    epochs = EPOCHS[profile] if epochs is None else epochs
    size = min(BATCH[profile], len(dataset.x_train))
    steps = len(dataset.x_train) // size
    schedule = tf.keras.optimizers.schedules.CosineDecay(learning_rate, steps * epochs)
    model.compile(
        optimizer(schedule),
        tf.keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    with tqdm(total=epochs, unit="epoch", disable=not runtime.interactive()) as bar:
        advance = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        images = batches(dataset, size, seed)
        called = [advance, *callbacks]
        history = model.fit(images, epochs=epochs, verbose=0, callbacks=called).history
    return {name: [float(v) for v in values] for name, values in history.items()}


def baseline(dataset: Dataset, profile: str, seed: int, folder: str | Path) -> Trained:
    """The trained baseline of a data set, profile and seed: loaded from `folder`, or trained.

    The weights and what they were trained on are kept in `folder`/baseline.
    """
    runtime.set_seed(seed)
    model = build()
    return trained.keep(
        Path(folder) / "baseline" / f"sign_cnn-{dataset.source}-{profile}-seed{seed}.npz",
        model,
        lambda: train(model, dataset, profile, seed),
        trained.provenance(
            dataset, profile, seed,
            epochs=EPOCHS[profile], batch=BATCH[profile], learning_rate=PEAK_LEARNING_RATE,
        ),
        seed,
    )  # fmt: skip
