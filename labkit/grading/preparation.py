"""The first step of grading: what all submissions of a class share."""

from __future__ import annotations

import json
import platform
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import nbformat

import labkit
from labkit import course, files, runtime
from labkit.authoring.build import student_notebook
from labkit.authoring.source import Source, sources
from labkit.datasets import folders
from labkit.grading import GradingError, exports, hidden, marks, reference
from labkit.grading.assignment import Assignment
from labkit.grading.box import sandbox
from labkit.grading.box.sandbox import Isolation
from labkit.grading.code_cells import imports
from labkit.grading.environment import digest_of, environment_digest
from labkit.grading.intake import Handed


@dataclass(frozen=True)
class Settings:
    """How a class is graded.

    Attributes:
        jobs: tasks at a time on this machine.
        scheduler: address of a Dask scheduler; "" for this machine.
        isolation: as `sandbox.choose`.
        hidden: a `.npz` file with a hidden split of the instructor's own.
        marks: a CSV of points given by hand, as `written.csv`.
        roster: Canvas's exported grade book, whose students Canvas wants to see again.
        secret: a file that seeds hidden split, cases and pseudonyms; made if it is not there.
    """

    jobs: int = 1
    scheduler: str = ""
    isolation: str = "auto"
    hidden: Path | None = None
    marks: Path | None = None
    roster: Path | None = None
    secret: Path | None = None


@dataclass(frozen=True)
class Lab:
    """What is needed of a lab: the notebook as given out, and its exercises' cases."""

    source: Source
    given: nbformat.NotebookNode
    cases: dict[str, reference.Cases]


@dataclass(frozen=True)
class Prepared:
    """What all submissions of a class share.

    Attributes:
        out: folder of the reports; `private` in it is the grader's alone.
        secret: seeds hidden split, cases and pseudonyms.
        labs: by name.
        marks: points given by hand.
        notices: what is to be known before anything runs; none of it stops the grading.
        real: the notebooks are executed on real data.
    """

    assignment: Assignment
    settings: Settings
    out: Path
    secret: bytes
    isolation: Isolation
    split: hidden.Split
    labs: dict[str, Lab]
    marks: marks.Marks
    notices: tuple[str, ...]
    real: bool

    @property
    def private(self) -> Path:
        """The folder that only the grader may read."""
        return self.out / "private"

    @property
    def made_by_execution(self) -> set[str]:
        """Names of the model files that the notebooks write."""
        return {f.name for f in self.assignment.files if f.source == "execution"}

    def folder(self, slug: str) -> Path:
        """Of a student's reports."""
        return self.out / "students" / slug

    def environment(self) -> dict:
        """As in grade.json."""
        return {
            "python": platform.python_version(),
            "labkit": labkit.__version__,
            "platform": f"{platform.system()} {platform.machine()}",
            "sha256": environment_digest(),
            "isolation": self.isolation.backend,
            "isolation_says": self.isolation.describe(),
            "hidden": {
                "samples": len(self.split.y),
                "source": self.split.says,
                "sha256": self.split.digest,
            },
            "profile": self.assignment.profile,
            "data": "real" if self.real else "synthetic",
        }

    @cached_property
    def imports(self) -> str:
        """The import statements of all labs, a line each: one interpreter does for all of them."""
        found = [line for lab in self.labs.values() for line in imports(lab.given)]
        return "\n".join(dict.fromkeys(found))

    @cached_property
    def drawn(self) -> Path:
        """The folder of the public drawn data, drawn once for all: executions may read it."""
        folder = folders.cache() / "grading"
        if not self.real and self.labs:
            quick = self.assignment.profile == "quick"
            with runtime.environment({"LABKIT_CACHE": str(folder)}):
                hidden.offered(self.assignment.dataset).load("synthetic", quick=quick)
        return folder

    @property
    def data(self) -> str:
        """The folder of the real data that executions may read, or ""."""
        return str(folders.real()) if self.real else ""


