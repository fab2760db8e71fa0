"""Reads one submission: a folder, archives, loose files.

It is untrusted from its first byte. Nothing is unpacked to the disk: what is wanted (notebooks, and
model files by their names) is read into memory under limits, before anything else that lies there;
links and paths that lead outside are refused, and what was refused is told.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from labkit.grading.intake import Handed, platform
from labkit.grading.names import LITTER, NOTEBOOK, TARS, UNKNOWN, again, plain_name, readable, shown

_CHECKPOINTS = ".ipynb_checkpoints"
_DEPTH, _NESTED = 30, 2
_ENTRIES = 100_000


@dataclass(frozen=True)
class Limits:
    """What is read of one submission at most, of notebooks and of model files each.

    A notebook may be large: its outputs are dropped when it is parsed.
    """

    files: int = 50
    notebook_bytes: int = 100_000_000
    file_bytes: int = 20_000_000
    total_bytes: int = 200_000_000


@dataclass(frozen=True)
class Found:
    """A file of a submission that was read.

    Attributes:
        path: relative, with forward slashes.
        order: what tells the later one of two files: the number that was added to its name, and
            the number of Canvas's upload.
        when: of its last change, in seconds; 0 where it is not known.
    """

    path: str
    content: bytes = field(repr=False)
    order: tuple[int, int] = (0, 0)
    when: float = 0.0


@dataclass(frozen=True)
class Submission:
    """What was read of one submission.

    Attributes:
        files: by relative path.
        unread: why a file that was wanted could not be read, by path.
        problems: a line for each thing that was refused.
        models: the paths of all model files, of whatever names.
        empty: there was nothing in it.
    """

    files: dict[str, Found]
    unread: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    empty: bool = False

    def named(self, name: str) -> list[Found]:
        """The files of a name, in whatever folders they lie, the latest first.

        Upper and lower case, and the number that Canvas or a browser adds, make no difference.
        """
        wanted = plain_name(name)
        found = [file for file in self.files.values() if plain_name(file.path) == wanted]
        return sorted(found, key=lambda f: (*_minus(f.order), f.path.count("/"), f.path))

    def why_unread(self, name: str) -> str:
        """Why a file of a name could not be read; "" if there is none that could not."""
        of_name = [why for path, why in self.unread.items() if plain_name(path) == plain_name(name)]
        return next(iter(of_name), "")


def _minus(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-n for n in numbers)


@dataclass(frozen=True)
class _Entry:
    """A file that may be read: in a folder or in an archive."""

    path: str
    size: int
    read: Callable[[int], bytes] = field(repr=False)
    order: tuple[int, int] = (0, 0)
    when: float = 0.0

    @property
    def kind(self) -> str:
        name = PurePosixPath(self.path).name.lower()
        if name.startswith("._"):
            return "litter"
        for pattern, kind in ((NOTEBOOK, "notebook"), (TARS, "tar"), (UNKNOWN, "unknown")):
            if pattern.search(name):
                return kind
        return {".tflite": "model", ".zip": "zip"}.get(PurePosixPath(name).suffix, "other")


class _Refused(Exception):
    """A file that is not taken in; the message says why."""


def read(handed: Handed, models: tuple[str, ...] = (), limits: Limits | None = None) -> Submission:
    """Read the notebooks and the model files of some names of a submission into memory.

    What cannot be taken in becomes a problem, not an error.
    """
    reading = _Reading(limits or Limits())
    entries, several = [], len(handed.paths) > 1
    for path in handed.paths:
        match = platform(path)
        name = readable((match and match["file"]) or path.name)
        upload = int((match and match.groupdict().get("attempt")) or 0)
        if path.is_dir() and not path.is_symlink():
            # What lies in one of several folders or archives keeps its name beside the others'.
            folder = f"{name}/" if several else ""
            entries += [replace(e, path=folder + e.path) for e in _in_folder(path, reading)]
        else:
            entries.append(_file(path, name, (again(name), upload)))
    files = reading.all(entries, {plain_name(name) for name in models}, several)
    return Submission(
        files={file.path: file for file in files},
        unread=reading.unread,
        problems=tuple(reading.told()),
        models=tuple(reading.models),
        empty=not reading.seen,
    )


class _Reading:
    """What is read of a submission, under limits, and what is said of the rest."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.seen = 0
        self.unread: dict[str, str] = {}
        self.problems: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.others: list[str] = []
        self.models: list[str] = []

    def all(self, entries: list[_Entry], models: set[str], several: bool) -> list[Found]:
        """The notebooks, and the model files of some names; those near the top first.

        Args:
            several: paths of archives' members begin with the archive's name.
        """
        entries = self._opened(_without_litter(entries), 0, several)
        self.seen += len(entries)
        kinds = {kind: [e for e in entries if e.kind == kind] for kind in ("notebook", "model")}
        wanted = [e for e in kinds["model"] if plain_name(e.path) in models]
        self.others += [e.path for e in entries if e.kind == "other"]
        self.others += [e.path for e in kinds["model"] if e not in wanted]
        self.models = [e.path for e in kinds["model"]]
        return [
            *self._read(kinds["notebook"], self.limits.notebook_bytes),
            *self._read(wanted, self.limits.file_bytes),
        ]

    def _read(self, entries: list[_Entry], most: int) -> Iterator[Found]:
        total, count = 0, 0
        for entry in sorted(entries, key=lambda e: (e.path.count("/"), *_minus(e.order))):
            try:
                if count >= self.limits.files:
                    raise _Refused(f"more than {self.limits.files} files")
                if entry.size > most:
                    raise _Refused(f"larger than {most:,} bytes")
                if total + entry.size > self.limits.total_bytes:
                    raise _Refused(f"more than {self.limits.total_bytes:,} bytes in all")
                # The size that a header tells may lie; what comes out of a decompressor does not.
                content = entry.read(entry.size + 1)
                if len(content) > entry.size:
                    raise _Refused("larger than it says")
            except _Refused as error:
                self.refused.append((entry.path, str(error)))
                self.unread[entry.path] = f"it was not read: {error}"
            except MemoryError:
                raise
            except Exception as error:  # whatever damaged bytes provoke in a decompressor
                self._unreadable(entry, f"it is damaged or encrypted ({_said(error)})")
            else:
                total, count = total + len(content), count + 1
                yield Found(entry.path, content, entry.order, entry.when)

    def _opened(self, entries: list[_Entry], depth: int, prefixed: bool) -> list[_Entry]:
        """The entries, and those of the archives among them in place of these."""
        opened = []
        for entry in entries:
            if entry.kind == "unknown":
                self.seen += 1
                self._unreadable(entry, "this kind of archive is not opened here, a zip would be")
            elif entry.kind not in ("zip", "tar"):
                opened.append(entry)
            elif depth > _NESTED:
                self._unreadable(entry, f"archives are opened {_NESTED} deep")
            else:
                self.seen += 1
                members = self._members(entry)
                if prefixed or depth:
                    members = [replace(m, path=f"{entry.path}/{m.path}") for m in members]
                opened += self._opened(_without_litter(members), depth + 1, prefixed)
        return opened

    def _members(self, entry: _Entry) -> list[_Entry]:
        try:
            if entry.size > self.limits.total_bytes:
                raise _Refused(f"it is larger than {self.limits.total_bytes:,} bytes")
            content = entry.read(self.limits.total_bytes + 1)
            inside = _in_zip if entry.kind == "zip" else _in_tar
            members = list(inside(content, self, entry.path))
        except _Refused as error:
            self._unreadable(entry, str(error))
        except MemoryError:
            raise
        except Exception as error:  # as above
            self._unreadable(entry, f"it is damaged or encrypted ({_said(error)})")
        else:
            return [
                replace(m, order=max(m.order, entry.order), when=m.when or entry.when)
                for m in members
            ]
        return []

    def _unreadable(self, entry: _Entry, why: str) -> None:
        self.unread[entry.path] = why
        self.problems.append(f"{shown(entry.path)} was not read: {why}.")

    def told(self) -> Iterator[str]:
        """A line for each thing that went wrong, and one for all files of the same fate."""
        for problem, count in Counter(self.problems[:500]).items():
            yield problem if count == 1 else f"{problem[:-1]} ({count} times)."
        for why in dict.fromkeys(why for _, why in self.refused):
            names = [path for path, reason in self.refused if reason == why]
            yield f"{_listed(names)} {'was' if len(names) == 1 else 'were'} not read: {why}."
        if self.others:
            yield f"not looked at, nothing in the assignment asks for it: {_listed(self.others)}."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown(name) for name in names[:3]) + more


