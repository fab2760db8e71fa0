"""Hands that nobody has seen, on which a grader measures networks for Sign Language MNIST.

Synthetic hands are drawn anew with a secret seed. The real data set is public, its test images too:
they are shown turned, scaled, shifted and lit a little differently, so that a file that looks
memorised images up does not find them.
"""

from __future__ import annotations

import numpy as np

from labkit.datasets import DataError, hands, sign_mnist

find, load = sign_mnist.SOURCE.found, sign_mnist.SOURCE.load

#: Of an image.
SHAPE = (28, 28, 1)
#: What the samples are.
SAMPLES = "images"
#: A model file reads them divided by it.
SCALE = 255
#: What becomes of each real image.
CHANGES = "each turned, scaled, shifted and lit a little differently"


def real(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` real test images, perturbed: uint8 (N, 28, 28, 1), and classes, int64 (N,).

    Args:
        seed: integers; the same ones, the same images.

    Raises:
        DataError: the real data is missing or damaged.
    """
    x, y = load("real").of_test(count, seed)
    images = perturbed(x, np.random.default_rng(seed))
    return images, y


def synthetic(count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """`count` hands drawn from the seed: uint8 (count, 28, 28, 1), and classes, int64 (count,).

    Args:
        seed: at least four integers 0..255.
    """
    classes = np.arange(count) % len(sign_mnist.CLASS_NAMES)
    number = far_seed(seed)
    images = hands.draw(classes, seed=number, stream="test")
    return images.reshape(-1, *SHAPE), classes


def public(count: int, of_real: bool) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` test images that everybody has, as in `real` or `synthetic`."""
    if not of_real:
        drawn = sign_mnist.synthesize(1, count, seed=0)
        return to_bytes(drawn.x_test), drawn.y_test
    x, y = load("real").of_test(count)
    return to_bytes(x), y


def own(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anybody's images and classes, as those of `real` and `synthetic` are offered: as they are.

    Raises:
        DataError: other classes.
    """
    last = len(sign_mnist.CLASS_NAMES) - 1
    if not 0 <= y.min() <= y.max() <= last:
        raise DataError(f"y has classes from {y.min()} to {y.max()}, expected 0 to {last}.")
    return x, y


def far_seed(seed: list[int]) -> int:
    """A seed of a generator's own, from integers 0..255: far from the seeds of the labs."""
    return int.from_bytes(bytes(seed), "big") | 1 << 31


def perturbed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images turned by up to 6°, scaled by 5 %, shifted by 1.5 pixels, lit by 8 %; uint8.

    Args:
        images: float (N, height, width, channels) in [0, 1].
    """
    from scipy import ndimage

    count, *size, channels = images.shape
    angle = rng.uniform(-6, 6, count) * np.pi / 180
    scale = rng.uniform(0.95, 1.05, count)
    shift = rng.uniform(-1.5, 1.5, (2, count)).T
    gain, offset = rng.uniform(0.92, 1.08, count), rng.uniform(-0.04, 0.04, count)
    center = (np.array(size) - 1) / 2
    changed = np.empty(images.shape)
    for i, image in enumerate(images.astype(float)):
        cosine, sine = np.cos(angle[i]) / scale[i], np.sin(angle[i]) / scale[i]
        matrix = np.array([[cosine, -sine], [sine, cosine]])
        start = center - matrix @ center + shift[i]
        for channel in range(channels):
            warped = ndimage.affine_transform(
                image[..., channel], matrix, start, order=1, mode="nearest"
            )
            changed[i, ..., channel] = gain[i] * warped + offset[i]
    return to_bytes(changed)


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as uint8."""
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
