"""SqueezeNet v1.1, as published and sized for small images.

Source: Iandola et al., arXiv:1602.07360, and the authors' v1.1; Keras names and levels as in
P. J. Pereira Vieito, master's thesis (UPC and Università di Bologna, 2017), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from labkit import runtime, training
from labkit.datasets import Dataset, folders, image_folder
from labkit.training import Recipe, Schedule, Trained

#: (name, squeeze, expand) of the fire modules; each expands to 1x1 and 3x3 filters.
FIRES = (
    *(("fire2", 16, 64), ("fire3", 16, 64), ("fire4", 32, 128), ("fire5", 32, 128)),
    *(("fire6", 48, 192), ("fire7", 48, 192), ("fire8", 64, 256), ("fire9", 64, 256)),
)
#: What the published weights expect of an image.
PREPROCESSING = image_folder.CAFFE
#: Images up to this height keep their resolution in the first convolution, and pool 2x2.
SMALL = 64

#: A width other than 1 makes numbers of filters that are multiples of this: vector units like them.
MULTIPLE = 16

#: Names of the published weights in the folder of real data.
WEIGHTS = ("squeezenet_v1.1.npz", "squeezenet_v1.1.caffemodel")

_SMALL_NETWORK = {"batch_norm": True, "dropout": 0.0, "logits": "linear", "bypass": True}
#: The network for CIFAR-10, as options of `build`, and how it is trained from scratch.
NETWORK = {
    "quick": {**_SMALL_NETWORK, "width": 0.25, "modules": ["fire2", "fire4", "fire5", "fire6"]},
    "full": {**_SMALL_NETWORK, "width": 0.5},
}
_SCHEDULE = {
    "schedule": Schedule.TRIANGLE,
    "warm_up": 0.2,
    "optimizer": training.momentum_sgd,
    "weight_decay": 2e-4,
}
RECIPES = {
    "quick": Recipe(2, 0.05, batch=32, name="quick", **_SCHEDULE),
    "full": Recipe(10, 0.08, batch=64, name="full", **_SCHEDULE),
}

_POOL_BEFORE = {"fire2": "pool1", "fire4": "pool3", "fire6": "pool5"}


def build(
    input_shape: tuple[int, int, int] = (227, 227, 3),
    classes: int = 1000,
    width: float = 1.0,
    batch_norm: bool = False,
    dropout: float = 0.5,
    logits: str = "relu",
    bypass: bool = False,
    modules: Collection[str] | None = None,
) -> tf.keras.Model:
    """The network, untrained.

    Args:
        input_shape: height, width, channels. At 227x227x3 and full width it is SqueezeNet v1.1 with
            1,235,496 parameters for 1,000 classes; for images up to 64 pixels the first convolution
            has stride 1 and pooling is 2x2, or nothing would be left to see.
        classes: outputs, probabilities.
        width: factor on the filters of every layer but the last, rounded up to multiples of 16.
        batch_norm: normalise between convolution and activation, for a training from scratch;
            `folding.fold` makes of it the network without.
        dropout: share of what fire9 gives that is dropped in training.
        logits: activation of conv10. The published network has a ReLU there, which takes the
            gradient from every class whose map is negative: a training from scratch is faster
            with "linear".
        bypass: add its input to what a fire module gives where both have as many channels, fire3,
            fire5, fire7 and fire9 (the paper's simple bypass): signal and gradient get a way round.
        modules: names of the fire modules that there are; None for all eight.

    Source: thesis, code 4 and 5; the paper, figure 2 and section 6.
    """
    small = input_shape[0] <= SMALL

    def scaled(filters: int) -> int:
        return MULTIPLE * math.ceil(filters * width / MULTIPLE)

    images = x = tf.keras.Input(input_shape, name="images")
    stem = {"padding": "same"} if small else {"strides": 2}
    x = _convolution(x, scaled(64), 3, "conv1", batch_norm, **stem)
    for name, squeeze, expand in FIRES:
        if modules is not None and name not in modules:
            continue
        if name in _POOL_BEFORE:
            x = tf.keras.layers.MaxPooling2D(2 if small else 3, 2, name=_POOL_BEFORE[name])(x)
        y = fire(x, scaled(squeeze), scaled(expand), name, batch_norm)
        ways = [x, y] if bypass and x.shape == y.shape else []
        x = tf.keras.layers.Add(name=f"{name}/bypass")(ways) if ways else y
    x = tf.keras.layers.Dropout(dropout, name="drop9")(x)
    x = tf.keras.layers.Conv2D(
        classes, 1, activation=logits, kernel_initializer="he_uniform", name="conv10"
    )(x)
    x = tf.keras.layers.GlobalAveragePooling2D(name="pool10")(x)
    return tf.keras.Model(images, tf.keras.layers.Softmax(name="loss")(x), name="squeezenet")


def fire(x, squeeze: int, expand: int, name: str, batch_norm: bool = False):
    """A fire module: squeeze by 1x1, expand by 1x1 and by 3x3 side by side.

    Args:
        x: Keras tensor (N, height, width, channels).
        squeeze, expand: filters; the result has 2 · expand channels.
    """
    x = _convolution(x, squeeze, 1, f"{name}/squeeze1x1", batch_norm)
    sides = [
        _convolution(x, expand, size, f"{name}/expand{size}x{size}", batch_norm, padding="same")
        for size in (1, 3)
    ]
    return tf.keras.layers.Concatenate(name=f"{name}/concat")(sides)


def _convolution(x, filters: int, size: int, name: str, batch_norm: bool, **options):
    """Convolution and ReLU in one layer, or with a normalisation between the two."""
    if not batch_norm:
        return tf.keras.layers.Conv2D(
            filters, size, activation="relu", kernel_initializer="he_uniform", name=name, **options
        )(x)
    x = tf.keras.layers.Conv2D(
        filters, size, use_bias=False, kernel_initializer="he_uniform", name=name, **options
    )(x)
    x = tf.keras.layers.BatchNormalization(momentum=0.9, name=f"{name}/bn")(x)
    return tf.keras.layers.ReLU(name=f"{name}/relu")(x)


def find_weights() -> Path | None:
    """The published ImageNet weights in the folder of real data; None where they are not."""
    return next((p for p in (folders.real() / name for name in WEIGHTS) if p.exists()), None)


def baseline(
    dataset: Dataset, network: dict, recipe: Recipe, seed: int, folder: str | Path
) -> Trained:
    """The network for small images, trained with batch normalisation: loaded, or trained now.

    The weights and what they were trained on are kept in `folder`/baseline; a killed training goes
    on with its epoch.

    Args:
        dataset: standardised images (N, 32, 32, 3). Its test part is read after every epoch, which
            the history tells ("val_accuracy"): give `Dataset.holdout` where something is chosen by
            it.
        network: options of `build`, for example `NETWORK["full"]`.
        recipe: for example `RECIPES["full"]`.
        seed: of weights, order and augmentation.
    """
    runtime.set_seed(seed)
    model = build(dataset.x_train.shape[1:], len(dataset.class_names), **network)
    held = dataset.x_test, dataset.y_test
    batches = training.ArrayBatches(dataset.x_train, dataset.y_train, *held, batch=recipe.batch)
    options = {"network": network, "multiple": MULTIPLE}
    return training.fitted(
        folder,
        model,
        dataset,
        recipe,
        seed,
        batches=batches,
        validation=held,
        resume=True,
        **options,
    )
