"""Images of two classes that nobody has seen, on which a grader measures networks for a pair.

Synthetic images are drawn anew with a secret seed, without clutter, as the quick profile draws
them: who trained on cluttered ones reads these too, but not the other way round. The real data set
is public, its test images too: they are shown turned, scaled, shifted and lit a little differently,
which took 0.2 to 1.5 points from four trained networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.datasets import DataError, Dataset, Source, cifar10_pairs
from labkit.datasets.hidden_hands import far_seed, perturbed, to_bytes


@dataclass(frozen=True)
class HiddenPair:
    """What a pair of CIFAR-10's classes offers for grading.

    Attributes:
        source: the pair.
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
        """At most `count` real test images, perturbed: uint8 (N, 32, 32, 3); classes, int64 (N,).

        Args:
            seed: integers; the same ones, the same images.

        Raises:
            DataError: the real data is missing or damaged.
        """
        x, y = self.load("real").of_test(count, seed)
        images = perturbed(x, np.random.default_rng(seed))
        return images, y

    def synthetic(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """`count` images drawn from the seed: uint8 (count, 32, 32, 3), and classes, int64.

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
        if not 0 <= y.min() <= y.max() <= 1:
            names = " and ".join(self.source.class_names)
            raise DataError(
                f"y has classes from {y.min()} to {y.max()}, expected 0 and 1: {names}."
            )
        return x, y


CAT_DOG = HiddenPair(cifar10_pairs.CAT_DOG)
HORSE_FROG = HiddenPair(cifar10_pairs.HORSE_FROG)
ROTATED_CAT_DOG = HiddenPair(cifar10_pairs.ROTATED_CAT_DOG)
