"""Sign Language MNIST: 28 × 28 grey images of 24 letters of the American Sign Language alphabet.

The real files are those of Kaggle's `datamunge/sign-language-mnist`: two CSVs with a header
`label,pixel1,…,pixel784`, labels 0 to 24 without 9 (J), as they come in the archive or unpacked.
The synthetic form is drawn by `labkit.datasets.hands`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from labkit import files, runtime
from labkit.datasets import DataError, Dataset, folders, hands

CLASS_NAMES = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")
HEADER = ("label", *(f"pixel{i}" for i in range(1, 785)))
#: Rows of the published files, training and test.
ROWS = {"train": 27_455, "test": 7_172}
#: Images of the quick profile.
QUICK = {"train": 6_000, "test": 1_500}
ARCHIVES = ("sign-language-mnist.zip", "archive.zip")

_J = 9


def load(mode: str = "auto", profile: str = "full", seed: int = 0) -> Dataset:
    """Load the data set.

    Args:
        mode: "real", "synthetic", or "auto" for real where it is found and synthetic elsewhere.
        profile: "full" for everything, "quick" for 6,000 training and 1,500 test images.
        seed: of the drawing, and of the quick profile's choice.

    Raises:
        DataError: real data is asked for and missing; or found and damaged, in either mode.
    """
    runtime.checked_choice("mode", mode, runtime.DATA_MODES)
    runtime.checked_choice("profile", profile, runtime.PROFILES)
    if mode != "synthetic" and (mode == "real" or find() is not None):
        dataset = read_real()
        return dataset if profile == "full" else dataset.subset(*QUICK.values(), seed)
    rows = ROWS if profile == "full" else QUICK
    return synthesize(rows["train"], rows["test"], seed)


def synthesize(train: int, test: int, seed: int = 0) -> Dataset:
    """Draw a data set; the hands of the test images belong to other people than the training's.

    Args:
        train, test: numbers of images; the classes are equally frequent.
        seed: the same seed draws the same images.
    """
    parts = []
    for stream, count in (("train", train), ("test", test)):
        classes = np.arange(count) % len(CLASS_NAMES)
        order = np.random.default_rng([seed, count]).permutation(count)
        classes = classes[order].astype(np.int64)
        pixels = _cached(
            f"hands-{hands.VERSION}-{stream}-{count}-{seed}",
            lambda: hands.draw(classes, seed=seed, stream=stream),  # noqa: B023 - called at once
        )
        parts += [_images(pixels), classes]
    return Dataset("sign_mnist", "synthetic", *parts, CLASS_NAMES)


def find() -> tuple[Path, Path] | Path | None:
    """The real files: a pair of CSVs, or an archive; None where there are none."""
    folder = folders.real()
    for layout in ("sign_mnist_{0}.csv", "sign_mnist_{0}/sign_mnist_{0}.csv"):
        for base in (folder, folder / "sign-language-mnist"):
            pair = tuple(base / layout.format(part) for part in ROWS)
            if any(path.exists() for path in pair):
                return pair
    return next((folder / name for name in ARCHIVES if (folder / name).exists()), None)


def read_real(cached: bool = True) -> Dataset:
    """Read and validate the real files.

    Args:
        cached: take what an earlier call has read and validated, if the files are the same.

    Raises:
        DataError: naming the file, the row and what was expected.
    """
    found = find()
    if found is None:
        raise DataError(
            f"Sign Language MNIST is not in {folders.real()}. `labkit data get sign_mnist` "
            "downloads it; or set LABKIT_DATA to the folder that holds "
            f"{ARCHIVES[0]}; or use the synthetic images (DATA = 'synthetic')."
        )
    table = _cached(_key(found), lambda: np.vstack(_read_tables(found)), fresh=not cached)
    train, test = np.split(table, [ROWS["train"]])
    return Dataset(
        "sign_mnist",
        "real",
        _images(train[:, 1:]),
        class_index(train[:, 0]),
        _images(test[:, 1:]),
        class_index(test[:, 0]),
        CLASS_NAMES,
    )


def validate_archive(path: Path) -> None:
    """Raise a DataError unless a zip holds both files, complete and valid."""
    _read_tables(path)


def class_index(labels: np.ndarray) -> np.ndarray:
    """Class indices 0..23, int64, of labels 0..24 without 9."""
    labels = np.asarray(labels).astype(np.int64)
    return labels - (labels > _J)


def read_csv(source: str | Path | IO[bytes], name: str | None = None) -> np.ndarray:
    """Read and validate one CSV.

    Args:
        source: a path or an open binary file.
        name: what error messages call the file; by default its path.

    Returns:
        uint8 (rows, 785): the label as in the file, then 784 pixels.

    Raises:
        DataError: naming the file, the row (the header is row 1) and what was expected.
    """
    name = name or str(source)
    try:
        content = Path(source).read_bytes() if isinstance(source, (str, Path)) else source.read()
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}.") from error
    _check_header(content, name)
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=np.uint8).to_numpy()
    except (ValueError, OverflowError, pd.errors.ParserError):
        table = None
    if table is None or not content.endswith(b"\n") or _bad_label(table[:, 0]).any():
        _explain(content, name)
    return table


def write_csv(path: str | Path, images: np.ndarray, classes: np.ndarray) -> Path:
    """Write images as a CSV like the published ones.

    Args:
        images: (N, 28, 28, 1), uint8, or float in [0, 1].
        classes: (N,) indices 0..23; the file gets labels 0..24 without 9.
    """
    if images.dtype != np.uint8:
        images = np.round(np.asarray(images) * 255).astype(np.uint8)
    labels = np.asarray(classes) + (np.asarray(classes) >= _J)
    table = np.column_stack([labels, images.reshape(len(images), -1)])
    lines = [",".join(HEADER), *(",".join(map(str, row)) for row in table.tolist())]
    return files.write_bytes(path, ("\r\n".join(lines) + "\r\n").encode())


def _key(found: tuple[Path, Path] | Path) -> str:
    """A name for the cache that changes with the files."""
    key = hashlib.sha256()
    for path in found if isinstance(found, tuple) else (found,):
        if path.exists():
            stat = path.stat()
            key.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    return f"sign-mnist-{key.hexdigest()[:16]}"


def _read_tables(found: tuple[Path, Path] | Path) -> list[np.ndarray]:
    tables = []
    for i, (part, rows) in enumerate(ROWS.items()):
        if isinstance(found, tuple):
            name, table = str(found[i]), read_csv(found[i])
        else:
            name, table = _read_member(found, f"sign_mnist_{part}.csv")
        if len(table) != rows:
            raise DataError(
                f"{name} has {len(table):,} rows of images, expected {rows:,}. An interrupted "
                "download? `labkit data get sign_mnist --force` fetches it again."
            )
        tables.append(table)
    return tables


def _read_member(archive: Path, member: str) -> tuple[str, np.ndarray]:
    name = f"{archive}: {member}"
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = [n for n in opened.namelist() if n.rsplit("/", 1)[-1] == member]
            if not inside:
                raise DataError(
                    f"{archive} holds no {member}: it is not Kaggle's archive of "
                    "datamunge/sign-language-mnist."
                )
            with opened.open(inside[0]) as stream:
                return name, read_csv(stream, name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(
            f"{archive} is damaged ({error}). `labkit data get sign_mnist --force` fetches it "
            "again."
        ) from error


def _check_header(content: bytes, name: str) -> None:
    header = tuple(content[:20_000].split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(","))
    if header == HEADER:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(header, HEADER, strict=False)) if a != b),
        min(len(header), len(HEADER)),
    )
    found = repr(header[first][:40]) if first < len(header) else "nothing"
    wanted = repr(HEADER[first]) if first < len(HEADER) else "the end of the line"
    raise DataError(
        f"{name}, row 1: column {first + 1} of the header is {found}, expected {wanted} "
        "(label,pixel1,…,pixel784)."
    )


def _bad_label(labels: np.ndarray) -> np.ndarray:
    return (labels > 24) | (labels == _J)


def _explain(content: bytes, name: str) -> None:
    """Find the first bad row and raise; the slow path of `read_csv`."""
    lines = content.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines[1:], start=2):
        fields = line.strip().split(",")
        last = number == len(lines)
        if last and fields == [""]:
            break
        where = f"{name}, row {number}"
        if len(fields) != len(HEADER):
            cut = " The file ends there: an interrupted download?" if number >= len(lines) - 1 else ""
            raise DataError(f"{where}: {len(fields)} columns, expected {len(HEADER)}.{cut}")
        for column, field in zip(HEADER, fields, strict=True):
            if not field.isdigit() or int(field) > 255:
                expected = "a label 0–24 without 9" if column == "label" else "an integer 0–255"
                raise DataError(f"{where}: {column} is {field[:20]!r}, expected {expected}.")
        if _bad_label(np.array(int(fields[0]))):
            raise DataError(
                f"{where}: label is {fields[0]}, expected 0–24 without 9 (J and Z are drawn in "
                "the air and have no images)."
            )
        if last:
            raise DataError(f"{where}: the last line has no end: an interrupted download?")


def _images(pixels: np.ndarray) -> np.ndarray:
    return (pixels.reshape(-1, 28, 28, 1) / np.float32(255)).astype(np.float32)


def _cached(name: str, make: Callable[[], np.ndarray], fresh: bool = False) -> np.ndarray:
    """An array from the cache folder, or (always if `fresh`) made now and put there."""
    path = folders.cache() / f"{name}.npy"
    if not fresh:
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # not there, or damaged: make it anew
            pass
    array = make()
    try:
        with files.replacing(path) as temporary:
            np.save(temporary, array)
    except OSError:  # a full disk or a read-only home costs time, nothing else
        pass
    return array