def _said(error: Exception) -> str:
    told = " ".join(readable(str(error)).split())[:80]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _without_litter(entries: list[_Entry]) -> list[_Entry]:
    """What a person made; copies that Jupyter kept only where there is no other notebook."""
    environments = tuple(
        e.path[: -len("pyvenv.cfg")] for e in entries if PurePosixPath(e.path).name == "pyvenv.cfg"
    )
    kept = [
        e
        for e in entries
        if e.kind != "litter"
        and not LITTER.intersection(PurePosixPath(e.path).parts)
        and not (environments and e.path.startswith(environments))
    ]
    own = [e for e in kept if _CHECKPOINTS not in e.path and "-checkpoint." not in e.path]
    return own if any(e.kind in ("notebook", "zip", "tar") for e in own) else kept


def _in_folder(folder: Path, reading: _Reading) -> Iterator[_Entry]:
    """The files of a folder, those near its top first."""
    level, count = [folder], 0
    for _ in range(_DEPTH):
        below = []
        for parent in level:
            for item in _listing(parent, reading):
                relative = readable(Path(item.path).relative_to(folder).as_posix())
                count += 1
                if count > _ENTRIES:
                    reading.problems.append(f"more than {_ENTRIES:,} files: the rest was not read.")
                    return
                if item.name in LITTER:
                    continue
                if item.is_symlink():
                    reading.problems.append(f"{shown(relative)} is a link: not followed.")
                elif item.is_dir(follow_symlinks=False):
                    below.append(Path(item.path))
                else:
                    yield _file(Path(item.path), relative)
        level = below
    if level:
        reading.problems.append(f"folders deeper than {_DEPTH} were not looked into.")


