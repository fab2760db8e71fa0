"""Images that nobody has seen, on which a grader measures networks that tell classes apart.

Synthetic images are drawn anew with a secret seed, as the quick profile draws them: who trained on
cluttered ones reads those without clutter, too, but not the other way round. The real data sets are
public, their test images too: they are shown turned, scaled, shifted and lit a little differently,
so that a file that looks memorised images up does not find them. From four networks for pairs of
CIFAR-10's classes that took 0.2 to 1.5 points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.datasets import DataError, Dataset, Source, cifar10_pairs, sign_mnist


@dataclass(frozen=True)
class HiddenImages:
    """What a data set of images offers for grading.

    Attributes:
        source: the data set.
        SAMPLES: what the samples are.
        SCALE: a model file reads them divided by it.
        CHANGES: what becomes of each real image.
    """

    source: Source
    SAMPLES: str = "images"
    SCALE: float = 255
    CHANGES: str = "each turned, scaled, shifted and lit a little differently"

    def find(self) -> tuple[Path, ...]:
        """Where the real data is; empty if it is not here."""
        return self.source.found()

    def load(self, mode: str, *, quick: bool = False) -> Dataset:
        """The public data."""
        return self.source.load(mode, quick=quick)

    def real(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` real test images, perturbed: uint8, and classes, int64 (N,).

        Args:
            seed: integers; the same ones, the same images.

        Raises:
            DataError: the real data is missing or damaged.
        """
        x, y = self.load("real").of_test(count, seed)
        images = perturbed(x, np.random.default_rng(seed))
        return images, y

    def synthetic(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """`count` images drawn from the seed: uint8, and classes, int64 (count,).

        Args:
            seed: at least four integers 0..255.
        """
        number = far_seed(seed)
        drawn = self.source.draw("test", count, number, **self.source.easy)
        return drawn.x, drawn.y

    def public(self, count: int, of_real: bool) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` test images that everybody has, as in `real` or `synthetic`."""
        if not of_real:
            drawn = self.source.synthesize(1, count, seed=0, **self.source.easy)
            return to_bytes(drawn.x_test), drawn.y_test
        x, y = self.load("real").of_test(count)
        return to_bytes(x), y

    def own(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Anybody's images and classes, as those of `real` and `synthetic` are offered.

        Raises:
            DataError: other classes.
        """
        names = self.source.class_names
        if not 0 <= y.min() <= y.max() < len(names):
            raise DataError(
                f"y has classes from {y.min()} to {y.max()}, expected 0 to {len(names) - 1}: "
                f"{', '.join(names)}."
            )
        return x, y


SIGN_MNIST = HiddenImages(sign_mnist.SOURCE)
CAT_DOG = HiddenImages(cifar10_pairs.CAT_DOG)
HORSE_FROG = HiddenImages(cifar10_pairs.HORSE_FROG)
ROTATED_CAT_DOG = HiddenImages(cifar10_pairs.ROTATED_CAT_DOG)


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
