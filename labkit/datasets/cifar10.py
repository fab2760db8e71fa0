"""CIFAR-10: 32 × 32 colour images of ten classes, 50,000 for training and 10,000 for testing.

The real files are the official `cifar-10-python.tar.gz` (as it is, or unpacked), or a tree of
images `train/<class>/*`, `test/<class>/*`, as a folder or a zip. The synthetic form is drawn by
`labkit.datasets.silhouettes`.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from labkit import files, runtime
from labkit.datasets import DataError, Dataset, folders, image_folder, registry, silhouettes

CLASS_NAMES = silhouettes.CLASS_NAMES
#: Images of the published files, by part.
ROWS = registry.entry("cifar10").rows
#: Images of the quick profile, by part.
QUICK = {"train": 4_000, "test": 1_000}

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_FOLDER = "cifar-10-batches-py"
#: Names under which an image tree is recognised in the folder of real data.
_TREES = ("cifar10-images.zip", "CIFAR-10-images.zip", "cifar10-images", "CIFAR-10-images")
_BYTES = 3 * 32 * 32
_AGAIN = "`labkit data get cifar10 --force` downloads it again."


def load(mode: str = "auto", profile: str = "full", seed: int = 0) -> Dataset:
    """Load the data set.

    Args:
        mode: "real", "synthetic", or "auto" for real where it is found and synthetic elsewhere.
        profile: "full" for everything, "quick" for 4,000 training and 1,000 test images; drawn ones
            without clutter, so that a small network learns them in seconds.
        seed: of the drawing, and of the quick profile's choice among real images.

    Returns:
        images float32 (N, 32, 32, 3) in [0, 1], RGB.

    Raises:
        DataError: real data is asked for and missing; or found and damaged, in either mode.
    """
    runtime.checked_choice("mode", mode, runtime.DATA_MODES)
    runtime.checked_choice("profile", profile, runtime.PROFILES)
    if mode == "real" or (mode == "auto" and find()):
        dataset = read_real()
        return dataset if profile == "full" else dataset.subset(**QUICK, seed=seed)
    if profile == "full":
        return synthesize(**ROWS, seed=seed)
    return synthesize(**QUICK, seed=seed, clutter=False)


def synthesize(train: int, test: int, seed: int = 0, clutter: bool = True) -> Dataset:
    """Draw a data set of silhouettes.

    Args:
        train, test: numbers of images; a smaller set is the beginning of a larger one, and every
            ten images in a row hold every class once.
        seed: the same seed draws the same images.
        clutter: as in `silhouettes.draw`.
    """
    parts = []
    for stream, count in (("train", train), ("test", test)):
        rng = np.random.default_rng([seed, stream == "test"])
        rounds = [rng.permutation(len(CLASS_NAMES)) for _ in range(-(-count // len(CLASS_NAMES)))]
        classes = np.concatenate(rounds)[:count].astype(np.int64)
        parts += [silhouettes.draw(classes, 32, seed, stream, clutter) / np.float32(255), classes]
    return Dataset("cifar10", "synthetic", *parts, CLASS_NAMES)


def find() -> tuple[Path, ...] | None:
    """The real files: the official archive, its folder, or a tree of images; None without any."""
    folder = folders.real()
    names = (registry.entry("cifar10").file, _FOLDER, *_TREES)
    return next(((folder / name,) for name in names if (folder / name).exists()), None)


def read_real() -> Dataset:
    """Read and validate the real files.

    Raises:
        DataError: naming the file and what was expected.
    """
    parts = []
    for images, classes in _parts(find()).values():
        parts += [images / np.float32(255), classes]
    return Dataset("cifar10", "real", *parts, CLASS_NAMES)


def verify(found: tuple[Path, ...] | None) -> registry.Report:
    """Read the real files whole and compare their pixels with the published ones.

    Args:
        found: from `find`.

    Raises:
        DataError: naming the file and what was expected.
    """
    parts = _parts(found)
    rows = {part: len(classes) for part, (_, classes) in parts.items()}
    (path,) = found
    entry = registry.entry("cifar10")
    same = path.is_file() and _sha256(path) == entry.sha256[entry.file]
    return registry.Report("cifar10", found, rows, same)


def _parts(found: tuple[Path, ...] | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images uint8 (N, 32, 32, 3) and classes int64 (N,) of each part, complete."""
    if not found:
        entry = registry.entry("cifar10")
        raise DataError(
            f"CIFAR-10 is not in {folders.real()}. `labkit data get cifar10` downloads it; or put "
            f"{entry.file} from {entry.page} there; or set LABKIT_DATA to the folder that holds "
            "it; or use the synthetic images (DATA = 'synthetic')."
        )
    (path,) = found
    is_official = path.name == _FOLDER or path.name.endswith(".tar.gz")
    parts = _read_batches(path) if is_official else _read_tree(path)
    for part, (_, classes) in parts.items():
        if len(classes) != ROWS[part]:
            raise DataError(
                f"{path} has {len(classes):,} images in {part}, expected {ROWS[part]:,}: it is "
                "incomplete, or another data set."
            )
    return parts


