"""Sign Language MNIST: 28 × 28 grey images of 24 letters of the American Sign Language alphabet.

The real files are those of Kaggle's `datamunge/sign-language-mnist`: two CSVs with a header
`label,pixel1,…,pixel784`, labels 0 to 24 without 9 (J), as they come in the archive or unpacked.
The synthetic form is drawn by `labkit.datasets.hands`.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from labkit import files
from labkit.datasets import DataError, Part, Source, hands
from labkit.datasets.source import PARTS, in_rounds

CLASS_NAMES = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")
HEADER = ("label", *(f"pixel{i}" for i in range(1, 785)))

_ARCHIVE, _KAGGLE = "sign-language-mnist.zip", "datamunge/sign-language-mnist"
_J = 9  # the letter that is drawn in the air; so is Z, 25
_VALID_LABELS = [label for label in range(25) if label != _J]


def _draw(part: str, count: int, seed: int) -> Part:
    """Every 24 images in a row hold every letter once; the test hands are other people's."""
    classes = in_rounds(len(CLASS_NAMES), part, count, seed)
    return Part(hands.draw(classes, seed=seed, stream=part), classes)


def _find(folder: Path) -> tuple[Path, ...]:
    """Kaggle's archive, as its client or its page names it; or the CSVs, in its folders or not."""
    archive = folder / _ARCHIVE
    if archive.is_file():
        return (archive,)
    if _is_ours(folder / "archive.zip"):
        return (folder / "archive.zip",)
    pair = []
    for part in PARTS:
        csv = f"sign_mnist_{part}.csv"
        bases = [base for top in (folder, folder / archive.stem) for base in (top, top / csv[:-4])]
        pair.append(next((b / csv for b in bases if (b / csv).is_file()), folder / csv))
    # One without the other is a mistake to be told, not to be passed over in silence.
    return tuple(pair) if any(path.is_file() for path in pair) else ()


def _read(found: tuple[Path, ...]) -> dict[str, Part]:
    tables = {part: _parse(content, name) for part, name, content in _contents(found)}
    return {
        part: Part(table[:, 1:].reshape(-1, 28, 28, 1), class_index(table[:, 0]))
        for part, table in tables.items()
    }


def _is_published(found: tuple[Path, ...]) -> bool:
    return all(
        hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == SOURCE.sha256[part]
        for part, _, content in _contents(found)
    )


SOURCE = Source(
    name="sign_mnist",
    title="Sign Language MNIST",
    rows={"train": 27_455, "test": 7_172},
    quick={"train": 4_000, "test": 1_000},
    draw=_draw,
    find=_find,
    read=_read,
    is_published=_is_published,
    class_names=CLASS_NAMES,
    version=hands.VERSION,
    synthetic="24 letters of the American Sign Language alphabet, drawn by labkit.datasets.hands",
    file=_ARCHIVE,
    page=f"https://www.kaggle.com/{_KAGGLE}",
    kaggle=_KAGGLE,
    licence="CC0: Public Domain (as listed on its page)",
    citation="tecperson: Sign Language MNIST. Kaggle, 2017",
    # Of the CSVs with LF line ends; Kaggle's have CRLF.
    sha256={
        "train": "b7ff39ad5f1210fa765ce11aa5f20c2e97fe467ffc22231aac923c863eef75c4",
        "test": "178c0dd21c4b0e86d58df12f14ea1e9efa795ad19d146802b3b28094a16d56ae",
    },
)
load, synthesize = SOURCE.load, SOURCE.synthesize


def read_csv(path: str | Path) -> np.ndarray:
    """Read and validate one CSV, with LF or CRLF line ends.

    Returns:
        uint8 (rows, 785): the label as in the file, then 784 pixels.

    Raises:
        DataError: naming the file, the line (the header is line 1) and what was expected.
    """
    return _parse(Path(path).read_bytes(), str(path))


