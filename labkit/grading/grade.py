"""Grades a class: what `labkit grade` does.

Executions and measurements are tasks of an executor, on this machine's cores or on a Dask cluster;
each result is kept by its content hash as soon as it is there, so that equal ones run once and a
killed run goes on where it stopped. A student's report is written when their last task has ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat

import labkit
from labkit import files
from labkit.authoring.build import student_notebook
from labkit.authoring.source import Source, sources
from labkit.datasets import folders, sign_mnist
from labkit.grading import (
    GradingError,
    exports,
    hidden,
    intake,
    marks,
    notebooks,
    reference,
    report,
    scoring,
    similarity,
)  # fmt: skip
from labkit.grading.assignment import Assignment, Item, schema_fault
from labkit.grading.box import sandbox
from labkit.grading.box.execution import Executed, Execution, execute, measure
from labkit.grading.box.sandbox import Isolation
from labkit.grading.inside import plain

SCHEMA = 1
_COMPARED = 50_000  # characters of a cell that are compared with others
_ATTEMPTS = 3  # of a task that fails by a fault of the machine


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


@dataclass
class _Lab:
    """What is needed of a lab: the notebook as given out, and its exercises' cases."""

    source: Source
    given: nbformat.NotebookNode
    cases: dict[str, reference.Cases]


@dataclass
class _Student:
    """A submission on its way to its grade."""

    submission: intake.Submission
    key: str
    notebooks: dict[str, dict] = field(default_factory=dict)
    restored: dict[str, notebooks.Restored] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    executed: dict[str, Executed] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict] = field(default_factory=dict)


def grade_class(
    submissions: Path,
    assignment: Assignment,
    out: Path,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict]:
    """Grade all submissions in a folder and write every report.

    Args:
        submissions: a folder with a folder or zip for each student, or Canvas's bulk download.
        out: folder of the reports; what an earlier call has finished there is kept.
        progress: called with a line for each student.

    Returns:
        the grades, as in each `grade.json`, in the order of the submissions' names.

    Raises:
        GradingError: assignment, submissions or settings that cannot be graded with.
    """
    settings = settings or Settings()
    return _Class(assignment, out, settings, progress).grade(intake.find(submissions))