def _read_batches(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    parts = {}
    contents = dict(_official_files(path))
    for part, names in _BATCHES.items():
        if missing := [name for name in names if name not in contents]:
            raise DataError(
                f"{path} holds no {missing[0]}: it is not CIFAR-10 for Python. {_AGAIN}"
            )
        batches = [_batch(contents[name], f"{path}: {name}") for name in names]
        parts[part] = tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return parts


def _official_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the batches in the archive or its unpacked folder."""
    wanted = {name for names in _BATCHES.values() for name in names}
    try:
        if path.is_dir():
            yield from (
                (name, (path / name).read_bytes())
                for name in sorted(wanted)
                if (path / name).is_file()
            )
            return
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if member.isfile() and name in wanted:
                    yield name, archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}. {_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. {_AGAIN}") from error


class _Plain(pickle.Unpickler):
    """Reads arrays, and nothing that could run code: a pickle may come from anywhere."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 32, 32, 3) and classes of one official batch file."""
    try:
        table = _Plain(io.BytesIO(content), encoding="bytes").load()
        pixels, classes = np.asarray(table[b"data"]), np.asarray(table[b"labels"], np.int64)
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise DataError(f"{name} is not a batch of CIFAR-10 ({error}). {_AGAIN}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(classes), _BYTES):
        raise DataError(
            f"{name} holds {pixels.dtype} {pixels.shape} for {len(classes)} labels, expected uint8 "
            f"({len(classes)}, {_BYTES}). {_AGAIN}"
        )
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(CLASS_NAMES):
        raise DataError(f"{name} has labels {classes.min()} to {classes.max()}, expected 0 to 9.")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), classes


def _read_tree(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The images of a tree; decoded once, then from the cache."""
    tree = image_folder.open_tree(path)
    if tree.class_names != CLASS_NAMES:
        raise DataError(
            f"{path} has the classes {', '.join(tree.class_names[:12])}; expected CIFAR-10's: "
            f"{', '.join(CLASS_NAMES)}."
        )
    parts = {}
    for part, name in (("train", "train"), ("test", "val")):
        stamp = path.stat()
        key = f"{path.resolve()}|{stamp.st_mtime_ns}|{stamp.st_size}|{len(tree.members[name])}"
        cached = folders.cache() / f"cifar10-{part}-{zlib.crc32(key.encode()):08x}.npz"
        parts[part] = (_decoded(tree, name, cached), tree.classes[name])
    return parts


def _decoded(tree: image_folder.ImageFolder, part: str, cached: Path) -> np.ndarray:
    """Images uint8 (N, 32, 32, 3) of a part."""
    try:
        with np.load(cached, allow_pickle=False) as stored:
            return stored["images"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pixels, _ = tree.load(part, image_folder.Preprocessing(32, scale=1))
    images = np.round(pixels).astype(np.uint8)
    try:
        with files.replacing(cached) as temporary:
            np.savez(temporary, images=images)
    except OSError:  # a full disk or a read-only home costs time, nothing else
        pass
    return images


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