def write_csv(path: str | Path, images: np.ndarray, classes: np.ndarray) -> Path:
    """Write images as a CSV like the published ones, CRLF line ends included.

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


def class_index(labels: np.ndarray) -> np.ndarray:
    """Class indices 0..23, int64, of labels 0..24 without 9."""
    labels = np.asarray(labels).astype(np.int64)
    return labels - (labels > _J)


def _contents(found: tuple[Path, ...]) -> Iterator[tuple[str, str, bytes]]:
    """Each part with its CSV's name and bytes."""
    for i, part in enumerate(PARTS):
        if len(found) > 1:
            yield part, str(found[i]), found[i].read_bytes()
            continue
        csv = f"{found[0]}: sign_mnist_{part}.csv"
        with zipfile.ZipFile(found[0]) as archive:
            name = _member_name(archive, part)
            if name is None:
                raise DataError(f"{csv} is missing: it is not Kaggle's archive of {_KAGGLE}.")
            yield part, csv, archive.read(name)


def _member_name(archive: zipfile.ZipFile, part: str) -> str | None:
    """The CSV of a part; Kaggle's archive holds it twice, at the root and in a folder."""
    wanted = f"sign_mnist_{part}.csv"
    names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == wanted]
    return min(names, key=len, default=None)


def _is_ours(archive: Path) -> bool:
    """Whether an archive.zip, the name of all of Kaggle's downloads by hand, is this data set."""
    if not archive.is_file():
        return False
    try:
        with zipfile.ZipFile(archive) as opened:
            return any(_member_name(opened, part) for part in PARTS)
    except (zipfile.BadZipFile, OSError):
        return True  # nobody can tell; reading it will say what is wrong


def _parse(content: bytes, name: str) -> np.ndarray:
    """The table uint8 (rows, 785) of a CSV's bytes; fast, and slow only to say what is wrong.

    A byte order mark, and empty lines at the end, are an editor's, and mean nothing.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.endswith((b"\n\n", b"\n\r\n")):
        content = content.rstrip(b"\r\n") + b"\n"
    header = tuple(content.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split(","))
    if header != HEADER:
        raise DataError(f"{name}, line 1: {_header_fault(header)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # older versions of NumPy only warn that 3.5 becomes 3
            table = np.loadtxt(
                io.BytesIO(content), np.uint8, comments=None, delimiter=",", skiprows=1, ndmin=2
            )
    except (ValueError, Warning):
        table = None
    # Every line must have its end: without it the last number may have lost digits.
    if (
        table is None
        or table.shape != (content.count(b"\n") - 1, len(HEADER))
        or not content.endswith(b"\n")
        or not np.isin(table[:, 0], _VALID_LABELS).all()
    ):
        raise DataError(f"{name}, {_fault(content)}")
    return table


def _header_fault(header: tuple[str, ...]) -> str:
    pairs = zip(header, HEADER, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(header), len(HEADER)))
    found = repr(header[first][:40]) if first < len(header) else "missing"
    wanted = repr(HEADER[first]) if first < len(HEADER) else "the end of the line"
    return (
        f"column {first + 1} of the header is {found}, expected {wanted} (label,pixel1,…,pixel784)."
    )


def _fault(content: bytes) -> str:
    """Where and what the first fault is in the rows below a good header."""
    *lines, rest = content.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines[1:], start=2):
        fault = _line_fault(line.rstrip("\r").split(","))
        if fault:
            return f"line {number}: {fault}"
    if rest:
        return f"line {len(lines) + 1}: the file ends within it. An interrupted download?"
    if len(lines) < 2:
        return "line 2: there are no images below the header."
    return "which numpy.loadtxt cannot read, though every line looks right."


def _line_fault(fields: list[str]) -> str | None:
    if len(fields) != len(HEADER):
        return f"{len(fields)} columns, expected {len(HEADER)}."
    for column, field in zip(HEADER, fields, strict=True):
        number = int(field) if field.isascii() and field.strip().isdigit() else None
        if column == "label" and number not in _VALID_LABELS:
            return (
                f"label is {field[:20]!r}, expected an integer 0–24 without 9 (J and Z are drawn "
                "in the air and have no images)."
            )
        if number is None or number > 255:
            return f"{column} is {field[:20]!r}, expected an integer 0–255."
    return None