def prepare(
    assignment: Assignment,
    submissions: Path,
    out: Path,
    settings: Settings,
    folders: Mapping[str, Handed],
) -> Prepared:
    """Read marks and roster, draw the hidden split, make the exercises' cases, choose isolation.

    Args:
        submissions: of the class; like the course and the reports, no execution sees them.
        folders: the submissions by the names of their folders.

    Raises:
        GradingError: assignment or settings that cannot be graded with.
    """
    out = out.resolve()
    private = _private(out)
    given, notices = marks.Given({}, set()), []
    if settings.marks:
        given, notices = marks.resolved(
            marks.read(settings.marks, assignment), settings.marks, folders
        )
    known = marks.merged(marks.kept(out / "marks.json"), given)
    files.write_text(out / "marks.json", json.dumps(known, indent=2) + "\n")
    if settings.roster:
        notices += exports.gaps(settings.roster, (each.id for each in folders.values()))
    secret = _secret(settings.secret or private / "secret")
    split = hidden.make(
        assignment.data, assignment.hidden.count, secret, settings.hidden, assignment.dataset
    )
    return Prepared(
        assignment=assignment,
        settings=settings,
        out=out,
        secret=secret,
        isolation=replace(
            sandbox.choose(settings.isolation),
            hidden=tuple(
                path.resolve()
                for path in (assignment.root, *course.places(), submissions, out)
                if path
            ),
        ),
        split=split,
        labs=_labs(assignment, secret, private / "cases"),
        marks=known,
        notices=tuple(notices),
        real=split.source is hidden.SplitOrigin.REAL
        or (assignment.data != "synthetic" and bool(hidden.offered(assignment.dataset).find())),
    )


def _labs(assignment: Assignment, secret: bytes, folder: Path) -> dict[str, Lab]:
    names = [notebook.lab for notebook in assignment.notebooks]
    found = sources(names, assignment.root) if names else []
    given = {source.name: student_notebook(source) for source in found}
    for source in found:
        _check_lab(assignment, source, given[source.name])
    cases = _cases(assignment, found, secret, folder)
    return {s.name: Lab(s, given[s.name], cases[s.name]) for s in found}


def _cases(
    assignment: Assignment, found: list[Source], secret: bytes, folder: Path
) -> dict[str, dict[str, reference.Cases]]:
    """The cases of the labs' exercises, kept in a folder: making them may import TensorFlow."""
    asked = {
        source.name: reference.Asked(
            assignment.of_lab("exercise", source.name),
            [c.source for c in source.notebook.cells if c.cell_type == "code"],
        )
        for source in found
    }
    key = digest_of(
        [[a.cells, [asdict(item) for item in a.items]] for a in asked.values()] + [secret.hex()]
    )
    path = folder / f"{key}.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {
            lab: {name: reference.Cases(**case) for name, case in cases.items()}
            for lab, cases in stored.items()
        }
    made = reference.make(asked, secret)
    files.write_text(
        path,
        json.dumps({lab: {n: asdict(c) for n, c in cases.items()} for lab, cases in made.items()}),
    )
    return made


def _check_lab(assignment: Assignment, source: Source, given: nbformat.NotebookNode) -> None:
    """That the items name exercises and questions that the lab has."""
    for kind, key in (("exercise", "exercise"), ("written", "question")):
        known = {c.metadata.get(key) for c in given.cells if kind in c.metadata.get("tags", [])}
        for item in assignment.of_lab(kind, source.name):
            if item.name not in known:
                names = ", ".join(sorted(filter(None, known)))
                raise GradingError(f"{item.id}: lab {source.name} has no such {key}; has {names}.")


def _private(out: Path) -> Path:
    """The folder that only the grader may read."""
    folder = out / "private"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _secret(path: Path) -> bytes:
    if not path.exists():
        files.write_text(path, secrets.token_hex(32) + "\n")
        path.chmod(0o600)
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise GradingError(f"{path}: no secret (64 hexadecimal digits); delete it.") from error
