"""The hidden split: samples on which files are measured and that no submission has seen.

How it is drawn, or how public samples are changed, is asked of the data set (`Offers`). A split of
the instructor's own is best.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from labkit.datasets import DataError, Dataset
from labkit.grading import GradingError

#: Of the public test samples, to tell memorising from learning.
PUBLIC = 300
#: By data set, the module that offers its hidden samples, or the object in one.
HIDDEN = {
    "sign_mnist": "labkit.datasets.hidden_images:SIGN_MNIST",
    "uci_har": "labkit.datasets.hidden_har",
    "localisation": "labkit.datasets.hidden_localisation",
    "cat_dog": "labkit.datasets.hidden_images:CAT_DOG",
    "horse_frog": "labkit.datasets.hidden_images:HORSE_FROG",
    "cat_dog_rotated": "labkit.datasets.hidden_images:ROTATED_CAT_DOG",
}


@runtime_checkable
class Offers(Protocol):
    """What the module of a data set, or an object in one, offers for grading.

    Samples are an array (N, ...) of any shape: uint8 images, float series or measurements; targets
    are classes, integer (N,), or float (N, ...).

    A module may have own(x, y), too: samples and targets of the instructor's, in the data set's
    units and of the right shape, as the others are offered. It raises a DataError for what they
    cannot be. And it may say LATEST = True: its samples are windows (N, time, ...), of which a file
    that takes a single sample reads the last.

    Attributes:
        SAMPLES: what they are called, for example "images" or "windows".
        SCALE: a model file reads samples divided by it: 255 for images in bytes, 1 for what is read
            as it is.
        CHANGES: what becomes of each real sample.
    """

    SAMPLES: str
    SCALE: float
    CHANGES: str

    def find(self) -> object:
        """Where the real data is; nothing if it is not here."""

    def load(self, mode: str, *, quick: bool = False) -> Dataset:
        """The public data, which the notebooks are executed on."""

    def real(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` real test samples, each changed a little by the seed, and targets."""

    def synthetic(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """`count` samples drawn from the seed, and targets."""

    def public(self, count: int, of_real: bool) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` test samples that everybody has, and targets."""


class SplitOrigin(str, Enum):
    """Where the hidden samples come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    OWN = "the instructor's own"


@dataclass(frozen=True)
class Split:
    """Hidden samples with their targets, and some public ones to compare with.

    Attributes:
        says: of where they come from, for people.
        scale: a model file reads x / scale.
        x, y: as the data set offers them.
        public_x, public_y: alike; none for a split of the instructor's own.
        latest: x are windows, of which a file of one sample reads the last.
    """

    source: SplitOrigin
    says: str
    scale: float
    x: np.ndarray
    y: np.ndarray
    public_x: np.ndarray
    public_y: np.ndarray
    latest: bool = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of samples and targets."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.public_x, self.public_y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """As a `.npz` archive, packed once for a whole class."""
        return self._packed

    @cached_property
    def _packed(self) -> bytes:
        buffer = io.BytesIO()
        names = ("x", "y", "public_x", "public_y", "scale", "latest")
        np.savez(buffer, **{name: getattr(self, name) for name in names})
        return buffer.getvalue()


def make(
    data: str, count: int, secret: bytes, own: Path | None = None, dataset: str = "sign_mnist"
) -> Split:
    """The hidden split of a class.

    Args:
        data: "synthetic", "real", or "auto" for real where it is here.
        count: of the samples.
        secret: the same secret, the same split.
        own: a `.npz` file of the instructor's with x and y, shaped as the data set's.
        dataset: as `offered`.

    Raises:
        GradingError: the file does not hold that.
        DataError: real data is asked for and missing or damaged.
    """
    offers = offered(dataset)
    if own is not None:
        return _shuffled(_own(own, offers), secret)
    seed = list(hashlib.sha256(secret + b"hidden split").digest())
    if data == "real" or (data == "auto" and offers.find()):
        source, says = SplitOrigin.REAL, f"real {offers.SAMPLES}, {offers.CHANGES}"
        hidden = offers.real(count, seed)
    else:
        source, says = (
            SplitOrigin.SYNTHETIC,
            f"synthetic {offers.SAMPLES}, drawn with a secret seed",
        )
        hidden = offers.synthetic(count, seed)
    public = offers.public(PUBLIC, source is SplitOrigin.REAL)
    found = Split(source, says, offers.SCALE, *hidden, *public, latest=_latest(offers))
    return _shuffled(found, secret)


def _shuffled(split: Split, secret: bytes) -> Split:
    """The samples in an order drawn from the whole secret: of it, a file knows nothing."""
    seed = list(hashlib.sha256(secret + b"order of the samples").digest())
    order = np.random.default_rng(seed).permutation(len(split.y))
    return replace(split, x=split.x[order], y=split.y[order])


def offered(dataset: str) -> Offers:
    """What a data set offers for grading.

    Args:
        dataset: a key of `HIDDEN`, or the name of a module of the instructor's own, or
            "module:object".

    Raises:
        GradingError: there is no such module, or it does not offer that.
    """
    try:
        module, _, name = HIDDEN.get(dataset, dataset).partition(":")
        found = importlib.import_module(module)
        found = getattr(found, name) if name else found
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise GradingError(
            f"no data set {dataset!r}: expected {', '.join(HIDDEN)}, or a module ({error})."
        ) from error
    if not isinstance(found, Offers):
        raise GradingError(
            f"the module {dataset} makes no hidden split: see labkit.grading.hidden.Offers."
        )
    return found


def _own(path: Path, offers: Offers) -> Split:
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["x"], stored["y"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise GradingError(f"{path}: no hidden split (a .npz with x and y): {error}") from error
    like_x, like_y = offers.public(1, False)
    pairs = ((x, like_x), (y, like_y))
    if any(given.shape[1:] != like.shape[1:] for given, like in pairs) or not len(x) == len(y) > 0:
        expected = [str(("N", *like.shape[1:])).replace("'", "") for like in (like_x, like_y)]
        raise GradingError(
            f"{path}: x has the shape {x.shape} and y {y.shape}; expected {' and '.join(expected)}."
        )
    for name, values in (("x", x), ("y", y)):
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise GradingError(f"{path}: {name} holds something else than finite numbers.")
    x, y = _as_type_of(like_x, x, offers.SCALE), _as_type_of(like_y, y)
    if hasattr(offers, "own"):
        try:
            x, y = offers.own(x, y)
        except DataError as error:
            raise GradingError(f"{path}: {error}") from error
    says = f"the instructor's own {offers.SAMPLES}"
    return Split(SplitOrigin.OWN, says, offers.SCALE, x, y, x[:0], y[:0], _latest(offers))


def _latest(offers: Offers) -> bool:
    return getattr(offers, "LATEST", False)


def _as_type_of(like: np.ndarray, values: np.ndarray, scale: float = 1) -> np.ndarray:
    """Values in another array's type; of floats in an integer one's, as many steps as `scale`."""
    if like.dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(like.dtype)
        values = np.clip(np.round(values * scale), limits.min, limits.max)
    return values.astype(like.dtype)
