"""UCI HAR: six activities of 30 people, from the sensors of a phone at the waist.

Windows of 128 samples, 50 a second, of nine signals; and 561 features of each. The people who are
tested are not those who are trained on. The real files are those of the official archive: as it
is, the zip inside it, or unpacked. The synthetic form is drawn by `labkit.datasets.har_simulator`,
its features are computed by `labkit.datasets.har_features`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from labkit.datasets import (
    DataError,
    Dataset,
    Origin,
    Part,
    Source,
    cache,
    har_features,
    har_simulator,
)
from labkit.datasets.source import PARTS, one_of

CLASS_NAMES = har_simulator.ACTIVITIES
#: The nine channels of a window: acceleration without gravity (g), angular velocity (rad/s),
#: acceleration with gravity (g).
CHANNELS = tuple(
    f"{signal}_{axis}" for signal in ("body_acc", "body_gyro", "total_acc") for axis in "xyz"
)

#: What body acceleration (g), angular velocity (rad/s) and total acceleration (g) are divided by,
#: and where the quotients are cut off: on the real windows 99.9 % of a sensor's values are below.
SENSOR_SIZES = (0.25, 0.6, 0.5)
LIMIT = 4.0

_FOLDER, _ARCHIVE = "UCI HAR Dataset", "uci-har.zip"
_OFFICIAL = "human+activity+recognition+using+smartphones.zip"
_PEOPLE = 30
#: Of the published labels and subjects, without their line ends' kind.
_SHA256 = {
    "train/y_train.txt": "c820916e815bf2e002ff863971ddf8b6f25d48b0afd278aa85f16db91a37e30c",
    "train/subject_train.txt": "a83c775894a1384d90392f547d1352f75b774b3a3556d5d6736f30517da10847",
    "test/y_test.txt": "873a16ee5f75ada53b52f1233d733b723edcc5042fe3b8ea6cd76163bb7fb163",
    "test/subject_test.txt": "884eecea15056e39777b9067ac9fd008736974b9e0e2fed28e11c431ce50e431",
}
#: Mean and standard deviation of all published test windows, as printed by G. Chevalier's
#: LSTM-Human-Activity-Recognition.
_TEST_MOMENTS = (0.099139921, 0.39567086)


def _draw(part: str, count: int, seed: int) -> Part:
    return Part(*har_simulator.draw(part, count, seed))


def _read(found: tuple[Path, ...]) -> dict[str, Part]:
    return {part: Part(x, y, who) for part, (x, _, y, who) in _contents(found).items()}


def _read_features(found: tuple[Path, ...]) -> dict[str, Part]:
    return {part: Part(f, y, who) for part, (_, f, y, who) in _contents(found).items()}


def _is_published(found: tuple[Path, ...]) -> bool:
    """Whether labels, subjects and the test windows' moments are the published ones.

    No checksum of the archive is known; a zip guards its files with checksums of its own.
    """
    windows = _contents(found)["test"][0].astype(np.float64)
    if not np.allclose((windows.mean(), windows.std()), _TEST_MOMENTS, rtol=0, atol=1e-6):
        return False
    with _opened(found[0]) as root:
        return all(
            hashlib.sha256(b"\n".join((root / name).read_bytes().split())).hexdigest() == digest
            for name, digest in _SHA256.items()
        )


SOURCE = Source(
    name="uci_har",
    title="UCI HAR",
    rows={"train": 7_352, "test": 2_947},
    quick={"train": 2_000, "test": 800},
    draw=_draw,
    find=one_of(_ARCHIVE, f"{_FOLDER}.zip", _OFFICIAL, _FOLDER),
    read=_read,
    is_published=_is_published,
    class_names=CLASS_NAMES,
    version=har_simulator.VERSION,
    synthetic="six activities of 30 people, simulated by labkit.datasets.har_simulator",
    file=_ARCHIVE,
    page="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
    url=f"https://archive.ics.uci.edu/static/public/240/{_OFFICIAL}",
    licence="use with a citation, no commercial use (its README); CC BY 4.0 (its page)",
    citation="D. Anguita et al.: A Public Domain Dataset for Human Activity Recognition Using "
    "Smartphones. ESANN 2013",
)
load, synthesize = SOURCE.load, SOURCE.synthesize


def features(mode: str = "auto", *, quick: bool = False, seed: int = 0) -> Dataset:
    """Load the 561 features of the same windows as `load` gives, in the same order.

    Args:
        mode, quick, seed: as `Source.load` has them.

    Returns:
        x float32 (N, 561), named by `har_features.NAMES`: of real data as published, each feature
        in [-1, 1] over all people; of synthetic data computed and scaled to [-1, 1] over the
        training part, which test windows may leave.

    Raises:
        DataError: as `Source.load`.
    """
    windows = SOURCE.load(mode, quick=quick, seed=seed)
    if windows.origin is Origin.REAL:
        return replace(SOURCE, read=_read_features).load("real", quick=quick, seed=seed)
    counts = [len(windows.x_train), len(windows.x_test)]
    key = {"versions": [har_simulator.VERSION, har_features.VERSION], "seed": seed, "rows": counts}
    train, test = cache.kept(
        "uci_har-features",
        key,
        lambda: [har_features.extract(x) for x in (windows.x_train, windows.x_test)],
    )
    scaled = har_features.scaler(train)
    return replace(windows, x_train=scaled.transform(train), x_test=scaled.transform(test))


def scaled(windows: np.ndarray) -> np.ndarray:
    """Windows as networks take them: each sensor in units of its own size, cut off.

    One size for the three axes of a sensor, and none taken from the data: so turning the sensors
    and scaling commute, a device does the same with three constants, and an int8 input has a step
    of 1/32 whatever the training data were.

    Args:
        windows: float (N, 128, 9): body acceleration (g), angular velocity (rad/s), total
            acceleration (g), three axes each.

    Returns:
        float32 of the same shape, from -4 to 4.
    """
    sizes = np.repeat(SENSOR_SIZES, 3).astype(np.float32)
    return np.clip(np.float32(windows) / sizes, -LIMIT, LIMIT)


def _contents(found: tuple[Path, ...]) -> dict[str, list[np.ndarray]]:
    """Of each part windows, features, labels and subjects; parsed once, then from the cache."""
    (place,) = found
    arrays = cache.kept("uci_har-real", _stamps(place), lambda: _parsed(place))
    half = len(arrays) // 2
    return dict(zip(PARTS, (arrays[:half], arrays[half:]), strict=True))


def _stamps(place: Path) -> dict[str, list[int]]:
    """What tells these files from others: a zip's own checksums; sizes and times of a folder's."""
    if place.is_dir():
        stats = {file: file.stat() for file in sorted(place.rglob("*.txt"))}
        return {str(file): [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
    with zipfile.ZipFile(place) as archive:
        return {info.filename: [info.file_size, info.CRC] for info in archive.infolist()}


@contextmanager
def _opened(place: Path) -> Iterator[Path | zipfile.Path]:
    """The folder that holds `train` and `test`, on the disk or in a zip or in a zip within it."""
    with ExitStack() as stack:
        root = place
        if not place.is_dir():
            archive = stack.enter_context(zipfile.ZipFile(place))
            if f"{_FOLDER}.zip" in archive.namelist():  # the official archive
                inner = io.BytesIO(archive.read(f"{_FOLDER}.zip"))
                archive = stack.enter_context(zipfile.ZipFile(inner))
            root = zipfile.Path(archive)
        while (root / _FOLDER).is_dir():
            root = root / _FOLDER
        yield root


def _parsed(place: Path) -> list[np.ndarray]:
    with _opened(place) as root:
        _check_names(root, place)
        parts = {part: _parsed_part(root, place, part) for part in PARTS}
    whose = {part: arrays[-1] for part, arrays in parts.items()}
    common = np.flatnonzero(np.isin(whose["test"], whose["train"]))
    if len(common):
        raise DataError(
            f"{place}: test/subject_test.txt, line {common[0] + 1}: subject "
            f"{whose['test'][common[0]]} is in train/subject_train.txt too, expected other people."
        )
    return [*parts["train"], *parts["test"]]


def _parsed_part(root, place: Path, part: str) -> list[np.ndarray]:
    """Windows float32 (N, 128, 9), features float32 (N, 561), labels from 0 and subjects int64."""
    labels = _table(root, place, f"{part}/y_{part}.txt", 1, last=len(CLASS_NAMES))

    def table(name: str, columns: int, last: int | None = None) -> np.ndarray:
        found = _table(root, place, f"{part}/{name}_{part}.txt", columns, last)
        if len(found) != len(labels):
            raise DataError(
                f"{place}: {part}/{name}_{part}.txt has {len(found):,} rows, expected "
                f"{len(labels):,}, one for each label of {part}/y_{part}.txt."
            )
        return found

    subjects = table("subject", 1, last=_PEOPLE)
    signals = [table(f"Inertial Signals/{name}", har_features.LENGTH) for name in CHANNELS]
    features = table("X", len(har_features.NAMES))
    labels, subjects = (a[:, 0].astype(np.int64) for a in (labels, subjects))
    return [np.stack(signals, axis=-1), features, labels - 1, subjects]


def _check_names(root, place: Path) -> None:
    """The features are those that `har_features` computes, in that order."""
    lines = _bytes(root, place, "features.txt").decode("latin-1").split("\n")
    lines = [" ".join(line.split()) for line in lines]
    wanted = [f"{i} {name}" for i, name in enumerate(har_features.NAMES, start=1)] + [""]
    for i, (line, right) in enumerate(zip_longest(lines, wanted, fillvalue=""), start=1):
        if line != right:
            expected = repr(right) if right else "the end"
            raise DataError(
                f"{place}: features.txt, line {i} is {line[:60]!r}, expected {expected}."
            )


def _bytes(root, place: Path, name: str) -> bytes:
    file = root.joinpath(*name.split("/"))
    if not file.is_file():
        raise DataError(f"{place} holds no {name}: it is not the UCI HAR data set, or half of it.")
    return file.read_bytes()


def _table(root, place: Path, name: str, columns: int, last: int | None = None) -> np.ndarray:
    """The numbers of a file, float32 (rows, columns); with `last`, integers from 1 to it.

    Fast, and slow only to say what is wrong.
    """
    import pandas as pd

    content = _bytes(root, place, name)
    if content.endswith((b"\n\n", b"\n\r\n")):  # empty lines at the end mean nothing
        content = content.rstrip(b"\r\n") + b"\n"
    try:
        options = {"header": None, "sep": r"\s+", "quoting": csv.QUOTE_NONE, "dtype": np.float32}
        table = pd.read_csv(io.BytesIO(content), **options).to_numpy()
    except ValueError:  # pandas' own errors are ValueErrors
        table = np.empty((0, 0), np.float32)
    # Every line must have its end: without it the last number may have lost digits.
    if (
        table.shape != (content.count(b"\n"), columns)
        or not content.endswith(b"\n")
        or not np.isfinite(table).all()
        or (last and not np.isin(table, np.arange(1, last + 1)).all())
    ):
        raise DataError(f"{place}: {name}{_fault(content, columns, last)}")
    return table


def _fault(content: bytes, columns: int, last: int | None) -> str:
    """Where and what the first fault is, to follow the file's name."""
    *lines, rest = content.decode("latin-1").split("\n")
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) != columns:
            return f", line {number} has {len(fields)} columns, expected {columns}."
        for column, field in enumerate(fields, start=1):
            if not _is_right(field, last):
                wanted = f"an integer from 1 to {last}" if last else "a finite number"
                return f", line {number}, column {column} is {field[:20]!r}, expected {wanted}."
    if rest:
        return f", line {len(lines) + 1}: the file ends within it. An interrupted download?"
    return " is empty." if not lines else " cannot be read, though every line looks right."


def _is_right(field: str, last: int | None) -> bool:
    try:
        value = np.float32(field)
    except ValueError:
        return False
    return bool(value in range(1, last + 1) if last else np.isfinite(value))
