"""Sign Language MNIST: 28 × 28 grey images of 24 letters of the American Sign Language alphabet.

The real files are those of Kaggle's `datamunge/sign-language-mnist`: two CSVs with a header
`label,pixel1,…,pixel784`, labels 0 to 24 without 9 (J), as they come in the archive or unpacked.
The synthetic form is drawn by `labkit.datasets.hands`.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from labkit import files, runtime
from labkit.datasets import DataError, Dataset, folders, hands, registry

CLASS_NAMES = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")
HEADER = ("label", *(f"pixel{i}" for i in range(1, 785)))
#: Rows of the published files, by part.
ROWS = registry.entry("sign_mnist").rows
#: Images of the quick profile, by part.
QUICK = {"train": 4_000, "test": 1_000}

_J = 9  # the letter that is drawn in the air; so is Z, 25
_VALID_LABELS = [label for label in range(25) if label != _J]
_AGAIN = "`labkit data get sign_mnist --force` downloads it again."


def load(mode: str = "auto", profile: str = "full", seed: int = 0) -> Dataset:
    """Load the data set.

    Args:
        mode: "real", "synthetic", or "auto" for real where it is found and synthetic elsewhere.
        profile: "full" for everything, "quick" for 4,000 training and 1,000 test images.
        seed: of the drawing, and of the quick profile's choice among real images.

    Raises:
        DataError: real data is asked for and missing; or found and damaged, in either mode.
    """
    runtime.checked_choice("mode", mode, runtime.DATA_MODES)
    runtime.checked_choice("profile", profile, runtime.PROFILES)
    if mode == "real" or (mode == "auto" and find()):
        dataset = read_real()
        return dataset if profile == "full" else dataset.subset(**QUICK, seed=seed)
    return synthesize(**(ROWS if profile == "full" else QUICK), seed=seed)


def synthesize(train: int, test: int, seed: int = 0) -> Dataset:
    """Draw a data set; the hands of the test images belong to other people than the training's.

    Args:
        train, test: numbers of images; a smaller set is the beginning of a larger one, and every
            24 images in a row hold every letter once.
        seed: the same seed draws the same images.
    """
    parts = []
    for stream, count in (("train", train), ("test", test)):
        rng = np.random.default_rng([seed, stream == "test"])
        rounds = [rng.permutation(len(CLASS_NAMES)) for _ in range(-(-count // len(CLASS_NAMES)))]
        classes = np.concatenate(rounds)[:count].astype(np.int64)
        parts += [_images(_drawn(classes, seed, stream)), classes]
    return Dataset("sign_mnist", "synthetic", *parts, CLASS_NAMES)


def find() -> tuple[Path, ...] | None:
    """The real files: an archive, or the CSVs for training and test; None where there are none.

    Searched in the folder of real data: Kaggle's archive under the name that its client or its
    page gives it, then the CSVs side by side or in the archive's folders.
    """
    folder = folders.real()
    archive = folder / registry.entry("sign_mnist").file
    if archive.is_file():
        return (archive,)
    if _is_ours(folder / "archive.zip"):
        return (folder / "archive.zip",)
    pair = []
    for part in ROWS:
        csv = f"sign_mnist_{part}.csv"
        bases = [base for top in (folder, folder / archive.stem) for base in (top, top / csv[:-4])]
        pair.append(next((b / csv for b in bases if (b / csv).is_file()), folder / csv))
    # One without the other is a mistake to be told, not to be passed over in silence.
    return tuple(pair) if any(path.is_file() for path in pair) else None


def read_real() -> Dataset:
    """Read and validate the real files.

    Raises:
        DataError: naming the file, the line and what was expected.
    """
    parts = []
    for _, _, table in _tables(find()):
        parts += [_images(table[:, 1:]), class_index(table[:, 0])]
    return Dataset("sign_mnist", "real", *parts, CLASS_NAMES)


def verify(found: tuple[Path, ...] | None) -> registry.Report:
    """Read the real files whole and compare their checksums with the published ones.

    Args:
        found: from `find`.

    Raises:
        DataError: naming the file, the line and what was expected.
    """
    published = registry.entry("sign_mnist").sha256
    rows, same = {}, True
    for part, content, table in _tables(found):
        digest = hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        rows[part], same = len(table), same and digest == published[part]
    return registry.Report("sign_mnist", found, rows, same)


def read_csv(path: str | Path) -> np.ndarray:
    """Read and validate one CSV, with LF or CRLF line ends.

    Returns:
        uint8 (rows, 785): the label as in the file, then 784 pixels.

    Raises:
        DataError: naming the file, the line (the header is line 1) and what was expected.
    """
    return _parse(_content(Path(path)), str(path))


def read_zip(path: str | Path, part: str) -> np.ndarray:
    """Read and validate the CSV of one part, "train" or "test", inside Kaggle's archive.

    Nothing is unpacked. Returns and raises as `read_csv`.
    """
    return _parse(_member(Path(path), part), f"{path}: sign_mnist_{part}.csv")


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


def _tables(found: tuple[Path, ...] | None) -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Each part with its file's bytes and its validated table, complete."""
    if not found:
        entry = registry.entry("sign_mnist")
        raise DataError(
            f"Sign Language MNIST is not in {folders.real()}. `labkit data get sign_mnist` "
            f"downloads it; or put {entry.file} from {entry.page} there; or set LABKIT_DATA to the "
            "folder that holds it; or use the synthetic images (DATA = 'synthetic')."
        )
    for i, part in enumerate(ROWS):
        if len(found) == 1:
            name, content = f"{found[0]}: sign_mnist_{part}.csv", _member(found[0], part)
        else:
            name, content = str(found[i]), _content(found[i])
        table = _parse(content, name)
        if len(table) != ROWS[part]:
            raise DataError(
                f"{name} has {len(table):,} rows of images, expected {ROWS[part]:,}: an "
                f"interrupted download, or another data set. {_AGAIN}"
            )
        yield part, content, table


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. {_AGAIN}") from error


