"""Image trees like ImageNet's: `train/<class>/*` and `val/<class>/*`, as a folder or a zip.

Nothing is loaded as a whole: `batches` decodes images in threads while the ones before are used.
The synthetic form is a tree of silhouettes, written by `write_silhouettes`.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm.auto import tqdm

from labkit import files, runtime
from labkit.datasets import DataError, silhouettes

#: What the folders of a part may be called.
PARTS = {"train": ("train",), "val": ("val", "validation", "test")}
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
#: Of pictures that Pillow does not read.
_FOREIGN = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".raw", ".dng", ".svg")
CHANNEL_ORDERS = ("rgb", "bgr", "grey")

_BATCHES_AHEAD = 3


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a network sees it.

    The shorter side is scaled to `size` and the middle is cut out; then (image - mean) · scale.

    Attributes:
        size: height and width of the result, pixels.
        channel_order: "rgb", "bgr" (as Caffe's networks want it) or "grey".
        mean_pixel: one number per channel in that order, or none; in units of 0 to 255.
        scale: 1/255 for results in [0, 1] (without a mean), 1 for Caffe's 0 to 255.

    Raises:
        ValueError: a size below 1, another order, or a mean of another number of channels.
    """

    size: int
    channel_order: str = "rgb"
    mean_pixel: tuple[float, ...] = ()
    scale: float = 1 / 255

    def __post_init__(self):
        """Check the values against one another."""
        if self.size < 1:
            raise ValueError(f"size is {self.size}, expected pixels, at least 1.")
        if self.channel_order not in CHANNEL_ORDERS:
            raise ValueError(
                f"channel_order is {self.channel_order!r}, expected one of "
                f"{', '.join(CHANNEL_ORDERS)}."
            )
        if len(self.mean_pixel) not in (0, self.channels):
            raise ValueError(
                f"mean_pixel has {len(self.mean_pixel)} numbers, expected one for each of the "
                f"{self.channels} channels ({self.channel_order}), or none."
            )

    @property
    def channels(self) -> int:
        """Channels of the result."""
        return 1 if self.channel_order == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        return (self.size, self.size, self.channels)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """float32 (size, size, channels) of a picture of any size and mode, as a viewer shows it.

        Turned as its camera says, 16 bits as 8, what is transparent on white.

        Raises:
            ValueError: pixels of a type that has no black and white.
        """
        image = _shown(image).convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.size, self.size):
            image = _middle(image, self.size)
        pixels = np.asarray(image, np.float32).reshape(self.shape)
        if self.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        if self.mean_pixel:
            pixels = pixels - np.asarray(self.mean_pixel, np.float32)
        return np.ascontiguousarray(pixels * np.float32(self.scale))


#: SqueezeNet v1.1 as its authors published it: BGR, ImageNet's mean pixel, 0 to 255.
CAFFE = Preprocessing(227, "bgr", (104.0, 117.0, 123.0), 1.0)


class _Unshown(ValueError):
    """A picture whose pixels have no black and no white."""


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # whatever damaged facts about the picture provoke: it is shown as it is
        return False


