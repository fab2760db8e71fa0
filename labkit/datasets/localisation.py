"""Indoor localisation: four capacitive sensors, and where in a room of 3 m a person is.

1,626 samples in the order of time, three a second: 976 for training, 325 to choose on and 325 for
testing. The recording of the Politecnico di Torino is not public; who has it puts it into one CSV,
see `read`. The synthetic form is drawn by `labkit.datasets.localisation_simulator`.

Training and validation are one part here, as in every data set: `load().holdout(0.25)` parts them,
the last quarter being held out, since neighbours in time know one another's answers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from labkit.datasets import localisation_simulator as simulator
from labkit.datasets.dataset import DataError, Dataset, Part
from labkit.datasets.source import Source, one_of

SENSORS, COORDINATES = 4, ("x", "y")
#: Samples of a window: 10 s.
WINDOW = 30
#: Where a coordinate (m) may be: a recording in centimetres, or of other columns, is elsewhere.
FURTHEST = 4.0


def read(found: tuple[Path, ...]) -> dict[str, Part]:
    """The recording: a line per sample, in the order of time, the first 1,301 for training.

    A line has six numbers, separated by commas: the four sensors, x and y (m). A first line of
    names is skipped.

    Raises:
        DataError: naming file, line and what was expected.
    """
    (path,) = found
    lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    first = 1 if lines and not _is_number(lines[0].split(",")[0]) else 0
    table = np.empty((len(lines) - first, SENSORS + len(COORDINATES)), np.float32)
    for number, line in enumerate(lines[first:], start=first + 1):
        table[number - first - 1] = _row(line, f"{path}, line {number}")
    x, y = table[:, :SENSORS], table[:, SENSORS:]
    cut = SOURCE.rows["train"]
    if len(table) <= cut:
        raise DataError(f"{path} has {len(table):,} samples, expected {sum(SOURCE.rows.values())}.")
    return {"train": Part(x[:cut], y[:cut]), "test": Part(x[cut:], y[cut:])}


def _row(line: str, place: str) -> list[float]:
    fields = line.split(",")
    if len(fields) != SENSORS + len(COORDINATES):
        raise DataError(f"{place} has {len(fields)} columns, expected 4 sensors, x and y.")
    for column, field in enumerate(fields, start=1):
        if not _is_number(field):
            raise DataError(f"{place}, column {column} is {field[:20]!r}, expected a number.")
    values = [float(field) for field in fields]
    for name, value in zip(COORDINATES, values[SENSORS:], strict=True):
        if abs(value) > FURTHEST:
            raise DataError(f"{place}: {name} is {value:g}, expected metres in a room of 3 m.")
    return values


def _is_number(field: str) -> bool:
    try:
        return bool(np.isfinite(float(field)))
    except ValueError:
        return False


def _draw(part: str, count: int, seed: int, **room) -> Part:
    return Part(*simulator.draw(part, count, seed, **room))


SOURCE = Source(
    name="localisation",
    title="Indoor localisation with capacitive sensors",
    rows={"train": 976 + 325, "test": 325},
    quick={"train": 976 + 325, "test": 325},
    draw=_draw,
    find=one_of("localisation.csv"),
    read=read,
    coordinates=COORDINATES,
    unit="m",
    in_order=True,
    synthetic="somebody walks about a room, simulated by labkit.datasets.localisation_simulator",
    file="localisation.csv",
    page="the Politecnico di Torino, which has not published it "
    "(https://doi.org/10.3390/s16091448)",
    licence="not published",
    citation="A. R. Akhmareh et al.: A Tagless Indoor Localization System Based on Capacitive "
    "Sensing Technology. Sensors 16 (2016) 1448",
)
load, synthesize = SOURCE.load, SOURCE.synthesize


def windows(data: Dataset, length: int = WINDOW) -> Dataset:
    """Each sample with those before it: what a network sees that knows the last seconds.

    Windows stay within their part; the first samples, which have too few before them, go. With a
    length of 1 the samples stay as they are.

    Args:
        data: x (N, channels), in the order of time.
        length: samples of a window.

    Returns:
        x (N - length + 1, length, channels), the last sample being the one that y belongs to.

    Raises:
        DataError: samples in no order, or fewer than a window has.
    """
    if not data.in_order or data.x_train.ndim != 2:
        raise DataError(f"data set {data.name!r} is not one of samples in the order of time.")
    shortest = min(len(data.x_train), len(data.x_test))
    if not 1 <= length <= shortest:
        raise DataError(f"length is {length}, expected 1 to {shortest}, the samples of a part.")
    changed = {}
    for part in ("train", "test"):
        x = getattr(data, f"x_{part}")
        cut = np.lib.stride_tricks.sliding_window_view(x, length, axis=0).swapaxes(1, 2)
        changed[f"x_{part}"] = np.ascontiguousarray(cut)
        changed[f"y_{part}"] = getattr(data, f"y_{part}")[length - 1 :]
    return replace(data, **changed)


def latest(data: Dataset) -> Dataset:
    """Of windows the last samples: what a network of one sample is compared on.

    Args:
        data: from `windows`.
    """
    return replace(data, x_train=data.x_train[:, -1], x_test=data.x_test[:, -1])
