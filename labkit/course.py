"""Where the course's files are: a checkout around this folder, or what came with the package."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from labkit import files
from labkit.errors import LabkitError

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "course_files"  # in a built wheel, see setup.py


class CourseError(LabkitError):
    """A lab that does not exist, a source that breaks the conventions, or no course around."""


def around(folder: Path, part: str = "solutions") -> Path | None:
    """The course that a folder lies in: the nearest whose `part`, a folder, holds a lab."""
    for place in (folder, *folder.parents):
        if any((place / part).glob("[0-9][0-9]_*")):
            return place
    return None


def root(start: Path | None = None) -> Path:
    """The course's folder: the one around this folder, else the one that labkit brings.

    Args:
        start: a folder to begin at; by default the current one.

    Raises:
        CourseError: there is neither.
    """
    here = (start or Path.cwd()).resolve()
    if found := around(here) or _brought():
        return found
    raise CourseError(
        f"{here} is not inside a checkout of the course (a folder with the labs in solutions/). "
        "Change into one."
    )


def places() -> list[Path]:
    """Every folder that the course's files lie in, to be hidden from what runs apart."""
    found = (around(Path.cwd().resolve()), _brought())
    return list(dict.fromkeys(place for place in found if place))


def _brought() -> Path | None:
    """The files in the package, or the checkout that labkit is installed from."""
    return _SHIPPED if _SHIPPED.is_dir() else around(_PACKAGE)


def writable_root() -> Path:
    """As `root`, but for what writes into the course.

    Raises:
        CourseError: there is none but the one that belongs to the installed package.
    """
    if (found := root()) == _SHIPPED:
        raise CourseError(
            f"the labs in {found} belong to the installed package. `labkit labs get FOLDER "
            "--solutions` copies them; change into that folder."
        )
    return found


@dataclass(frozen=True)
class Copied:
    """What `copy` did, as paths relative to the folder: written, and kept as they were."""

    written: list[str]
    kept: list[str]


def copy(folder: Path, solutions: bool = False, overwrite: bool = False) -> Copied:
    """Copy the labs into a folder; a file there that differs is somebody's work and stays.

    Args:
        folder: gets notebooks/, and with `solutions` solutions/ and grading/.
        solutions: for instructors and authors.
        overwrite: write over files that differ, too.

    Raises:
        CourseError: labkit brings no labs, or the folder lies among those that it would copy.
    """
    source = _brought()
    if source is None:
        raise CourseError("this installation of labkit brings no labs; install it again.")
    if source in (folder.resolve(), *folder.resolve().parents) and source != _SHIPPED:
        raise CourseError(f"{folder} lies in the course itself; name a folder outside {source}.")
    patterns = ["notebooks/*.ipynb"]
    if solutions:
        patterns += ["solutions/*.py", "grading/**/*"]
    written, kept = [], []
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            name = path.relative_to(source)
            target = folder / name
            if target.exists():
                if target.read_bytes() == path.read_bytes():
                    continue
                if not overwrite:
                    kept.append(name.as_posix())
                    continue
            with files.replacing(target) as temporary:
                shutil.copyfile(path, temporary)
            written.append(name.as_posix())
    return Copied(written, kept)
