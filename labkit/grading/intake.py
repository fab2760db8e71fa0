"""Takes submissions in: folders, zips and the names of Canvas's bulk download.

A submission is untrusted from its first byte. Nothing is unpacked to the disk: files are read into
memory under limits, links and paths that lead outside are refused, and what was refused is told.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labkit.grading import GradingError

#: Canvas names each file `name_[LATE_]user_attempt_original`.
_CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<user>\d+)_(?P<attempt>\d+)_(?P<file>.+)")
# Canvas numbers a file that is handed in again: q1-2.ipynb. So do browsers: q1 (2).ipynb.
_AGAIN = re.compile(r"( ?\(\d{1,3}\)|-\d{1,3})(?=\.\w+$)")
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints", ".git")


@dataclass(frozen=True)
class IntakeLimits:
    """What one submission may hold at most."""

    files: int = 200
    file_bytes: int = 20_000_000
    total_bytes: int = 60_000_000


@dataclass(frozen=True)
class Handed:
    """Where one submission lies: the folders and files that belong to it.

    Attributes:
        id: unique in the class: Canvas's number of the student, or the name of folder or zip.
        name: of the student, as far as the file names tell.
        paths: folders, zips or single files.
        late: Canvas marked it late.
    """

    id: str
    name: str
    paths: tuple[Path, ...]
    late: bool = False

    @property
    def slug(self) -> str:
        """The id as a safe name of a folder."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.id).strip("._")[:60]
        if plain and plain == self.id:
            return plain
        return f"{plain or 'submission'}-{hashlib.sha256(self.id.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Submission:
    """The content of one submission.

    Attributes:
        files: content by relative path, with forward slashes.
        problems: a line for each thing that was refused.
    """

    id: str
    name: str
    slug: str
    files: dict[str, bytes]
    problems: tuple[str, ...] = ()
    late: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of all paths and contents."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def find(self, *names: str) -> str | None:
        """The path of the file with the first of some names, in whatever folder it lies.

        Upper and lower case, and the number that Canvas or a browser adds, make no difference;
        the path with the fewest folders wins.
        """
        for name in names:
            wanted = _plain(name)
            found = [path for path in self.files if _plain(path) == wanted]
            if found:
                exact = PurePosixPath(name).name
                return min(
                    found,
                    key=lambda p: (p.count("/"), PurePosixPath(p).name != exact, p),
                )
        return None


