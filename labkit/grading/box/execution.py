"""Executes notebooks and measures files, each in a sandbox; the same here and on a Dask worker.

Both functions take and return plain data, so that a cluster needs no shared folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labkit import runtime
from labkit.grading.box import sandbox
from labkit.grading.box.sandbox import Isolation, Limits
from labkit.grading.inside import answers, measuring, runner
from labkit.grading.names import readable

OUT = "out"
_MAX_ANSWER = 5_000_000
_MAX_EXECUTED = 20_000_000
_MAX_FIGURES = 100_000
#: Told of a file whose measuring has left something else than figures.
NO_FIGURES = "it could not be measured"
#: One child measures all files of a submission; a 16x8 file takes 1 ms per sample.
_MEASURING = Limits(seconds=300, cpu_seconds=240, memory_mb=2000, file_mb=20, disk_mb=400)


@dataclass(frozen=True)
class Execution:
    """One notebook to be executed.

    Attributes:
        notebook: the prepared notebook, as text.
        cases: what the kernel is asked, by exercise: {"cases": [...], "answer": code}.
        files: names of the model files to collect, with their largest size.
        data: folder of the real data, or "".
        cache: folder of the drawn data, or "".
        threads: that TensorFlow may use.
        environment: digest of the software.
        imports: of the lab, statements of a line each.
    """

    lab: str
    notebook: str
    cases: dict
    files: dict[str, int]
    limits: Limits
    data: str = ""
    cache: str = ""
    threads: int = 2
    environment: str = ""
    imports: str = ""

    @property
    def key(self) -> str:
        """Equal for executions that must give the same result."""
        cells = [c["source"] for c in json.loads(self.notebook)["cells"]]
        content = [
            self.lab,
            cells,
            self.cases,
            self.files,
            asdict(self.limits),
            bool(self.data),
            self.environment,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass
class Executed:
    """What came of an execution; all of it but `status` and times is the submission's word.

    Attributes:
        status: as `sandbox.Ended.status`, or "died" for a kernel that ended by itself.
        stopped_at: the cell that was running when it ended early.
        errors: {"cell", "error"} of each failing cell.
        answers: by exercise, as `answers.answer` has written them, after its cell and at the end.
        files: content by name.
    """

    status: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    stopped_at: int | None = None
    errors: list[dict] = field(default_factory=list)
    answers: dict[str, list[list[dict]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    notebook: bytes = b""
    output: str = ""


def execute(task: Execution, isolation: Isolation) -> Executed:
    """Execute a notebook in a box of its own and collect what was declared."""
    with sandbox.scratch() as place:
        (place.given / OUT).mkdir()
        (place.given / answers.CASES).mkdir()
        (place.given / runner.NOTEBOOK).write_text(task.notebook, encoding="utf-8")
        for name, spec in task.cases.items():
            (place.given / answers.CASES / f"{name}.json").write_text(json.dumps(spec))
        readable = tuple(Path(p) for p in (task.data, task.cache) if p and Path(p).exists())
        ended = sandbox.run(
            ["-m", "labkit.grading.inside.runner"],
            place,
            task.limits,
            isolation,
            readable,
            _settings(task, place.box),
            take={
                runner.RUN: _MAX_ANSWER,
                runner.EXECUTED: _MAX_EXECUTED,
                **{path: _MAX_ANSWER for name in task.cases for path in _answers(name)},
                **{f"{OUT}/{name}": largest for name, largest in task.files.items()},
            },
            imports=f"{runner.IMPORTS}\n{task.imports}",
        )
    if not ended.started:
        # Not one line of the submission has run: this is the machine's fault.
        return Executed("infrastructure", ended.seconds, output=ended.output[-2000:])
    return _collected(task, ended)


def _answers(exercise: str) -> list[str]:
    """The files of an exercise's answers: after its cell, and at the notebook's end."""
    return [f"{answers.ANSWERS}/{exercise}{part}.json" for part in ("", answers.AGAIN)]


def _settings(task: Execution, folder: Path) -> dict[str, str]:
    settings = {
        **runtime.thread_settings(task.threads),
        "IPYTHONDIR": str(folder / "home" / "ipython"),
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(folder / "home" / "matplotlib"),
        "JUPYTER_RUNTIME_DIR": str(folder / "tmp" / "jupyter"),
    }
    if task.data:
        settings["LABKIT_DATA"] = task.data
    if task.cache and Path(task.cache).exists():
        settings["LABKIT_CACHE"] = task.cache
    return settings


def _collected(task: Execution, ended: sandbox.Ended) -> Executed:
    """What was taken out of the box, as far as it is what was asked for."""
    run = _json(ended.files.get(runner.RUN))
    run = run if isinstance(run, dict) else {}
    errors = run.get("errors") if isinstance(run.get("errors"), list) else []
    cells = len(json.loads(task.notebook)["cells"])
    found = Executed(
        status="died"
        if ended.status == "ended" and run.get("finished") is not True
        else ended.status,
        seconds=ended.seconds,
        cpu_seconds=ended.cpu_seconds,
        peak_mb=ended.peak_mb,
        stopped_at=_place(run.get("cell"), cells),
        errors=[
            {"cell": _place(e.get("cell"), cells), "error": readable(str(e.get("error"))[:500])}
            for e in errors[:50]
            if isinstance(e, dict)
        ],
        # Of one that was stopped: what was to be executed.
        notebook=ended.files.get(runner.EXECUTED) or task.notebook.encode(),
        output=ended.output[-2000:],
    )
    for name, spec in task.cases.items():
        for path in _answers(name):
            given = _json(ended.files.get(path))
            if _are_answers(given, len(spec["cases"])):
                found.answers.setdefault(name, []).append(given)
    made = {name: ended.files.get(f"{OUT}/{name}") for name in task.files}
    found.files = {name: content for name, content in made.items() if content is not None}
    return found


def _place(number: object, cells: int) -> int | None:
    """The number of a cell, if it is one of so many."""
    return number if type(number) is int and 0 <= number < cells else None


def _are_answers(given: object, count: int) -> bool:
    return (
        isinstance(given, list)
        and len(given) == count
        and all(
            isinstance(a, dict) and ("answer" in a or isinstance(a.get("error"), str))
            for a in given
        )
    )


def _json(content: bytes | None):
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError, MemoryError):
        return None


def measure(
    files: dict[str, bytes], split: bytes, isolation: Isolation, metric: str = "accuracy"
) -> dict[str, dict]:
    """Figures of model files, by the names given; in one child, or one more after each crash.

    Args:
        files, split: read by a process that holds no code of a submission's.
        metric: name of the metric, one of labkit's.

    Returns:
        figures by name, as `measuring.measure`; {"fault": …} where the machine failed.
    """
    figures: dict[str, dict] = {}
    waiting = sorted(files)
    while waiting:
        found, ended = _measure(waiting, files, split, isolation, metric)
        if not found:
            fault = f"the measuring process did not start ({ended.status}): {ended.output[-500:]}"
            return figures | {name: {"fault": fault} for name in waiting}
        if ended.status != "ended" or ended.code:
            # The last file that was begun has ended the process.
            last = [name for name in waiting if name in found][-1]
            if "problem" in found[last]:
                how = (
                    f"{ended.status} while measuring"
                    if ended.status != "ended"
                    else ("it crashes the interpreter")
                )
                found[last] = {"problem": how}
        figures |= found
        waiting = [name for name in waiting if name not in found]
    return figures


def _are_figures(content: object, metric: str) -> bool:
    """Whether the child has told what it should: why there are none, or numbers."""
    if not isinstance(content, dict) or "fault" in content:
        return False
    value = content.get(metric)
    return isinstance(content.get("problem"), str) or (
        "problem" not in content and isinstance(value, float) and math.isfinite(value)
    )


def _measure(names, files, split, isolation, metric) -> tuple[dict, sandbox.Ended]:
    figures = {name: f"{measuring.FIGURES}/{name}.json" for name in names}
    with sandbox.scratch() as place:
        (place.given / measuring.FILES).mkdir()
        (place.given / measuring.HIDDEN).write_bytes(split)
        for name in names:
            (place.given / measuring.FILES / name).write_bytes(files[name])
        ended = sandbox.run(
            ["-m", "labkit.grading.inside.measuring"],
            place,
            _MEASURING,
            isolation,
            stdin=json.dumps({"metric": metric, "files": names}).encode(),
            take=dict.fromkeys(figures.values(), _MAX_FIGURES),
            imports=measuring.IMPORTS,
        )
    read = {name: _json(ended.files.get(path)) for name, path in figures.items()}
    return {
        name: found if _are_figures(found, metric) else {"problem": NO_FIGURES}
        for name, found in read.items()
        if found is not None
    }, ended
