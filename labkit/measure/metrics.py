"""Metrics as values: a name, a unit, the better direction, and how outputs are judged.

Whatever takes a metric (`evaluate`, the ledger, `front`, `Lab`) takes one of these or a user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A figure of merit of a model's outputs.

    Attributes:
        name: as the ledger has it, for example "accuracy".
        unit: "fraction" (shown in percent), or for example "m"; "" for a pure number.
        higher_is_better: the direction; False for an error.
        compute: (targets, outputs) to a number: arrays of N samples, outputs as the file gives
            them (of several outputs a dictionary by name).

    Example:
        >>> worst = Metric("largest error", "m", False, lambda y, out: abs(y - out).max())
    """

    name: str
    unit: str
    higher_is_better: bool
    compute: Callable[[np.ndarray, np.ndarray], float]

    @property
    def factor(self) -> float:
        """What a value is multiplied by to be shown."""
        return 100.0 if self.unit == "fraction" else 1.0

    @property
    def shown_unit(self) -> str:
        """The unit that is shown."""
        return "%" if self.unit == "fraction" else self.unit

    @property
    def column(self) -> str:
        """Heading of a column of shown values, for example "accuracy (%)"."""
        return f"{self.name} ({self.shown_unit})" if self.unit else self.name

    @property
    def spread(self) -> str:
        """Heading of the column of their spread over the seeds."""
        if self.name == "accuracy":
            return "± (%)"
        return f"± {self.column}"

    @property
    def digits(self) -> int:
        """Decimals that a shown value is rounded to."""
        return 2 if self.unit == "fraction" else 4

    @property
    def form(self) -> str:
        """How a shown value is formatted in a table."""
        return ".2f" if self.unit == "fraction" else ".3g"

    @property
    def loss(self) -> str:
        """Heading of the column of what is lost against a reference."""
        return "lost (points)" if self.unit == "fraction" else f"lost in {self.column}"

    def text(self, value: float) -> str:
        """A value with its unit, for example "97.2%" or "0.43 m"."""
        if self.unit == "fraction":
            return f"{value:.1%}"
        return f"{value:.3g} {self.unit}".rstrip()

    def shown(self, value: float, form: str = "") -> str:
        """A value as a table of the grader has it, for example "97.20 %" or "0.43 m"."""
        return f"{self.factor * value:{form or self.form}} {self.shown_unit}".rstrip()

    def lost(self, reference: float, value: float) -> float:
        """How much worse a shown value is than a shown reference."""
        return reference - value if self.higher_is_better else value - reference


def _single(outputs: np.ndarray) -> np.ndarray:
    if isinstance(outputs, dict):
        raise ValueError(
            f"the model has the outputs {', '.join(outputs)}: take a metric that says which one."
        )
    return np.asarray(outputs)