def _listing(folder: Path, reading: _Reading) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda item: item.name)
    except OSError as error:
        reading.problems.append(f"{shown(readable(folder.name))}: {error.strerror}.")
        return []


def _file(path: Path, name: str, order: tuple[int, int] | None = None) -> _Entry:
    """A file on the disk; that it is a regular one is seen when it is read."""
    try:
        status = path.lstat()
        size, when = status.st_size, status.st_mtime
    except OSError:
        size, when = 0, 0.0

    def read(most: int) -> bytes:
        # Without O_NONBLOCK, opening a named pipe would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        if path.is_symlink():
            raise _Refused("it is a link, which is not followed")
        try:
            with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise _Refused("it is no regular file")
                return stream.read(most)
        except OSError as error:
            raise _Refused(f"{error.strerror}") from error

    return _Entry(name, size, read, order or (again(name), 0), when)


def _in_zip(content: bytes, reading: _Reading, name: str) -> Iterator[_Entry]:
    archive = zipfile.ZipFile(io.BytesIO(content))

    def reader(info: zipfile.ZipInfo) -> Callable[[int], bytes]:
        def read(most: int) -> bytes:
            with archive.open(info) as stream:
                return stream.read(most)

        return read

    for info in archive.infolist():
        path = _inside(info.filename, name, reading)
        if path and stat.S_ISLNK(info.external_attr >> 16):
            reading.problems.append(f"{shown(path)} in {shown(name)} is a link: refused.")
        elif path and not info.is_dir():
            when = _moment(info.date_time)
            yield _Entry(path, info.file_size, reader(info), (again(path), 0), when)


def _in_tar(content: bytes, reading: _Reading, name: str) -> Iterator[_Entry]:
    plain = io.BytesIO(_expanded(content, reading.limits.total_bytes))
    archive = tarfile.TarFile(fileobj=plain)

    def reader(info: tarfile.TarInfo) -> Callable[[int], bytes]:
        return lambda most: archive.extractfile(info).read(most)

    for info in archive:
        path = _inside(info.name, name, reading)
        if path and not info.isdir() and not info.isreg():
            reading.problems.append(f"{shown(path)} in {shown(name)} is a link: refused.")
        elif path and info.isreg():
            yield _Entry(path, info.size, reader(info), (again(path), 0), float(info.mtime))


def _expanded(content: bytes, most: int) -> bytes:
    """A compressed tar, decompressed as far as the limit goes."""
    for start, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if content.startswith(start):
            with opened(io.BytesIO(content)) as stream:
                content = stream.read(most + 1)
    if len(content) > most:
        raise _Refused(f"larger than {most:,} bytes")
    return content


def _inside(member: str, archive: str, reading: _Reading) -> str:
    """The path of an archive's member; "", and a problem, if it leads outside."""
    path = PurePosixPath(readable(member).replace("\\", "/").replace("\0", ""))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
        reading.problems.append(
            f"{shown(member)} in {shown(archive)} leads outside the submission: refused."
        )
        return ""
    return str(path)


def _moment(date_time: tuple[int, ...]) -> float:
    try:
        return time.mktime((*date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0
