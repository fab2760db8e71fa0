"""Makes the model files of the rehearsal class: python models.py FOLDER (half a minute).

Small networks that read drawn hands well enough for the rehearsal's floors, and files that claim to
be what they are not.
"""

import sys
from pathlib import Path

import numpy as np

from labkit import files, runtime

runtime.set_seed(0)  # which selects Keras 2 before TensorFlow is imported

import tensorflow as tf  # noqa: E402

from labkit.compress import post_training  # noqa: E402
from labkit.datasets import sign_mnist  # noqa: E402
from labkit.models import sign_cnn  # noqa: E402


def main(folder: Path) -> None:
    """Train, change, convert, write."""
    data = sign_mnist.synthesize(4000, 1, seed=0)
    model = sign_cnn.build()
    model.compile(tf.keras.optimizers.Adam(4e-3), "sparse_categorical_crossentropy")
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=6, verbose=0)
    images = data.representative(100)
    coarse = changed(model, four_bits)
    for layer in coarse.layers:  # the kernels stay on their codes
        layer.trainable = isinstance(layer, tf.keras.layers.BatchNormalization)
    coarse.compile(tf.keras.optimizers.Adam(4e-3), "sparse_categorical_crossentropy")
    coarse.fit(data.x_train, data.y_train, batch_size=64, epochs=2, verbose=0)
    content = {
        "float": post_training.convert(model, "float"),
        "int8": post_training.convert(model, "int8", images),
        "float16": post_training.convert(model, "float16"),
        "four_bits": post_training.convert(coarse, "float"),
    }
    small = changed(model, pruned)
    zeros = [np.asarray(w) == 0 for w in small.get_weights()]
    small.compile(tf.keras.optimizers.Adam(5e-4), "sparse_categorical_crossentropy")
    for start in range(0, len(data.x_train), 64):
        batch = slice(start, start + 64)
        small.train_on_batch(data.x_train[batch], data.y_train[batch])
        prune_again(small, zeros)
    content["pruned"] = post_training.convert(small, "int8", images)
    for name, model_file in content.items():
        files.write_bytes(folder / f"{name}.tflite", model_file)


def changed(model, change):
    """A copy whose kernels are changed."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights([change(w) if w.ndim > 1 else w for w in model.get_weights()])
    return copy


def four_bits(w):
    """Kernel (..., out) on 15 codes for each output channel."""
    scale = np.abs(w).max(axis=tuple(range(w.ndim - 1)), keepdims=True) / 7
    return np.round(w / scale) * scale


def pruned(w):
    """Kernel without its smaller half."""
    return np.where(np.abs(w) < np.median(np.abs(w)), 0, w)


def prune_again(model, zeros):
    """Set back to zero what a step of training has moved."""
    for variable, zero in zip(model.weights, zeros, strict=True):
        if variable.shape.rank > 1:
            variable.assign(tf.where(zero, 0.0, variable))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
