"""Labs run one after another or several at a time; what has ended well is kept."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

from labkit import files, runtime
from labkit.authoring.build import student_notebook
from labkit.authoring.execution import execute_notebook
from labkit.authoring.source import Source, sources


@dataclass(frozen=True)
class LabRun:
    """The outcome of one lab.

    Attributes:
        ok: every cell ran.
        seconds: that it took.
        accuracy, bytes: of the lab's headline file; None where it got none.
        metrics: of that file, by name: what the lab judges its files by.
        notebook: the executed notebook, as far as it came.
        error: "" or which cell failed, and how.
    """

    lab: str
    ok: bool
    seconds: float
    accuracy: float | None
    bytes: int | None
    notebook: str
    error: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


def run(
    labs: list[str] | None = None,
    out: str | Path = "out",
    profile: str = "quick",
    data: str = "auto",
    seed: int = 0,
    jobs: int = 1,
    student: bool = False,
    resume: bool = False,
    root: Path | None = None,
    report=lambda outcome: None,
) -> list[LabRun]:
    """Execute labs into `out`/notebooks; a lab that fails does not stop the others.

    Args:
        labs: numbers or names; by default all.
        out: folder for executed notebooks, model files, ledger and results.
        profile, data, seed: the labs' parameters.
        jobs: labs at a time.
        student: execute the student notebooks instead of the solutions.
        resume: keep labs that an earlier call has finished with the same source and parameters.
        report: called with each LabRun as it ends.

    Raises:
        CourseError: an unknown lab.
        SettingError: an unknown profile or data mode.
    """
    runtime.checked_choice("profile", profile, runtime.PROFILES)
    runtime.checked_choice("data", data, runtime.DATA_MODES)
    out = Path(out)
    parameters = {"PROFILE": profile, "DATA": data, "SEED": seed, "OUT": str(out)}
    outcomes: dict[str, LabRun] = {}
    waiting = []
    selected = sources(labs, root)
    for source in selected:
        kept = _kept(source, out, parameters, student) if resume else None
        if kept:
            outcomes[source.name] = kept
            report(kept)
        else:
            waiting.append(source)
    if jobs <= 1 or len(waiting) <= 1:
        for source in waiting:
            outcomes[source.name] = _run(source, out, parameters, student, 1)
            report(outcomes[source.name])
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            tasks = [pool.submit(_run, s, out, parameters, student, jobs) for s in waiting]
            for task in as_completed(tasks):
                outcome = task.result()
                outcomes[outcome.lab] = outcome
                report(outcome)
    return [outcomes[source.name] for source in selected]


def _run(source: Source, out: Path, parameters: dict, student: bool, jobs: int) -> LabRun:
    notebook = student_notebook(source) if student else copy.deepcopy(source.notebook)
    result = out / "notebooks" / f"{source.name}.ipynb"
    figures = out / "results" / f"{source.number}.json"
    figures.unlink(missing_ok=True)
    environment = runtime.thread_settings(runtime.threads_each(jobs)) if jobs > 1 else {}
    started = time.perf_counter()
    error = execute_notebook(
        notebook,
        result,
        parameters,
        environment=environment,
        progress=jobs == 1 and runtime.interactive(),
    )
    seconds = time.perf_counter() - started
    measured = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {}
    outcome = LabRun(
        lab=source.name,
        ok=not error,
        seconds=seconds,
        accuracy=measured.get("accuracy"),
        bytes=measured.get("bytes"),
        notebook=result.as_posix(),
        error=error,
        metrics=measured.get("metrics", {}),
    )
    state = {"key": _key(source, parameters, student), "outcome": asdict(outcome)}
    files.write_text(_state(source, out), json.dumps(state, indent=2) + "\n")
    return outcome


def _kept(source: Source, out: Path, parameters: dict, student: bool) -> LabRun | None:
    """The outcome of an earlier call, if it ended well and nothing has changed."""
    try:
        state = json.loads(_state(source, out).read_text(encoding="utf-8"))
        outcome = LabRun(**state["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = state["key"] == _key(source, parameters, student)
    return outcome if same and outcome.ok and Path(outcome.notebook).exists() else None


def _state(source: Source, out: Path) -> Path:
    return out / "runs" / f"{source.number}.json"


def _key(source: Source, parameters: dict, student: bool) -> str:
    text = json.dumps([source.digest, parameters, student], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
