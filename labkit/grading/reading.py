"""Reads submissions in a child process under limits: what one of them does there can fail only it.

The child reads a line of JSON for what is wanted, then one for each submission, and answers each
with a line of plain data; it decompresses, parses and compares texts, so that the grader does not.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat

from labkit.grading import GradingError, cells, intake, notebooks, unpacking
from labkit.grading.executable import executable
from labkit.grading.names import plain_name, shown

#: Of a child process, for one submission.
SECONDS, MEMORY = 60, 2_500_000_000
_COMPARED = 300_000  # characters of a submission that are compared with others'
_SHORT = 60  # seconds between two files that count as written together


@dataclass(frozen=True)
class WantedLab:
    """A lab's notebook: its names, what was given out, and how it is to be executed."""

    lab: str
    accepted: tuple[str, ...]
    given: dict
    parameters: dict
    exercises: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class Wanted:
    """What is looked for in every submission; model files with the bytes that they may have."""

    labs: tuple[WantedLab, ...]
    models: dict[str, int]


@dataclass
class ReadLab:
    """A lab's notebook of a submission.

    Attributes:
        file: its path; None if there is none.
        status: why it is not executed; "" if it is.
        unread: it is there and could not be read.
        execute: the notebook to be executed, as text; "" if it is not.
    """

    file: str | None = None
    status: str = ""
    unread: bool = False
    repairs: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    execute: str = ""


@dataclass
class Content:
    """What a submission holds of what is wanted.

    Attributes:
        files: size and SHA-256 of what was read, by path.
        trouble: why nothing of it could be read; "" if something could.
        labs: by name.
        models, absent: content of the model files that are there; why they are not. By name.
        unread: names of the model files that are there and could not be read.
        code: cells that are compared with those of others.
    """

    name: str
    late: bool
    files: dict[str, dict] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    trouble: str = ""
    labs: dict[str, ReadLab] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


def nothing(handed: intake.Handed, wanted: Wanted, trouble: str) -> Content:
    """The content of a submission of which nothing could be read."""
    return Content(
        name=handed.name,
        late=handed.late,
        trouble=trouble,
        labs={each.lab: ReadLab(status=trouble, unread=True) for each in wanted.labs},
        absent={name: trouble for name in wanted.models},
        unread=list(wanted.models),
    )


def content(handed: intake.Handed, wanted: Wanted) -> Content:
    """Read a submission and find in it what is wanted."""
    submission = unpacking.read(handed, tuple(wanted.models))
    parsed, broken = _parsed(submission)
    found = Content(
        name=handed.name,
        late=handed.late,
        files={path: _facts(file.content) for path, file in sorted(submission.files.items())},
        problems=list(submission.problems),
        unread=[name for name in wanted.models if _is_unread(name, submission)],
    )
    givens = {each.lab: nbformat.from_dict(each.given) for each in wanted.labs}
    for each in wanted.labs:
        found.labs[each.lab] = _lab(each, submission, parsed, broken, givens, found.code)
    for name, largest in wanted.models.items():
        _take_model(name, largest, submission, found)
    if submission.empty:
        found = nothing(handed, wanted, "the submission is empty")
    elif not parsed and not found.models and (submission.unread or broken):
        reasons = {**submission.unread, **broken}
        path, why = next(iter(reasons.items()))
        found.trouble = f"{shown(path)}: {why}"
    return found


def _facts(data: bytes) -> dict:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _is_unread(name: str, submission: unpacking.Submission) -> bool:
    """Whether a model file may be there, but in something that could not be read."""
    if submission.named(name):
        return False
    archives = [path for path in submission.unread if not path.lower().endswith(".ipynb")]
    models = [path for path in archives if path.lower().endswith(".tflite")]
    return bool(submission.why_unread(name)) or len(archives) > len(models)


