"""CIFAR-10: 32 × 32 colour images of ten classes, 50,000 for training and 10,000 for testing.

The real files are the official `cifar-10-python.tar.gz` (as it is, or unpacked), or a tree of
images `train/<class>/*`, `test/<class>/*`, as a folder or a zip. The synthetic form is drawn by
`labkit.datasets.silhouettes`.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

from labkit.datasets import DataError, Part, Source, cache, image_folder, silhouettes
from labkit.datasets.source import in_rounds, one_of

CLASS_NAMES = silhouettes.CLASS_NAMES

_ARCHIVE, _FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
#: Names under which an image tree is recognised in the folder of real data.
_TREES = ("cifar10-images.zip", "CIFAR-10-images.zip", "cifar10-images", "CIFAR-10-images")
_BYTES = 3 * 32 * 32


def _draw(part: str, count: int, seed: int, clutter: bool = True) -> Part:
    """Every ten images in a row hold every class once; `clutter` as in `silhouettes.draw`."""
    classes = in_rounds(len(CLASS_NAMES), part, count, seed)
    return Part(silhouettes.draw(classes, 32, seed, part, clutter), classes)


def _read(found: tuple[Path, ...]) -> dict[str, Part]:
    (path,) = found
    is_official = path.name == _FOLDER or path.name.endswith(".tar.gz")
    return _read_batches(path) if is_official else _read_tree(path)


SOURCE = Source(
    name="cifar10",
    title="CIFAR-10",
    rows={"train": 50_000, "test": 10_000},
    quick={"train": 4_000, "test": 1_000},
    draw=_draw,
    find=one_of(_ARCHIVE, _FOLDER, *_TREES),
    read=_read,
    class_names=CLASS_NAMES,
    easy={"clutter": False},
    version=silhouettes.VERSION,
    synthetic="silhouettes of the ten classes, drawn by labkit.datasets.silhouettes",
    file=_ARCHIVE,
    page="https://www.cs.toronto.edu/~kriz/cifar.html",
    url=f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",
    licence="none stated; free for research with a citation",
    citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009",
    sha256={_ARCHIVE: "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
)
load, synthesize = SOURCE.load, SOURCE.synthesize


def _read_batches(path: Path) -> dict[str, Part]:
    parts, contents = {}, _contents(path)
    for part, names in _BATCHES.items():
        if missing := [name for name in names if name not in contents]:
            raise DataError(f"{path} holds no {missing[0]}: it is not CIFAR-10 for Python.")
        batches = [_batch(contents[name], f"{path}: {name}") for name in names]
        parts[part] = Part(*map(np.concatenate, zip(*batches, strict=True)))
    return parts


def _contents(path: Path) -> dict[str, bytes]:
    """Bytes of the files in the archive or its unpacked folder, by name."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    with tarfile.open(path) as archive:
        return {
            member.name.rsplit("/", 1)[-1]: archive.extractfile(member).read()
            for member in archive
            if member.isfile()
        }


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
        raise DataError(f"{name} is not a batch of CIFAR-10 ({error}).") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(classes), _BYTES):
        raise DataError(
            f"{name} holds {pixels.dtype} {pixels.shape} for {len(classes)} labels, expected uint8 "
            f"({len(classes)}, {_BYTES})."
        )
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(CLASS_NAMES):
        raise DataError(f"{name} has labels {classes.min()} to {classes.max()}, expected 0 to 9.")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), classes


def _read_tree(path: Path) -> dict[str, Part]:
    """The images of a tree; decoded once, then from the cache."""
    tree = image_folder.open_tree(path)
    if tree.class_names != CLASS_NAMES:
        raise DataError(
            f"{path} has the classes {', '.join(tree.class_names[:12])}; expected CIFAR-10's: "
            f"{', '.join(CLASS_NAMES)}."
        )
    stamp, parts = path.stat(), {}
    for part, name in (("train", "train"), ("test", "val")):
        key = {"path": str(path.resolve()), "time": stamp.st_mtime_ns, "bytes": stamp.st_size}
        key |= {"part": part, "images": len(tree.members[name])}

        def decode(name=name):
            pixels, _ = tree.load(name, image_folder.Preprocessing(32, scale=1))
            return [np.round(pixels).astype(np.uint8)]

        (images,) = cache.kept(f"cifar10-images-{part}", key, decode)
        parts[part] = Part(images, tree.classes[name])
    return parts