def _member(archive: Path, part: str) -> bytes:
    """The bytes of a part's CSV in the archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            name = _member_name(opened, part)
            if name is None:
                raise DataError(
                    f"{archive} holds no sign_mnist_{part}.csv: it is not Kaggle's archive of "
                    f"{registry.entry('sign_mnist').kaggle}."
                )
            return opened.read(name)
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror}.") from error
    # RuntimeError: encrypted; NotImplementedError: a compression that Python does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive} is damaged: {error}. {_AGAIN}") from error


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
            return any(_member_name(opened, part) for part in ROWS)
    except (zipfile.BadZipFile, OSError):
        return True  # nobody can tell; reading it will say what is wrong


def _parse(content: bytes, name: str) -> np.ndarray:
    """The table uint8 (rows, 785) of a CSV's bytes; fast, and slow only to say what is wrong."""
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
    cut = f"the file ends within this line. An interrupted download? {_AGAIN}"
    for number, line in enumerate(lines[1:], start=2):
        fault = _line_fault(line.rstrip("\r").split(","))
        if fault:
            return f"line {number}: {fault}"
    if rest:
        return f"line {len(lines) + 1}: {cut}"
    if len(lines) < 2:
        return f"line 2: there are no images below the header. {_AGAIN}"
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


def _images(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1, 28, 28, 1) / np.float32(255)


def _drawn(classes: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """Images from the cache folder, or drawn now and put there; uint8 (N, 28, 28, 1)."""
    name = f"hands-{hands.VERSION}-{stream}-{len(classes)}-{seed}.npz"
    path = folders.cache() / name
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["images"]  # a damaged file fails its checksum here
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        images = hands.draw(classes, seed=seed, stream=stream)
    try:
        with files.replacing(path) as temporary:
            np.savez(temporary, images=images)
    except OSError:  # a full disk or a read-only home costs time, nothing else
        pass
    return images