def _parsed(
    submission: unpacking.Submission,
) -> tuple[dict[str, cells.Parsed], dict[str, str]]:
    """The notebooks by path, and why the others cannot be read."""
    parsed, broken = {}, {}
    for path, file in submission.files.items():
        if not path.lower().endswith(".tflite"):
            try:
                parsed[path] = cells.parse(file.content)
            except cells.NotebookError as error:
                broken[path] = str(error)
    return parsed, broken


def _lab(
    wanted: WantedLab,
    submission: unpacking.Submission,
    parsed: dict[str, cells.Parsed],
    broken: dict[str, str],
    givens: dict[str, nbformat.NotebookNode],
    code: list[str],
) -> ReadLab:
    """A lab's notebook of the submission, brought into the lab's form."""
    given = givens[wanted.lab]
    other = notebooks.others([found for lab, found in givens.items() if lab != wanted.lab])
    names = [plain_name(name) for name in wanted.accepted]
    all_restored = {path: notebooks.restore(each, given, other) for path, each in parsed.items()}
    # One that has a function of this lab's by chance is another lab's.
    most = max([found.held for found in all_restored.values()], default=0)
    holding = [p for p, found in all_restored.items() if found.held and 2 * found.held >= most]
    named = [p for p in parsed if plain_name(p) in names]
    path = _latest(holding or named, submission, all_restored, names)
    if path is None:
        return _missing(wanted, submission, broken, names)
    chosen = all_restored[path]
    read = ReadLab(path, repairs=chosen.repairs, answers=chosen.answers)
    if path.rpartition("/")[2] not in wanted.accepted and plain_name(path) not in names:
        read.repairs.append(f"recognised by its cells: it is named {shown(path)}")
    others = [p for p in dict.fromkeys([*holding, *named]) if p != path]
    if others:
        told = ", ".join(shown(p) for p in others[:5])
        read.repairs.append(f"there are several notebooks for this lab; not graded: {told}")
    if chosen.recognised:
        text = executable(chosen, wanted.parameters, list(wanted.exercises), wanted.whole)
        read.execute = nbformat.writes(text)
    else:
        read.status = "none of the lab's cells is in it; it was not executed"
    given_sources = {cell.source for cell in given.cells}
    own = [c.source for c in chosen.cells if c.cell_type == "code"]
    room = _COMPARED - sum(map(len, code))
    for source in own:
        if source not in given_sources and len(source) <= room:
            code.append(source)
            room -= len(source)
    return read


def _missing(
    wanted: WantedLab, submission: unpacking.Submission, broken: dict[str, str], names: list[str]
) -> ReadLab:
    """What is told of a lab whose notebook is not there, or cannot be read."""
    reasons = {**submission.unread, **broken}
    of_name = [path for path in reasons if plain_name(path) in names]
    # What cannot be read may be the notebook, whatever its name; a model file is none.
    possible = of_name or [path for path in reasons if not path.lower().endswith(".tflite")]
    if possible:
        path = possible[0]
        return ReadLab(
            file=path if path in broken else None,
            status=f"{shown(path)} cannot be read: {reasons[path]}",
            unread=True,
        )
    return ReadLab(status=f"{wanted.accepted[0]} is not in the submission")


def _latest(
    paths: list[str],
    submission: unpacking.Submission,
    restored: dict[str, notebooks.Restored],
    names: list[str],
) -> str | None:
    """Of several notebooks the latest that is not blank.

    The number in a name says which of two is the later one, else the time of the last change;
    of those written together the one with more in it, then the one of the right name.
    """
    if not paths:
        return None
    files = submission.files
    paths = [p for p in paths if restored[p].filled] or paths
    for path in list(paths):
        same = [p for p in paths if plain_name(p) == plain_name(path)]
        paths = [
            p for p in paths if p not in same or files[p].order == max(files[q].order for q in same)
        ]
    newest = max(files[p].when for p in paths)
    paths = [p for p in paths if files[p].when > newest - _SHORT]
    return max(
        paths,
        key=lambda p: (
            restored[p].filled,
            plain_name(p) in names,
            -p.count("/"),
            files[p].order,
            -len(p),
        ),
    )