def _classes(targets: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes that were shown and that were read (N,); of equal outputs the first."""
    targets, outputs = np.asarray(targets), _of_each_class(_single(outputs))
    if targets.ndim != 1 or len(outputs) != len(targets) or targets.dtype.kind not in "iu":
        raise ValueError(
            f"outputs have the shape {outputs.shape} and y {targets.shape} ({targets.dtype}): "
            "expected one integer class for each sample."
        )
    if outputs.ndim != 2 or targets.min() < 0 or targets.max() >= outputs.shape[1]:
        raise ValueError(
            f"y holds the classes {targets.min()} to {targets.max()}, the model's outputs have the "
            f"shape {outputs.shape}: expected classes from 0 to one below the number of outputs."
        )
    return targets, outputs.argmax(axis=1)


def _of_each_class(outputs: np.ndarray) -> np.ndarray:
    """Outputs (N, classes); a single one is the probability of the second of two classes."""
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs


def _accuracy(targets: np.ndarray, outputs: np.ndarray) -> float:
    shown, read = _classes(targets, outputs)
    return float(np.mean(shown == read))


def confusion(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Numbers of samples, integer (classes, classes): a row per class shown, a column per answer.

    Args:
        targets: integer (N,).
        outputs: (N, classes), or whatever orders the classes; or (N, 1), the probability of the
            second of two.
    """
    shown, read = _classes(targets, outputs)
    matrix = np.zeros((_of_each_class(_single(outputs)).shape[1],) * 2, np.int64)
    np.add.at(matrix, (shown, read), 1)
    return matrix


def changed(reference: np.ndarray, outputs: np.ndarray) -> int:
    """How many samples get another class than they got from the reference.

    Where accuracy stands at its end this still moves: each is a sample whose answer depends on the
    rounding, right or wrong.

    Args:
        reference, outputs: (N, classes), of the network before and after; or (N, 1), the
            probability of the second of two.
    """
    before, after = (_of_each_class(_single(o)).argmax(axis=1) for o in _alike(reference, outputs))
    return int(np.count_nonzero(before != after))


def sqnr(reference: np.ndarray, outputs: np.ndarray) -> float:
    """Signal to quantisation noise of outputs, in decibels: 6 dB are a bit.

    Args:
        reference, outputs: of the same shape, from the network before and after.

    Returns:
        ten times the logarithm of the energy of the reference over that of the difference;
        infinite where nothing differs.
    """
    reference, outputs = (np.asarray(o, np.float64) for o in _alike(reference, outputs))
    noise = np.sum((reference - outputs) ** 2)
    return float(10 * np.log10(np.sum(reference**2) / noise)) if noise else float("inf")


def _alike(reference: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, outputs = _single(reference), _single(outputs)
    if reference.shape != outputs.shape:
        raise ValueError(
            f"the outputs have the shape {outputs.shape}, those to compare with "
            f"{reference.shape}: expected the same samples and classes."
        )
    return reference, outputs


def _averaged(score: str, average: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """A score of scikit-learn's, a mean over the classes."""

    def compute(targets, outputs):
        from sklearn import metrics

        scored = getattr(metrics, f"{score}_score")
        return float(scored(*_classes(targets, outputs), average=average, zero_division=0))

    return compute


def _pairs(targets: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets, outputs = np.asarray(targets, np.float64), _single(outputs).astype(np.float64)
    if targets.ndim == 1 and outputs.shape == (len(targets), 1):
        targets = targets[:, None]
    if targets.shape != outputs.shape:
        raise ValueError(
            f"targets have the shape {targets.shape}, the model's outputs {outputs.shape}: "
            "expected the same."
        )
    return targets, outputs


def _mean_squared_error(targets: np.ndarray, outputs: np.ndarray) -> float:
    wanted, found = _pairs(targets, outputs)
    return float(np.mean((wanted - found) ** 2))


def _average_distance(targets: np.ndarray, outputs: np.ndarray) -> float:
    wanted, found = _pairs(targets, outputs)
    return float(np.linalg.norm(wanted - found, axis=-1).mean())


#: Share of samples whose class has the largest output; of equal outputs the first counts.
ACCURACY = Metric("accuracy", "fraction", True, _accuracy)
#: Mean of the classes' F1, each class counting the same.
MACRO_F1 = Metric("macro F1", "fraction", True, _averaged("f1", "macro"))
#: Mean of the classes' F1, each class counting by its samples.
WEIGHTED_F1 = Metric("weighted F1", "fraction", True, _averaged("f1", "weighted"))
#: Mean of the classes' precision, each class counting by its samples; that of recall is accuracy.
WEIGHTED_PRECISION = Metric(
    "weighted precision", "fraction", True, _averaged("precision", "weighted")
)
#: Mean of the squared differences, over all outputs; in the square of the targets' unit.
MEAN_SQUARED_ERROR = Metric("mean squared error", "", False, _mean_squared_error)
#: Mean Euclidean distance between a place and where the model puts it, in metres.
AVERAGE_DISTANCE_ERROR = Metric("average distance error", "m", False, _average_distance)

#: Those that labkit knows, by name: what a ledger of several labs is summarised by.
KNOWN = {
    metric.name: metric
    for metric in (
        *(ACCURACY, MACRO_F1, WEIGHTED_F1, WEIGHTED_PRECISION),
        *(MEAN_SQUARED_ERROR, AVERAGE_DISTANCE_ERROR),
    )
}
#: The same by their column in a table.
BY_COLUMN = {metric.column: metric for metric in KNOWN.values()}


def printed(table: pd.DataFrame, digits: int) -> pd.DataFrame:
    """A table as it is shown: floats rounded, what is missing blank, the rest as it is.

    Args:
        table: numbers, texts and gaps. Integers are those of an integer dtype (`Int64` has gaps) or
            of dtype object.
        digits: decimals of a float; fewer where all floats of a column have fewer.

    Returns:
        the same rows and columns, of texts and integers: to be read, not to be computed with.
    """
    return table.astype(object).apply(_printed_column, digits=digits)


def _printed_column(column: pd.Series, digits: int) -> pd.Series:
    floats = column.map(lambda value: isinstance(value, (float, np.floating))) & column.notna()
    rounded = [round(float(value), digits) + 0.0 for value in column[floats]]  # and not "-0.0"
    enough = (n for n in range(1, digits) if all(round(value, n) == value for value in rounded))
    places = next(enough, digits)
    shown = column.where(column.notna(), "")
    shown[floats] = [f"{value:.{places}f}" for value in rounded]
    return shown
