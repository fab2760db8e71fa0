"""Pairs of CIFAR-10's classes, to be told apart: cats and dogs, horses and frogs.

All 12,000 images of two classes are divided anew, 70 % for training, 10 % to choose on and 20 % for
testing, each class in its proportion, and always the same.

Source: Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices*
(IIT Madras, 2022), sections 4.1.1 and 4.1.2.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy import ndimage

from labkit.datasets import DataError, Part, Source, cifar10, silhouettes
from labkit.datasets.source import in_rounds

#: What part of the images of two classes is for what.
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
#: How far `turned` goes: degrees, and a part of the size.
ANGLE, ZOOM = 72.0, 0.2

_IMAGES = 12_000  # of two classes
_QUICK = {"train": 1_500, "test": 500}


def pair(first: str, second: str, *, rotated: bool = False, judged: str = "test") -> Source:
    """Two classes of CIFAR-10 as a data set: class 0 and class 1.

    Args:
        first, second: of `cifar10.CLASS_NAMES`.
        rotated: every image turned, mirrored and zoomed at random, see `turned`.
        judged: the part that is judged on: "test"; or "validation", the images to choose on, beside
            the same ones for training.

    Raises:
        DataError: a class that there is not, twice the same, or another part.

    Example:
        >>> chosen_on = pair("cat", "dog", judged="validation").load()
    """
    names = (first, second)
    if first == second or not set(names) <= set(cifar10.CLASS_NAMES):
        raise DataError(
            f"the pair is {first!r} and {second!r}, expected two of "
            f"{', '.join(cifar10.CLASS_NAMES)}."
        )
    if judged not in ("test", "validation"):
        raise DataError(f"judged is {judged!r}, expected test or validation.")
    numbers = np.array([cifar10.CLASS_NAMES.index(name) for name in names])
    parts = {"train": "train", "test": judged}

    def changed(x: np.ndarray, part: str, seed: int) -> np.ndarray:
        return turned(x, [seed, list(SHARES).index(part)]) if rotated else x

    def draw(part: str, count: int, seed: int, clutter: bool = True) -> Part:
        part = parts[part]
        classes = in_rounds(2, part, count, seed)
        images = silhouettes.draw(numbers[classes], 32, seed, part, clutter)
        return Part(changed(images, part, seed), classes)

    def read(found: tuple[Path, ...]) -> dict[str, Part]:
        whole = cifar10.SOURCE.read(found)
        x, y = (np.concatenate([getattr(part, what) for part in whole.values()]) for what in "xy")
        divided = _divided([np.flatnonzero(y == number) for number in numbers])
        return {
            key: Part(changed(x[divided[part]], part, 0), (y[divided[part]] == numbers[1]) * 1)
            for key, part in parts.items()
        }

    return dataclasses.replace(
        cifar10.SOURCE,
        name="_".join((*names, *["rotated"] * rotated, *["validation"] * (judged != "test"))),
        title=f"CIFAR-10's {first} and {second}",
        rows={key: round(_IMAGES * SHARES[part]) for key, part in parts.items()},
        quick=dict(_QUICK),
        draw=draw,
        read=read,
        class_names=names,
        synthetic=f"silhouettes of {first} and {second}, drawn by labkit.datasets.silhouettes",
    )


def _divided(classes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Indices of each part's images in random order; of each class its share."""
    random = np.random.default_rng(0)
    bounds = np.cumsum(list(SHARES.values()))[:-1]
    cut = [
        np.split(random.permutation(members), np.round(bounds * len(members)).astype(int))
        for members in classes
    ]
    return {
        part: random.permutation(np.concatenate(pieces))
        for part, pieces in zip(SHARES, zip(*cut, strict=True), strict=True)
    }


def turned(images: np.ndarray, seed: int | list[int]) -> np.ndarray:
    """Each image turned by up to 72°, mirrored or not, and zoomed by up to a fifth, at random.

    The thesis names rotation, flip and zoom; how much of them its text does not say, so that these
    amounts are ours. What comes in at the border is reflected.

    Args:
        images: uint8 (N, height, width, channels).
        seed: the same one changes the same images in the same way, a smaller set as the beginning
            of a larger one.

    Returns:
        the shape and dtype of the images.
    """
    random = np.random.default_rng(seed).uniform(-1, 1, (len(images), 3))
    centre = (np.array(images.shape[1:3]) - 1) / 2
    result = np.empty_like(images)
    for i, (angle, mirror, zoom) in enumerate(random):
        cosine, sine = np.cos(np.radians(ANGLE * angle)), np.sin(np.radians(ANGLE * angle))
        matrix = np.array([[cosine, -sine], [sine, cosine]]) * (1 + ZOOM * zoom)
        matrix[:, 1] *= 1 if mirror < 0 else -1
        offset = centre - matrix @ centre
        for channel in range(images.shape[-1]):
            moved = ndimage.affine_transform(
                images[i, ..., channel].astype(np.float32),
                *(matrix, offset),
                order=1,
                mode="reflect",
            )
            result[i, ..., channel] = np.round(moved)
    return result


CAT_DOG = pair("cat", "dog")
HORSE_FROG = pair("horse", "frog")
ROTATED_CAT_DOG = pair("cat", "dog", rotated=True)
