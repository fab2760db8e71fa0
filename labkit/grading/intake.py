"""Whose is what: a folder of folders, archives and notebooks, or a learning platform's download."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from labkit.grading import GradingError
from labkit.grading.names import LITTER, NOTEBOOK, TARS, UNKNOWN, readable

#: How platforms name what they hand out; `file` is missing where it is a folder.
_PLATFORMS = (
    # Moodle: Jane Doe_4711_assignsubmission_file_q1.ipynb
    r"(?P<name>.+?)_(?P<user>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)",
    # Brightspace: 4711-90210 - Jane Doe - Oct 3, 2025 1045 AM - q1.ipynb
    r"(?P<user>\d+)-\d+ - (?P<name>.+?) - (?:(?! - ).)*\d{4}(?:(?! - ).)*(?: - (?P<file>.+))?",
    # Canvas: doejane_LATE_4711_90210_q1.ipynb
    r"(?P<name>.+?)_(?P<late>LATE_)?(?P<user>\d+)_(?P<attempt>\d+)_(?P<file>.+)",
)


@dataclass(frozen=True)
class Handed:
    """Where one submission lies: the folders and files that belong to it.

    Attributes:
        id: unique in the class: the platform's number of the student, or the name of the folder or
            file.
        name: of the student, as far as the file names tell.
        paths: folders, archives or single files.
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
        digest = hashlib.sha256(self.id.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{plain or 'submission'}-{digest[:8]}"


def find(source: Path) -> tuple[list[Handed], list[str]]:
    """The submissions in a folder, and the names of what was not understood there.

    Args:
        source: a folder with a folder, an archive or a notebook for each student, or a bulk
            download of Canvas, Moodle or Brightspace, unpacked.

    Raises:
        GradingError: there is no such folder, or it is empty.
    """
    if not source.is_dir():
        raise GradingError(
            f"{source} is not a folder. Give the folder that holds the submissions: a folder, a "
            "zip or a notebook for each student, or the bulk download of Canvas, Moodle or "
            "Brightspace, unpacked."
        )
    parts, left_out = [], []
    for path in sorted(source.iterdir()):
        if path.name in LITTER or path.name.startswith("."):
            continue
        part = _part(path)
        if part:
            parts.append((path, *part))
        else:
            left_out.append(readable(path.name))
    if not parts:
        raise GradingError(
            f"{source} holds no submissions: no folders, archives, notebooks or files named as "
            "Canvas, Moodle or Brightspace do."
        )
    return _gathered(parts), left_out


def _part(path: Path) -> tuple[str, str, bool] | None:
    """Number or name of the student, name, late; None for a file that is nobody's."""
    match = platform(path)
    if match:
        return match["user"], readable(match["name"]), bool(match.groupdict().get("late"))
    archive = TARS.search(path.name) or UNKNOWN.search(path.name) or _is_zip(path.name)
    if path.is_dir() and not path.is_symlink():
        return path.name, readable(path.name), False
    ending = NOTEBOOK.search(path.name) or archive
    if not ending:
        return None
    stem = path.name[: ending.start()] or path.name
    return stem, readable(stem), False


def _is_zip(name: str) -> re.Match | None:
    return re.search(r"\.zip$", name, re.IGNORECASE)


def platform(path: Path) -> re.Match | None:
    """How a learning platform names it, if one does."""
    for pattern in _PLATFORMS:
        match = re.fullmatch(pattern, path.name, re.DOTALL)
        if match and (path.is_dir() <= (not match["file"] or "assignsubmission" in pattern)):
            return match
    return None


def _gathered(parts: list[tuple[Path, str, str, bool]]) -> list[Handed]:
    """A submission a student; a number that two names share is no number of a student."""
    students: dict[tuple[str, str], list] = {}
    for path, key, name, late in parts:
        students.setdefault((key, name), []).append((path, late))
    shared = Counter(key for key, _ in students)
    return [
        Handed(
            key if shared[key] == 1 else f"{name} {key}",
            name,
            tuple(path for path, _ in of_student),
            any(late for _, late in of_student),
        )
        for (key, name), of_student in sorted(students.items())
    ]
