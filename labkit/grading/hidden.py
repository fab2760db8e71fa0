"""The hidden split: images on which accuracy is measured and that no submission has seen.

Synthetic images are drawn anew with a secret seed. The real data set is public, its test images
too: there the hidden split shows them turned, scaled, shifted and lit a little differently, so that
a file that looks memorised images up does not find them. A split of the instructor's own is best.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.datasets import hands, sign_mnist, stratified
from labkit.grading import GradingError

#: Of the public test images, to tell memorising from learning.
PUBLIC = 300


@dataclass(frozen=True)
class Split:
    """Images (uint8, N × 28 × 28 × 1) with their classes, and some public ones to compare with."""

    source: str
    x: np.ndarray
    y: np.ndarray
    public_x: np.ndarray
    public_y: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of images and classes."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.public_x, self.public_y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """As a `.npz` archive."""
        buffer = io.BytesIO()
        np.savez(buffer, x=self.x, y=self.y, public_x=self.public_x, public_y=self.public_y)
        return buffer.getvalue()


def make(data: str, images: int, secret: bytes, own: Path | None = None) -> Split:
    """The hidden split of a class.

    Args:
        data: "synthetic", "real", or "auto" for real where it is here.
        images: how many.
        secret: the same secret, the same split.
        own: a `.npz` file of the instructor's with x (N, 28, 28, 1) and y (N,).

    Raises:
        GradingError: the file does not hold that.
        DataError: real data is asked for and missing or damaged.
    """
    seed = list(hashlib.sha256(secret + b"hidden split").digest())
    if own is not None:
        return _own(own)
    if data == "real" or (data == "auto" and sign_mnist.find()):
        test = sign_mnist.load("real")
        chosen = stratified(test.y_test, min(images, len(test.y_test)), int(seed[0]))
        x = perturbed(test.x_test[chosen], np.random.default_rng(seed))
        public = stratified(test.y_test, min(PUBLIC, len(test.y_test)), 0)
        return Split(
            "real images, each turned, scaled, shifted and lit a little differently",
            x, test.y_test[chosen], _bytes(test.x_test[public]), test.y_test[public],
        )  # fmt: skip
    classes = np.arange(images) % len(sign_mnist.CLASS_NAMES)
    number = int.from_bytes(bytes(seed[:4]), "big") | 1 << 31  # far from the seeds of the labs
    x = hands.draw(classes, seed=number, stream="test")
    public = sign_mnist.synthesize(1, PUBLIC, seed=0)
    return Split(
        "synthetic images, drawn with a secret seed",
        x.reshape(-1, 28, 28, 1), classes, _bytes(public.x_test), public.y_test,
    )  # fmt: skip


def perturbed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images turned by up to 6°, scaled by 5 %, shifted by 1.5 pixels, lit by 8 %; uint8.

    Args:
        images: float (N, height, width, 1) in [0, 1].
    """
    count, height, width, _ = images.shape
    angle = rng.uniform(-6, 6, count) * np.pi / 180
    scale = rng.uniform(0.95, 1.05, count)
    dy, dx = rng.uniform(-1.5, 1.5, (2, count))
    gain, offset = rng.uniform(0.92, 1.08, count), rng.uniform(-0.04, 0.04, count)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    y, x = y - (height - 1) / 2, x - (width - 1) / 2

    def column(v):
        return v[:, None, None]

    cosine, sine = column(np.cos(angle) / scale), column(np.sin(angle) / scale)
    rows = np.clip(cosine * y - sine * x + column(dy) + (height - 1) / 2, 0, height - 1)
    columns = np.clip(sine * y + cosine * x + column(dx) + (width - 1) / 2, 0, width - 1)
    top = np.minimum(rows.astype(int), height - 2)
    left = np.minimum(columns.astype(int), width - 2)
    v, u, n = rows - top, columns - left, np.arange(count)[:, None, None]
    plane = images[..., 0]
    sampled = (1 - v) * ((1 - u) * plane[n, top, left] + u * plane[n, top, left + 1])
    sampled += v * ((1 - u) * plane[n, top + 1, left] + u * plane[n, top + 1, left + 1])
    return _bytes(sampled * column(gain) + column(offset))[..., None]


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _own(path: Path) -> Split:
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["x"], stored["y"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise GradingError(f"{path}: no hidden split (a .npz with x and y): {error}") from error
    if x.ndim != 4 or x.shape[1:] != (28, 28, 1) or y.shape != x.shape[:1] or not len(x):
        raise GradingError(
            f"{path}: x has the shape {x.shape} and y {y.shape}; expected (N, 28, 28, 1) and (N,)."
        )
    x = x if x.dtype == np.uint8 else _bytes(x)
    return Split("the instructor's own images", x, y.astype(np.int64), x[:0], y[:0])