def _shown(image: Image.Image) -> Image.Image:
    """A picture in one of the modes that convert as they look."""
    if _is_turned(image):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # grey, 16 bits, whether it is kept in 16 or in 32
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise _Unshown("its pixels have more than 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.mode == "F":
        raise _Unshown("its pixels are floats")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _middle(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size`, bicubic, and cut out the middle."""
    width, height = image.size
    shorter = min(width, height)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    return image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + shorter, top + shorter)
    )


@dataclass(frozen=True)
class ImageFolder:
    """A tree of images.

    Attributes:
        path: the folder or the zip.
        class_names: the classes' folders, sorted; the index is the class.
        members: of each part, the images' paths inside the tree, sorted.
        classes: of each part, int64 (N,), the class of each image.
    """

    path: Path
    class_names: tuple[str, ...]
    members: dict[str, tuple[str, ...]]
    classes: dict[str, np.ndarray]
    _archive: zipfile.ZipFile | None = field(default=None, repr=False)
    _stored: dict[str, str] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, part: str, index: int, preprocessing: Preprocessing) -> np.ndarray:
        """One image, float32 (size, size, channels).

        Raises:
            DataError: it cannot be read or is no image; names the file.
        """
        name = self.members[part][index]
        try:
            with Image.open(io.BytesIO(self.content(name))) as image:
                return preprocessing(image)
        # Pillow raises nearly anything for nearly anything.
        except (OSError, SyntaxError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{self.path}: {name} cannot be read as an image: {_reason(error)} Replace the "
                "file or take it out."
            ) from error
        except Image.DecompressionBombError as error:
            raise DataError(f"{self.path}: {name} is far too large: {error}") from error

    def batches(
        self,
        part: str,
        preprocessing: Preprocessing,
        batch: int = 64,
        *,
        shuffle: int | None = None,
        forever: bool = False,
        threads: int = 2,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and classes, decoded by threads while the batches before are used.

        Args:
            part: "train" or "val".
            batch: images at a time; the last batch of a pass is smaller.
            shuffle: seed of another order in each pass; None for the tree's order.
            forever: pass after pass without an end, in batches of the same size (what is left over
                at the end of a pass is dropped).

        Yields:
            float32 (B, size, size, channels) and int64 (B,).

        Raises:
            DataError: an image cannot be read; names the file.
        """
        order = self._order(part, batch, shuffle, forever)
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque = deque()
            try:
                for chosen in itertools.chain(order, [None] * _BATCHES_AHEAD):
                    if chosen is not None:
                        images = [pool.submit(self.read, part, i, preprocessing) for i in chosen]
                        waiting.append((images, self.classes[part][chosen]))
                    if waiting and (chosen is None or len(waiting) > _BATCHES_AHEAD):
                        images, classes = waiting.popleft()
                        yield np.stack([image.result() for image in images]), classes
            finally:  # of an error, or of a reader who has had enough
                pool.shutdown(cancel_futures=True)

    def load(self, part: str, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        """All images of a part, float32 (N, size, size, channels), and their classes (N,)."""
        images, classes = zip(*self._watched(part, preprocessing), strict=True)
        return np.concatenate(images), np.concatenate(classes)

    def verify(self, preprocessing: Preprocessing) -> None:
        """Decode every image once.

        Raises:
            DataError: naming the first image that cannot be read.
        """
        for part in self.members:
            for _ in self._watched(part, preprocessing):
                pass

    def _watched(self, part: str, preprocessing: Preprocessing):
        steps = -(-len(self.members[part]) // 64)
        quiet = not runtime.interactive()
        return tqdm(self.batches(part, preprocessing), part, steps, leave=False, disable=quiet)

    def _order(self, part: str, batch: int, shuffle: int | None, forever: bool):
        count = len(self.members[part])
        for number in itertools.count() if forever else [0]:
            order = np.arange(count)
            if shuffle is not None:
                order = np.random.default_rng([shuffle, number]).permutation(count)
            size = min(batch, count)
            end = count - count % size if forever else count
            for start in range(0, end, size):
                yield order[start : start + size]

    def content(self, name: str) -> bytes:
        """Bytes of a file of the tree, for example of a table beside the images.

        Raises:
            OSError, KeyError: there is none in the folder, or in the zip.
        """
        if self._archive is None:
            return (self.path / name).read_bytes()
        with self._lock:  # one file behind all members
            return self._archive.read(self._stored.get(name, name))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    if isinstance(error, _Unshown):
        return f"{error}."
    return "it is damaged, or no image."


def open_tree(path: str | Path, parts: tuple[str, ...] = tuple(PARTS)) -> ImageFolder:
    """Find the images of a tree; none is decoded yet.

    Args:
        path: a folder or a zip with `train/<class>/*` and `val/<class>/*` (or validation, test),
            at its root or in one folder below.
        parts: those that must be there; others are read where they are.

    Raises:
        DataError: a part or all classes are missing, a class is empty, or the parts have other
            classes.
    """
    path = Path(path)
    archive, stored = None, {}
    if path.is_dir():
        names = list(_below(path))
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is neither a folder nor a zip that can be read.") from error
        # Windows writes backslashes between folders, whatever the format says.
        stored = {name.replace("\\", "/"): name for name in archive.namelist()}
        names = list(stored)
    else:
        raise DataError(f"{path}: there is no such folder or zip of images.")
    trees = {part: _tree(path, names, part, part in parts) for part in PARTS}
    trees = {part: tree for part, tree in trees.items() if tree}
    class_names = tuple(sorted(set().union(*trees.values())))
    for part, tree in trees.items():
        if missing := [name for name in class_names if name not in tree]:
            raise DataError(
                f"{path}: {part} has no class {missing[0]!r}, which another part has; "
                f"{len(missing)} of {len(class_names)} classes are missing."
            )
    members = {p: tuple(m for name in class_names for m in trees[p][name]) for p in trees}
    classes = {
        p: np.repeat(np.arange(len(class_names)), [len(trees[p][name]) for name in class_names])
        for p in trees
    }
    return ImageFolder(path, class_names, members, classes, archive, stored)


def _below(folder: Path) -> Iterator[str]:
    """What lies in a folder, links to other folders followed; folders end in a slash."""
    for where, folders, found in os.walk(folder, followlinks=True):
        here = Path(where)
        above = {folder.resolve() for folder in (here, *here.parents)}
        # A link to a folder that leads here would lead round and round.
        folders[:] = [name for name in folders if (here / name).resolve() not in above]
        inside = here.relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        yield from (f"{prefix}{name}/" for name in folders)
        yield from (f"{prefix}{name}" for name in found)


def _tree(path: Path, names: list[str], part: str, needed: bool) -> dict[str, list[str]]:
    """Images of a part by class; empty if the part is not there and need not be."""
    found = next(filter(None, (_classes(names, folder) for folder in PARTS[part])), {})
    if not found and needed:
        raise DataError(
            f"{path}: there is no {' or '.join(PARTS[part])} folder with a folder for each class, "
            f"expected {PARTS[part][0]}/<class>/*.jpg or *.png (or another of an image)."
        )
    for name, images in found.items():
        if not images:
            raise DataError(
                f"{path}: class {name!r} of {part} is empty, expected images "
                f"({', '.join(SUFFIXES)}) in its folder. Add some or remove the folder."
            )
        images.sort()
    return found


def _classes(names: list[str], folder: str) -> dict[str, list[str]]:
    """Images below `folder`, by the name of the class's folder.

    The tree may lie in one folder itself: cifar/train/cat/1.jpg.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        pieces, is_folder = PurePosixPath(name).parts, name.endswith("/")
        if any(piece.startswith((".", "__MACOSX")) for piece in pieces):
            continue
        below = next((pieces[i + 1 :] for i in (0, 1) if pieces[i : i + 1] == (folder,)), ())
        if len(below) > 1 and not is_folder and below[-1].lower().endswith(_FOREIGN):
            raise DataError(
                f"{name}: labkit reads {', '.join(SUFFIXES)}; convert the image, or take it out."
            )
        if len(below) > 1 and not is_folder and below[-1].lower().endswith(SUFFIXES):
            found.setdefault(below[0], []).append(name)
        elif len(below) == 1 and is_folder:
            found.setdefault(below[0], [])
    return found


def write_silhouettes(
    folder: str | Path, train: int, val: int, size: int = 64, seed: int = 0
) -> ImageFolder:
    """Draw a tree of PNGs of `labkit.datasets.silhouettes`, whole or not at all.

    Args:
        folder: must not exist yet, or be empty.
        train, val: images of each class.
        size: height and width, pixels.

    Raises:
        DataError: the folder holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty; name a new folder.")
    names = silhouettes.CLASS_NAMES
    with files.new_folder(folder) as temporary:
        for part, stream, count in (("train", "train", train), ("val", "test", val)):
            classes = np.tile(np.arange(len(names)), count)
            for i, image in enumerate(silhouettes.draw(classes, size, seed, stream)):
                target = temporary / part / names[classes[i]]
                target.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(target / f"{i // len(names):04}.png")
    return open_tree(folder)
