"""The hidden split: samples on which files are measured and that no submission has seen.

How it is drawn, or how public samples are changed, is asked of the data set (`HIDDEN`). A split of
the instructor's own is best.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType

import numpy as np

from labkit.grading import GradingError

#: Of the public test samples, to tell memorising from learning.
PUBLIC = 300
#: By data set, the module that makes its hidden samples: SHAPE, CHANGES, `real(count, seed)`,
#: `synthetic(count, seed)`, `public(count, of_real)`, `to_bytes(samples)`, and the data set's own
#: `find()` and `load(mode, profile)`.
HIDDEN = {"sign_mnist": "labkit.datasets.hidden_hands"}


class Source(str, Enum):
    """Where the hidden samples come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    OWN = "the instructor's own"


@dataclass(frozen=True)
class Split:
    """Hidden samples with what they are, and some public ones to compare with.

    Attributes:
        x: uint8 (N, ...), read by a model file as x / 255.
        y: (N,) classes.
        public_x, public_y: alike; none for a split of the instructor's own.
        says: of where they come from, for people.
    """

    source: Source
    says: str
    x: np.ndarray
    y: np.ndarray
    public_x: np.ndarray
    public_y: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of samples and classes."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.public_x, self.public_y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """As a `.npz` archive."""
        buffer = io.BytesIO()
        np.savez(buffer, x=self.x, y=self.y, public_x=self.public_x, public_y=self.public_y)
        return buffer.getvalue()


def make(
    data: str, count: int, secret: bytes, own: Path | None = None, dataset: str = "sign_mnist"
) -> Split:
    """The hidden split of a class.

    Args:
        data: "synthetic", "real", or "auto" for real where it is here.
        count: of the samples.
        secret: the same secret, the same split.
        own: a `.npz` file of the instructor's with x, shaped as the data set's, and y (N,).
        dataset: a key of `HIDDEN`.

    Raises:
        GradingError: the file does not hold that.
        DataError: real data is asked for and missing or damaged.
    """
    offers = offered(dataset)
    if own is not None:
        return _own(own, offers)
    seed = list(hashlib.sha256(secret + b"hidden split").digest())
    if data == "real" or (data == "auto" and offers.find()):
        says = f"real images, {offers.CHANGES}"
        return Split(Source.REAL, says, *offers.real(count, seed), *offers.public(PUBLIC, True))
    says = "synthetic images, drawn with a secret seed"
    public = offers.public(PUBLIC, False)
    return Split(Source.SYNTHETIC, says, *offers.synthetic(count, seed), *public)


def offered(dataset: str) -> ModuleType:
    """What a data set, a key of `HIDDEN`, offers for grading."""
    return importlib.import_module(HIDDEN[dataset])


def _own(path: Path, offers: ModuleType) -> Split:
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["x"], stored["y"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise GradingError(f"{path}: no hidden split (a .npz with x and y): {error}") from error
    if x.shape[1:] != offers.SHAPE or y.shape != x.shape[:1] or not len(x):
        expected = ", ".join(map(str, offers.SHAPE))
        raise GradingError(
            f"{path}: x has the shape {x.shape} and y {y.shape}; expected (N, {expected}) and (N,)."
        )
    x = x if x.dtype == np.uint8 else offers.to_bytes(x)
    says = "the instructor's own images"
    return Split(Source.OWN, says, x, y.astype(np.int64), x[:0], y[:0])