class _Class:
    def __init__(self, assignment, out, settings, progress):
        self.assignment: Assignment = assignment
        self.out: Path = out.resolve()
        self.settings: Settings = settings
        self.progress = progress
        self.private = _private(self.out)
        self.secret = _secret(settings.secret or self.private / "secret")
        self.isolation = sandbox.choose(settings.isolation)
        self.split = hidden.make(
            assignment.data, assignment.hidden_images, self.secret, settings.hidden
        )
        self.labs = self._labs()
        self._made_by_execution = {f.name for f in assignment.files if f.source == "execution"}
        self.written: dict[str, tuple] = {}  # what submissions are compared by
        self.marks = marks.read(settings.marks, assignment) if settings.marks else (
            marks.kept(self.out / "marks.json")
        )  # fmt: skip
        self.real = self.split.source.startswith("real") or (
            assignment.data != "synthetic" and sign_mnist.find() is not None
        )

    # -- preparation ---------------------------------------------------------------------------

    def _labs(self) -> dict[str, _Lab]:
        names = [notebook.lab for notebook in self.assignment.notebooks]
        labs = {}
        for source in sources(names, self.assignment.root) if names else []:
            items = self.assignment.of_lab("exercise", source.name)
            cells = [c.source for c in source.notebook.cells if c.cell_type == "code"]
            key = _digest([cells, [asdict(item) for item in items], self.secret.hex()])
            path = self.private / "cases" / f"{key}.json"
            if path.exists():
                stored = json.loads(path.read_text(encoding="utf-8"))
                cases = {name: reference.Cases(**found) for name, found in stored.items()}
            else:
                cases = reference.make(items, cells, self.secret, source.name)
                content = {name: asdict(found) for name, found in cases.items()}
                files.write_text(path, json.dumps(content))
            given = student_notebook(source)
            _check_lab(self.assignment, source, given)
            labs[source.name] = _Lab(source, given, cases)
        return labs

    def _student(self, handed: intake.Handed) -> _Student:
        """Read a submission and find in it what the assignment asks for."""
        submission = intake.read(handed)
        key = _digest(
            [SCHEMA, submission.digest, submission.problems, submission.name, submission.late,
             self.assignment.digest, environment_digest(), self.isolation.backend,
             self.split.digest, [lab.source.digest for lab in self.labs.values()],
             self.marks.get(submission.slug, {})]
        )  # fmt: skip
        student = _Student(submission, key)
        for notebook in self.assignment.notebooks:
            self._take_notebook(student, notebook)
        for file in self.assignment.files:
            if file.name in self._made_by_execution:
                continue
            path = submission.find(file.name)
            content = submission.files.get(path, b"")
            if path is None:
                others = sorted(p for p in submission.files if p.lower().endswith(".tflite"))
                known = {f.name for f in self.assignment.files}
                others = [p for p in others if p.rpartition("/")[2] not in known]
                student.absent[file.name] = f"{file.name} is not in the submission" + (
                    f" (there are, under other names: {', '.join(others[:5])})." if others else "."
                )
            elif len(content) > file.max_bytes:
                student.absent[file.name] = (
                    f"{file.name} has {len(content):,} bytes, at most {file.max_bytes:,} are read."
                )
            else:
                student.models[file.name] = content
        self.written[submission.slug] = _written(student)
        return student

    def _take_notebook(self, student: _Student, notebook) -> None:
        lab = self.labs[notebook.lab]
        note = {"lab": notebook.lab, "file": None, "status": "missing", "repairs": [], "errors": []}
        student.notebooks[notebook.lab] = note
        path, restored, trouble = _find_notebook(student.submission, notebook, lab)
        note["file"] = path
        if restored is None:
            note["status"] = trouble
            return
        student.restored[notebook.lab] = restored
        note["repairs"] = restored.repairs
        if path.rpartition("/")[2] not in notebook.names:
            note["repairs"].append(f"recognised by its cells: it is named {path[:80]}")
        if not restored.recognised:
            note["status"] = "none of the lab's cells is in it; it was not executed"
            return
        wanted = {
            file.name: file.max_bytes
            for file in self.assignment.files if file.source == "execution"
        }  # fmt: skip
        parameters = {
            "PROFILE": self.assignment.profile, "DATA": "real" if self.real else "synthetic",
            "SEED": 0, "OUT": "out",
        }  # fmt: skip
        prepared = notebooks.executable(
            restored, parameters, list(lab.cases), self.assignment.whole
        )
        student.executions[notebook.lab] = Execution(
            lab=notebook.lab,
            notebook=nbformat.writes(prepared),
            cases={
                name: {"cases": found.inputs, "answer": found.code}
                for name, found in lab.cases.items()
            },
            files=wanted,
            limits=self.assignment.limits,
            data=str(folders.real()) if self.real else "",
            cache=str(self._drawn()),
            threads=max(1, (os.cpu_count() or 1) // max(1, self.settings.jobs)),
            environment=environment_digest(),
        )

    def _drawn(self) -> Path:
        """The public drawn images, once for all executions; they may read them."""
        folder = self.private.parent / "drawn"
        if not self.real and not folder.exists() and self.labs:
            before = os.environ.get("LABKIT_CACHE")
            os.environ["LABKIT_CACHE"] = str(folder)
            try:
                sign_mnist.load("synthetic", self.assignment.profile)
            finally:
                os.environ.pop("LABKIT_CACHE")
                if before is not None:
                    os.environ["LABKIT_CACHE"] = before
        return folder

    # -- the run -------------------------------------------------------------------------------

    def grade(self, handed: list[intake.Handed]) -> list[dict]:
        started = time.perf_counter()
        grades: dict[str, dict] = {}
        waiting: dict[str, _Student] = {}
        with _executor(self.settings) as executor:
            tasks = _Tasks(executor, self.private / "results", self.isolation)
            for each in handed:
                student = self._student(each)
                slug = student.submission.slug
                if slug in grades or slug in waiting:
                    raise GradingError(f"two submissions are called {each.id!r}.")
                kept = self._kept(student)
                if kept:
                    grades[slug] = kept
                    self.progress(_line(kept, "kept"))
                    continue
                waiting[slug] = student
                tasks.measured(student.models, self.split)
                for execution in student.executions.values():
                    tasks.execute(execution)
            while waiting:
                for slug, student in list(waiting.items()):
                    if self._advance(student, tasks):
                        grades[slug] = self._finish(student)
                        del waiting[slug]
                        self.progress(_line(grades[slug]))
                if waiting:
                    tasks.wait()
        ordered = [grades[slug] for slug in sorted(grades)]
        self._write_class(ordered, time.perf_counter() - started)
        return ordered

    def _kept(self, student: _Student) -> dict | None:
        """The grade of an earlier run, if it is complete and nothing has changed since."""
        path = self._folder(student.submission.slug) / "grade.json"
        try:
            grade = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        same = grade.get("key") == student.key and not grade["score"]["faults"]
        return grade if same and not schema_fault(grade, "grade") else None

    def _advance(self, student: _Student, tasks: _Tasks) -> bool:
        """Take over what has come; whether all of it is there."""
        for lab, execution in student.executions.items():
            if lab not in student.executed:
                found = tasks.executed(execution)
                if found is None:
                    return False
                student.executed[lab] = found
        for file in self.assignment.files:
            if file.source == "execution" and file.name not in student.absent:
                self._take_executed(student, file)
        found = tasks.measured(student.models, self.split)
        if found is None:
            return False
        student.figures = found
        return True

    def _take_executed(self, student: _Student, file) -> None:
        contents = [e.files[file.name] for e in student.executed.values() if file.name in e.files]
        if contents:
            student.models[file.name] = contents[-1]
        else:
            student.absent[file.name] = (
                f"no executed notebook has written {file.name} (or it was too large)."
            )

    # -- the grade -----------------------------------------------------------------------------

    def _finish(self, student: _Student) -> dict:
        for lab, executed in student.executed.items():
            note = student.notebooks[lab]
            note["status"] = _told_status(executed, self.assignment)
            note["errors"] = [f"{e['id']}: {e['error']}" for e in executed.errors]
            note["seconds"] = executed.seconds
        scores = [self._score(item, student) for item in self.assignment.items]
        grade = self._grade(student, scores)
        fault = schema_fault(grade, "grade")
        if fault:
            raise AssertionError(f"grade.json breaks its own schema: {fault}")
        folder = self._folder(student.submission.slug)
        for lab, executed in student.executed.items():
            if executed.notebook:
                files.write_bytes(folder / "executed" / f"{lab}.ipynb", executed.notebook)
        files.write_text(folder / "feedback.html", report.feedback(grade, self.assignment))
        files.write_text(folder / "results.json", exports.gradescope(grade))
        # Last: what says that the others are there.
        files.write_text(folder / "grade.json", _json(grade))
        return grade

    def _score(self, item: Item, student: _Student) -> scoring.Score:
        if item.by_hand:
            mark = self.marks.get(student.submission.slug, {}).get(item.id)
            return scoring.by_hand(
                item, mark and (mark["points"], mark["comment"]),
                empty=item.kind == "written" and not _text(student, item),
            )  # fmt: skip
        if item.kind == "model":
            figures = student.figures.get(item.target)
            if figures and "fault" in figures:
                return scoring.fault(item, figures["fault"])
            if figures is None and item.target in self._made_by_execution:
                for lab, executed in student.executed.items():
                    if executed.status == "infrastructure":
                        return scoring.fault(item, f"{lab} could not be executed.")
            return scoring.model(item, figures, student.absent.get(item.target, "no file."))
        return self._score_exercise(item, student)

    def _score_exercise(self, item: Item, student: _Student) -> scoring.Score:
        note, executed = student.notebooks[item.lab], student.executed.get(item.lab)
        if executed is None:
            why = f"{item.lab}.ipynb: {note['status']}."
            return scoring.exercise(item, None, [], why)
        if executed.status == "infrastructure":
            return scoring.fault(item, f"{item.lab} could not be executed: {executed.output}")
        answers = executed.answers.get(item.name)
        cases = self.labs[item.lab].cases[item.name]
        right = [
            _agrees(expected, answer, item.tolerance)
            for expected, answer in zip(cases.expected, answers or (), strict=False)
        ]
        why = f"the notebook gave no answer ({note['status']})."
        return scoring.exercise(item, answers, right, why)

    def _grade(self, student: _Student, scores: list[scoring.Score]) -> dict:
        submission, assignment = student.submission, self.assignment
        items = [score.to_dict() for score in scores]
        return {
            "schema": SCHEMA,
            "key": student.key,
            "assignment": {
                "name": assignment.name, "title": assignment.title, "points": assignment.points,
                "extra_credit": assignment.extra_credit, "sha256": assignment.digest,
            },
            "submission": {
                "id": submission.id, "name": submission.name, "folder": submission.slug,
                "sha256": submission.digest, "late": submission.late,
                "problems": list(submission.problems),
                "files": [
                    {"path": path, "bytes": len(content),
                     "sha256": hashlib.sha256(content).hexdigest()}
                    for path, content in sorted(submission.files.items())
                ],
            },
            "environment": self._environment(),
            "score": {
                "earned": round(sum(i["earned"] or 0 for i in items), 4),
                "possible": assignment.points,
                "waiting": sum(i["points"] for i in items if i["status"] == scoring.WAITING),
                "faults": sum(i["status"] == scoring.FAULT for i in items),
            },
            "items": items,
            "notebooks": [
                {k: v for k, v in note.items() if k != "seconds"}
                for note in student.notebooks.values()
            ],
            "models": student.figures,
            "answers": {
                item.target: _text(student, item)
                for item in assignment.items if item.kind == "written"
            },
            "remarks": _remarks(student),
            "run": {
                "labkit": labkit.__version__,
                "seconds": round(sum(e.seconds for e in student.executed.values()), 1),
            },
        }  # fmt: skip

    def _environment(self) -> dict:
        return {
            "python": platform.python_version(),
            "labkit": labkit.__version__,
            "platform": f"{platform.system()} {platform.machine()}",
            "sha256": environment_digest(),
            "isolation": self.isolation.backend,
            "isolation_says": self.isolation.describe(),
            "hidden": {"images": len(self.split.y), "source": self.split.source,
                       "sha256": self.split.digest},
            "profile": self.assignment.profile,
            "data": "real" if self.real else "synthetic",
        }  # fmt: skip

    def _folder(self, slug: str) -> Path:
        return self.out / "students" / slug

    def _write_class(self, grades: list[dict], seconds: float) -> None:
        """What is written once for all: tables, the class's page, the front, the answers."""
        assignment = self.assignment
        given = [c.source for lab in self.labs.values() for c in lab.given.cells]
        solved = [
            c.source for lab in self.labs.values() for c in lab.source.notebook.cells
            if c.cell_type == "code"
        ]  # fmt: skip
        pairs = similarity.pairs(self.written, [*given, *solved], given)
        files.write_text(self.out / "marks.json", _json(self.marks))
        files.write_text(self.out / "grades.csv", exports.grades_csv(grades))
        roster = self.settings.roster
        files.write_text(self.out / "canvas.csv", exports.canvas_csv(grades, assignment, roster))
        files.write_text(self.out / "written.csv", marks.table(grades, assignment, self.marks))
        files.write_text(self.out / "written.html", report.written(grades, assignment))
        board = exports.leaderboard(grades, assignment, self.secret)
        files.write_text(self.out / "leaderboard.html", report.leaderboard(board, assignment))
        files.write_text(self.out / "similarity.csv", exports.similarity_csv(pairs))
        page = report.summary(grades, assignment, self._environment(), pairs, seconds)
        files.write_text(self.out / "index.html", page)


class _Tasks:
    """Executions and measurements under way, each once, their results kept by content hash."""

    def __init__(self, executor: Executor, folder: Path, isolation: Isolation):
        self.executor, self.folder, self.isolation = executor, folder, isolation
        self.futures: dict[str, Future] = {}
        self.calls: dict[str, tuple] = {}
        self.attempts: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def execute(self, execution: Execution) -> None:
        """Begin an execution, unless its result is there or it is under way."""
        if self.executed(execution) is None:
            self._begin(execution.key, execute, execution, self.isolation)

    def executed(self, execution: Execution) -> Executed | None:
        """The result, if it is there."""
        key = execution.key
        if key in self.failed:
            return Executed("infrastructure", output=self.failed[key])
        stored = _load(self.folder / key)
        return None if stored is None else Executed(**stored)

    def measured(self, models: dict[str, bytes], split: hidden.Split) -> dict | None:
        """Figures of files by name, if all are there; what is missing is begun."""
        digests = {
            name: _digest(["figures", hashlib.sha256(content).hexdigest(), split.digest,
                           environment_digest()])
            for name, content in models.items()
        }  # fmt: skip
        stored = {name: _load(self.folder / digest) for name, digest in digests.items()}
        figures = {name: found for name, found in stored.items() if found is not None}
        missing = {name: models[name] for name in models if name not in figures}
        if not missing:
            return figures
        key = _digest(sorted(digests[name] for name in missing))
        if key in self.failed:
            return figures | {name: {"fault": self.failed[key]} for name in missing}
        if key not in self.futures:
            by_digest = {digests[name]: content for name, content in missing.items()}
            self._begin(key, measure, by_digest, split.to_bytes(), self.isolation)
        return None

    def _begin(self, key: str, function: Callable, *arguments) -> None:
        if key not in self.futures:
            self.calls[key] = (function, *arguments)
            self.futures[key] = self.executor.submit(function, *arguments)

    def wait(self) -> None:
        """Wait for the next task to end and keep its result."""
        done, _ = wait(self.futures.values(), return_when=FIRST_COMPLETED)
        for key, future in list(self.futures.items()):
            if future in done:
                del self.futures[key]
                self._keep(key, future)

    def _keep(self, key: str, future: Future) -> None:
        try:
            found = future.result()
        except Exception as error:  # a worker that died, a cluster that went away
            self._retry(key, f"{type(error).__name__}: {error}")
            return
        if isinstance(found, Executed):
            if found.status == "infrastructure":
                self._retry(key, found.output)
            else:
                _store(self.folder / key, asdict(found))
            return
        faults = [f["fault"] for f in found.values() if "fault" in f]
        for digest, figures in found.items():
            if "fault" not in figures:
                _store(self.folder / digest, figures)
        if faults:
            self._retry(key, faults[0])

    def _retry(self, key: str, message: str) -> None:
        self.attempts[key] = self.attempts.get(key, 1) + 1
        if self.attempts[key] > _ATTEMPTS:
            self.failed[key] = f"after {_ATTEMPTS} attempts: {message.strip()[-500:]}"
        else:
            self._begin(key, *self.calls[key])


@contextmanager
def _executor(settings: Settings) -> Iterator[Executor]:
    """This machine's cores, or a Dask cluster: both are executors of `concurrent.futures`."""
    if not settings.scheduler:
        pool = ThreadPoolExecutor(settings.jobs)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
        return
    from distributed import Client

    try:
        client = Client(settings.scheduler, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise GradingError(f"no Dask scheduler at {settings.scheduler}: {error}") from error
    try:
        yield client.get_executor(pure=False, retries=0)
    finally:
        client.close()


def _find_notebook(submission, notebook, lab):
    """The file of a lab's notebook: by its names, else by the lab's cells in any notebook.

    Returns:
        path, restored notebook (None if there is none that can be read), and why.
    """
    named = [submission.find(name) for name in notebook.names]
    others = sorted(p for p in submission.files if p.lower().endswith(".ipynb"))
    trouble, first = f"{notebook.names[0]} is not in the submission", None
    for path in dict.fromkeys([*(p for p in named if p), *others]):
        try:
            restored = notebooks.restore(submission.files[path], lab.given)
        except notebooks.NotebookError as error:
            if path in named:
                trouble = f"{path[:80]} cannot be read: {error}"
            continue
        if _holds_lab(restored):
            return path, restored, ""
        if path in named and first is None:
            first = path, restored, ""
    return first or (None, None, trouble)


def _holds_lab(restored: notebooks.Restored) -> bool:
    return bool(restored.exercises or restored.answers)


def _check_lab(assignment: Assignment, source: Source, given: nbformat.NotebookNode) -> None:
    """That the items name exercises and questions that the lab has."""
    for kind, key in (("exercise", "exercise"), ("written", "question")):
        known = {c.metadata.get(key) for c in given.cells if kind in c.metadata.get("tags", [])}
        for item in assignment.of_lab(kind, source.name):
            if item.name not in known:
                names = ", ".join(sorted(filter(None, known)))
                raise GradingError(f"{item.id}: lab {source.name} has no such {key}; has {names}.")


def _agrees(expected: dict, answer: dict, tolerance: float) -> bool:
    """Whether what a submission answered is the solution's answer; compared here, as plain data."""
    if "answer" not in answer:
        return False
    try:
        return plain.agrees(plain.decode(expected), plain.decode(answer["answer"]), tolerance)
    except ValueError:
        return False


def _text(student: _Student, item: Item) -> str:
    restored = student.restored.get(item.lab)
    return restored.answers.get(item.name, "")[:20_000] if restored else ""


def _written(student: _Student) -> tuple[list[str], list[str], dict[str, str]]:
    """What a student wrote or handed in: code, texts, and digests of model files."""
    code = [
        cell.source[:_COMPARED] for restored in student.restored.values() for cell in restored.cells
        if cell.cell_type == "code"
    ]  # fmt: skip
    texts = [text for restored in student.restored.values() for text in restored.answers.values()]
    digests = {n: hashlib.sha256(content).hexdigest() for n, content in student.models.items()}
    return code, texts, digests


def _remarks(student: _Student) -> list[str]:
    """What a person should look at; none of it changes the points."""
    found = []
    for name, figures in student.figures.items():
        gap = figures.get("public_accuracy", 0) - figures.get("accuracy", 1)
        if gap > 0.2:
            found.append(
                f"{name} reads {figures['public_accuracy']:.0%} of the public test images and "
                f"{figures['accuracy']:.0%} of the hidden ones: memorised?"
            )
    return found


def _told_status(executed: Executed, assignment: Assignment) -> str:
    """How an execution ended, for people."""
    limits = assignment.limits
    failed = f"{len(executed.errors)} cell{'s' if len(executed.errors) > 1 else ''}"
    where = "" if executed.stopped_at is None else f", in code cell {executed.stopped_at + 1}"
    return {
        "ended": "executed" + (f", {failed} failed" if executed.errors else ""),
        "timeout": f"stopped: it took longer than {limits.seconds:g} s{where}",
        "cpu": f"stopped: more than {limits.cpu_seconds:g} s of processor time{where}",
        "memory": f"stopped: more than {limits.memory_mb:,} MB of memory{where}",
        "disk": f"stopped: more than {limits.disk_mb:,} MB written{where}",
        "processes": f"stopped: more than {limits.processes} processes{where}",
        "died": f"its kernel ended by itself{where}",
        "infrastructure": scoring.FAULT,
    }.get(executed.status, executed.status)


@cache
def environment_digest() -> str:
    """SHA-256 of Python's version and those of all installed packages."""
    found = {(d.metadata["Name"] or "", d.version) for d in metadata.distributions()}
    return _digest([platform.python_version(), sys.platform, sorted(found)])


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


def _store(folder: Path, content: dict) -> None:
    """Keep a result, its binary parts as files; it is there when `result.json` is."""
    plain_part = {}
    for name, value in content.items():
        if name == "files":
            for file, data in value.items():
                files.write_bytes(folder / "files" / file, data)
            plain_part["files"] = sorted(value)
        elif isinstance(value, bytes):
            files.write_bytes(folder / name, value)
        else:
            plain_part[name] = value
    files.write_text(folder / "result.json", json.dumps(plain_part))


def _load(folder: Path) -> dict | None:
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if "files" in content:
            content["files"] = {
                file: (folder / "files" / file).read_bytes() for file in content["files"]
            }
            content["notebook"] = (folder / "notebook").read_bytes()
    except (OSError, ValueError):
        return None
    return content


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n"


def _line(grade: dict, how: str = "") -> str:
    score = grade["score"]
    waiting = f", {score['waiting']:g} to be marked" if score["waiting"] else ""
    faults = f", {score['faults']} items: {scoring.FAULT}" if score["faults"] else ""
    kept = f" ({how})" if how else ""
    folder = grade["submission"]["folder"]
    return f"{folder}: {score['earned']:g} of {score['possible']:g}{waiting}{faults}{kept}"
