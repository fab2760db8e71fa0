"""The one protocol of the data sets: a source says how to find, read, verify and synthesise.

What all have in common is written here once: modes, sizes, the cache, completeness, downloads and
what is said when something is missing or damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labkit import runtime
from labkit.datasets import cache, download, folders
from labkit.datasets.dataset import DataError, Dataset, Origin, Part

PARTS = ("train", "test")


@dataclass(frozen=True)
class Verification:
    """What `Source.verify` found, all of it valid.

    Attributes:
        files: that were read.
        rows: samples in each part.
        published: whether these are the published bytes.
    """

    name: str
    files: tuple[Path, ...]
    rows: dict[str, int]
    published: bool

    def __str__(self) -> str:
        """One line for a terminal."""
        rows = " + ".join(f"{count:,} {part}" for part, count in self.rows.items())
        same = "the published bytes" if self.published else "valid, but not the published bytes"
        return f"{self.name}: {rows} rows, {same} ({', '.join(map(str, self.files))})"


@dataclass(frozen=True)
class Source:
    """A data set that can be loaded: a few functions, and the facts about it.

    Attributes:
        name: as `labkit data` has it.
        title: as people call it.
        rows: samples of "train" and "test": of the published files, and synthetic ones.
        quick: samples of them for a quick run.
        draw: draw(part, count, seed, **options) synthesises a `Part` of `count` samples, a smaller
            one being the beginning of a larger one; None where only real data will do.
        find: find(folder) gives the real files there, none or an empty tuple where they are not;
            see `one_of`. Without, there is no real form.
        read: read(files) gives a `Part` for "train" and for "test", and may raise a DataError that
            names file, row and what was expected. Other errors of its mean damaged files.
        is_published: is_published(files) says whether they are the published ones; without, the
            files' checksums do.
        class_names, coordinates, unit, in_order: as `Dataset` has them.
        easy: options of `draw` for a quick run, so that a small network learns in seconds.
        version: of what `draw` draws, for the cache; None for what is drawn too quickly to be kept.
        synthetic: what `draw` makes, in words.
        file: what a download is called in the folder of real data.
        page: where people find it.
        kaggle: owner/name on Kaggle, where it is published there.
        url: of the file, where anybody may download it.
        sha256: by the files' names, or as `is_published` has it.
    """

    name: str
    title: str
    rows: dict[str, int]
    quick: dict[str, int]
    draw: Callable[..., Part] | None = None
    find: Callable[[Path], tuple[Path, ...] | None] = lambda folder: None
    read: Callable[[tuple[Path, ...]], dict[str, Part]] | None = None
    is_published: Callable[[tuple[Path, ...]], bool] | None = None
    class_names: tuple[str, ...] | None = None
    coordinates: tuple[str, ...] = ()
    unit: str = ""
    in_order: bool = False
    easy: dict = field(default_factory=dict)
    version: int | None = None
    synthetic: str = ""
    file: str = ""
    page: str = ""
    kaggle: str = ""
    url: str = ""
    licence: str = ""
    citation: str = ""
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def can_be_downloaded(self) -> bool:
        """Whether `labkit data get` knows a place to get it from."""
        return bool(self.url or self.kaggle)

    def load(self, mode: str = "auto", *, quick: bool = False, seed: int = 0) -> Dataset:
        """Load the data set.

        Args:
            mode: "real", "synthetic", or "auto" for real where it is found and synthetic elsewhere.
            quick: fewer samples, and synthetic ones that are easier to tell apart.
            seed: of the drawing, and of the choice of fewer among real samples.

        Raises:
            DataError: real data is asked for and missing; or found and damaged, in either mode.
        """
        runtime.checked_choice("mode", mode, runtime.DATA_MODES)
        found = () if mode == "synthetic" else self.found()
        if found or mode == "real" or (mode == "auto" and self.draw is None):
            dataset = self._dataset(Origin.REAL, self._read(found))
            return dataset.subset(**self.quick, seed=seed) if quick else dataset
        if quick:
            return self.synthesize(**self.quick, seed=seed, **self.easy)
        return self.synthesize(**self.rows, seed=seed)

    def synthesize(self, train: int, test: int, seed: int = 0, **options) -> Dataset:
        """Draw the data set's synthetic form.

        Args:
            train, test: numbers of samples; a smaller set is the beginning of a larger one.
            seed: the same seed draws the same samples.
            options: of the drawing.
        """
        if self.draw is None:
            raise DataError(f"there is no synthetic form of {self.title}; use DATA = 'real'.")
        counts = zip(PARTS, (train, test), strict=True)
        drawn = {part: self._drawn(part, count, seed, options) for part, count in counts}
        return self._dataset(Origin.SYNTHETIC, drawn)

    def found(self) -> tuple[Path, ...]:
        """The real files on this disk; empty where they are not."""
        return self.find(folders.real()) or ()

    def verify(self, files: tuple[Path, ...] | None = None) -> Verification:
        """Read the real files whole and compare them with the published ones.

        Args:
            files: those that `found` gives, without.

        Raises:
            DataError: they are missing, damaged or incomplete.
        """
        files = files or self.found()
        rows = {part: len(samples.y) for part, samples in self._read(files).items()}
        return Verification(
            self.name, files, rows, (self.is_published or self._has_checksums)(files)
        )

    def get(self, force: bool = False) -> Path:
        """Download the real data into the folder of real data, unless it is there.

        The download takes its place only when it has the published checksum; where none is
        published, when it was read whole and is complete.

        Args:
            force: download again and replace the file that is there.

        Returns:
            The file.

        Raises:
            DataError: no credentials, no connection, or not the published data; nothing changes.
        """
        if self.found() and not force:
            return self.verify().files[0]
        target = folders.real() / self.file
        if self.url:
            known = self.sha256.get(self.file)
            check = download.has_sha256(known) if known else lambda arrived: self.verify((arrived,))
            return download.from_http(self.url, target, check)
        if not self.kaggle:
            raise self._missing()

        def check(arrived: Path) -> None:
            if not self.verify((arrived,)).published:
                raise DataError(f"its checksums are not those of the published {self.title}.")

        return download.from_kaggle(self.kaggle, target, check, page=self.page)

    def _dataset(self, origin: Origin, parts: dict[str, Part]) -> Dataset:
        return Dataset.from_arrays(
            self.name,
            *(parts[part] for part in PARTS),
            class_names=self.class_names,
            coordinates=self.coordinates,
            unit=self.unit,
            in_order=self.in_order,
            origin=origin,
        )

    def _drawn(self, part: str, count: int, seed: int, options: dict) -> Part:
        def draw() -> list[np.ndarray]:
            return [a for a in self.draw(part, count, seed, **options) if a is not None]

        key = {"version": self.version, "count": count, "seed": seed, **options}
        kept = self.version is not None
        return Part(*(cache.kept(f"{self.name}-{part}", key, draw) if kept else draw()))

    def _read(self, files: tuple[Path, ...]) -> dict[str, Part]:
        """Both parts of the real files, complete."""
        if not files:
            raise self._missing()
        names = " and ".join(map(str, files))
        again = f"Get {self.file} from {self.page} again."
        if self.can_be_downloaded:
            again = f"`labkit data get {self.name} --force` downloads it again."
        try:
            parts = self.read(files)
            for part, count in self.rows.items():
                if (found := len(parts[part].y)) != count:
                    raise DataError(
                        f"{names}: {part} has {found:,} samples, expected {count:,}: an "
                        "interrupted download, or another data set."
                    )
        except DataError as error:
            raise DataError(f"{error} {again}") from error
        except OSError as error:
            place, reason = error.filename or names, error.strerror or error
            raise DataError(f"{place} cannot be read: {reason}. {again}") from error
        except Exception as error:  # a damaged file raises whatever it likes, in many lines
            reason = " ".join(str(error).split())
            raise DataError(f"{names} is damaged: {reason}. {again}") from error
        return parts

    def _missing(self) -> DataError:
        ways = []
        if self.can_be_downloaded:
            ways += [f"`labkit data get {self.name}` downloads it"]
        if self.file:
            ways += [f"put {self.file} from {self.page} there"]
        if self.read:
            ways += ["set LABKIT_DATA to the folder that holds it"]
        if self.draw:
            ways += ["use the synthetic data (DATA = 'synthetic')"]
        return DataError(f"{self.title} is not in {folders.real()}: {'; or '.join(ways)}.")

    def _has_checksums(self, files: tuple[Path, ...]) -> bool:
        import pooch

        return all(
            path.name in self.sha256
            and pooch.file_hash(str(path), alg="sha256") == self.sha256[path.name]
            for path in files
        )


def one_of(*names: str) -> Callable[[Path], tuple[Path, ...]]:
    """A `find` of a source whose real data is one file or folder: the first there is of `names`."""
    return lambda folder: tuple(filter(Path.exists, (folder / name for name in names)))[:1]


def in_rounds(classes: int, part: str, count: int, seed: int) -> np.ndarray:
    """Classes to draw samples of, int64 (count,): each once in every round, in random order."""
    rng = np.random.default_rng([seed, part == "test"])
    rounds = [rng.permutation(classes) for _ in range(-(-count // classes))]
    return np.concatenate(rounds)[:count].astype(np.int64)