def _take_model(name: str, largest: int, submission: unpacking.Submission, found: Content) -> None:
    """A model file of the submission, or why there is none."""
    files = submission.named(name)
    if files and len(files[0].content) <= largest:
        found.models[name] = files[0].content
        if len(files) > 1 and len({f.content for f in files}) > 1:
            told = ", ".join(shown(f.path) for f in files[1:4])
            found.problems.append(
                f"of several {name} {shown(files[0].path)} was measured; not: {told}."
            )
    elif files:
        size = len(files[0].content)
        found.absent[name] = f"{name} has {size:,} bytes, at most {largest:,} are read."
    elif name in found.unread:
        path, why = next(iter(submission.unread.items()))
        why = submission.why_unread(name) or f"{shown(path)}: {why}"
        found.absent[name] = f"{name} could not be read: {why}."
    else:
        others = sorted(p for p in submission.models if not submission.files.get(p))
        found.absent[name] = f"{name} is not in the submission" + (
            f" (there are, under other names: {', '.join(map(shown, others[:5]))}; "
            "files are found by their names)."
            if others
            else "."
        )


class Reader:
    """Reads submissions, one after the other, in a child that is started anew when it ends."""

    def __init__(self, wanted: Wanted):
        self.wanted = wanted
        self._child: subprocess.Popen | None = None

    def read(self, handed: intake.Handed) -> Content:
        """The content of a submission; never an error of its own making."""
        child = self._child or self._start()
        task = [handed.id, handed.name, [str(path) for path in handed.paths], handed.late]
        late = threading.Timer(SECONDS, child.kill)
        late.start()
        try:
            answer = _ask(child, task)
        finally:
            took_too_long = not late.is_alive()
            late.cancel()
        if answer is None:
            self.close()
            why = f"it took longer than {SECONDS} s" if took_too_long else "the reader ended on it"
            return nothing(handed, self.wanted, f"the submission could not be read: {why}")
        if "trouble" in answer and len(answer) == 1:
            return nothing(handed, self.wanted, answer["trouble"])
        labs = {lab: ReadLab(**found) for lab, found in answer.pop("labs").items()}
        models = {name: base64.b64decode(text) for name, text in answer.pop("models").items()}
        return Content(**answer, labs=labs, models=models)

    def _start(self) -> subprocess.Popen:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "labkit.grading.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if _ask(self._child, asdict(self.wanted)) is None:
            raise GradingError("the process that reads submissions does not start.")
        return self._child

    def close(self) -> None:
        """End the child."""
        if self._child:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
            self._child = None


def _ask(child: subprocess.Popen, question: object) -> dict | None:
    """The child's answer; None if it ends first."""
    try:
        child.stdin.write(json.dumps(question).encode() + b"\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())
    except (OSError, ValueError):
        return None


def main() -> None:
    """Answer the lines of standard input on standard output, on which nothing else is printed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    wanted = json.loads(sys.stdin.readline())
    wanted = Wanted(tuple(WantedLab(**lab) for lab in wanted["labs"]), wanted["models"])
    _limit()
    answers.write(b"{}\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line), wanted)).encode() + b"\n")
        answers.flush()


def _answer(task: list, wanted: Wanted) -> dict:
    identity, name, paths, late = task
    try:
        found = content(intake.Handed(identity, name, tuple(map(Path, paths)), late), wanted)
        models = {n: base64.b64encode(data).decode() for n, data in found.models.items()}
        found.models = {}
        return asdict(found) | {"models": models}
    except Exception as error:  # whatever it was, it is this submission's alone
        return {"trouble": f"the submission could not be read ({type(error).__name__})"}


def _limit() -> None:
    """Bound this process's memory, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