@dataclass
class _Collected:
    limits: IntakeLimits
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    total: int = 0

    def add(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.total += len(content)

    def room(self, path: str, size: int) -> bool:
        """Whether a file of that size may come in; if not, the problem is noted."""
        limits = self.limits
        if len(self.files) >= limits.files:
            reason = f"more than {limits.files} files"
        elif size > limits.file_bytes:
            reason = f"larger than {limits.file_bytes:,} bytes"
        elif self.total + size > limits.total_bytes:
            reason = f"the submission is larger than {limits.total_bytes:,} bytes"
        else:
            return True
        self.problems.append(f"{_shown(path)} was not read: {reason}.")
        return False


def find(source: Path) -> list[Handed]:
    """The submissions in a folder, or of one zip of Canvas's bulk download unpacked before.

    Args:
        source: a folder with a folder or a zip for each student, or with Canvas's files.

    Raises:
        GradingError: there is no such folder, or it is empty.
    """
    if not source.is_dir():
        raise GradingError(
            f"{source} is not a folder. Give the folder that holds the submissions: a folder or a "
            "zip for each student, or Canvas's bulk download, unpacked."
        )
    handed: dict[str, list[tuple[Path, str, bool]]] = {}
    for path in sorted(source.iterdir()):
        if path.name in _LITTER or path.name.startswith("."):
            continue
        match = _CANVAS.fullmatch(path.name) if not path.is_dir() else None
        if match:
            key, name, late = match["user"], match["name"], bool(match["late"])
        elif path.is_dir() or path.suffix.lower() == ".zip":
            key = name = path.stem if path.suffix.lower() == ".zip" else path.name
            late = False
        else:
            continue
        handed.setdefault(key, []).append((path, name, late))
    if not handed:
        raise GradingError(f"{source} holds no submissions: no folders, zips or Canvas files.")
    return [
        Handed(key, parts[0][1], tuple(p for p, _, _ in parts), any(late for *_, late in parts))
        for key, parts in sorted(handed.items())
    ]


def read(handed: Handed, limits: IntakeLimits | None = None) -> Submission:
    """Read one submission into memory; what cannot be taken in becomes a problem, not an error."""
    collected = _Collected(limits or IntakeLimits())
    for path in handed.paths:
        match = _CANVAS.fullmatch(path.name)
        name = match["file"] if match else path.name
        if path.is_symlink():
            collected.problems.append(f"{_shown(name)} is a link: not followed.")
        elif path.is_dir():
            _read_folder(path, collected)
        else:
            content = _read_file(path, name, collected)
            if content is not None:
                _take(name, content, collected)
    return Submission(
        id=handed.id,
        name=handed.name,
        slug=handed.slug,
        files=collected.files,
        problems=tuple(collected.problems),
        late=handed.late,
    )


def _take(name: str, content: bytes, collected: _Collected) -> None:
    """Add a file, or what a zip holds."""
    if name.lower().endswith(".zip"):
        _read_zip(name, content, collected)
    elif collected.room(name, len(content)):
        collected.add(name, content)


def _read_folder(folder: Path, collected: _Collected) -> None:
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(f for f in folders if f not in _LITTER)
        for name in [f for f in folders if (Path(parent) / f).is_symlink()]:
            collected.problems.append(f"{_shown(name)} is a link: not followed.")
        for name in sorted(names):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if name in _LITTER:
                continue
            content = _read_file(path, relative, collected)
            if content is not None:
                _take(relative, content, collected)


def _read_file(path: Path, name: str, collected: _Collected) -> bytes | None:
    """A regular file's content; None, and a problem, for anything else."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        if path.is_symlink():
            collected.problems.append(f"{_shown(name)} is a link: not followed.")
            return None
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                collected.problems.append(f"{_shown(name)} is no regular file.")
                return None
            limit = collected.limits.total_bytes
            content = stream.read(limit + 1) if status.st_size <= limit else b""
            if status.st_size > limit or len(content) > limit:
                collected.problems.append(
                    f"{_shown(name)} was not read: larger than {limit:,} bytes."
                )
                return None
            return content
    except OSError as error:
        collected.problems.append(f"{_shown(name)} cannot be read: {error.strerror}.")
        return None


def _read_zip(name: str, content: bytes, collected: _Collected) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) > 10 * collected.limits.files:
                collected.problems.append(f"{_shown(name)} holds {len(members):,} files: refused.")
                return
            for info in members:
                _read_member(name, archive, info, collected)
    # RuntimeError: encrypted; NotImplementedError: a compression that Python does not know;
    # ValueError and struct.error's base: whatever else damaged bytes provoke.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        collected.problems.append(f"{_shown(name)} is a damaged or encrypted zip: {error}.")


def _read_member(
    archive_name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, collected: _Collected
) -> None:
    where = f"{_shown(info.filename)} in {_shown(archive_name)}"
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if any(part in _LITTER or part.startswith("._") for part in path.parts):
        return
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
        collected.problems.append(f"{where} leads outside the submission: refused.")
    elif stat.S_ISLNK(info.external_attr >> 16):
        collected.problems.append(f"{where} is a link: refused.")
    elif path.suffix.lower() == ".zip":
        collected.problems.append(f"{where} is a zip inside a zip: not opened.")
    elif collected.room(str(path), info.file_size):
        # The header's size may lie; what comes out of the decompressor does not.
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
        if len(content) > info.file_size:
            collected.problems.append(f"{where} is larger than it says: refused.")
        else:
            collected.add(str(path), content)


def _plain(path: str) -> str:
    return _AGAIN.sub("", PurePosixPath(path).name).lower()


def _shown(name: str) -> str:
    """A name from outside, on one line and not too long."""
    return ascii(name if len(name) <= 80 else name[:77] + "…")
