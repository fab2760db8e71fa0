"""A class graded: resumed, repeated, retried, on Dask; the same grades each time."""

import concurrent.futures
import dataclasses
import json
import shutil
import subprocess
import sys
import time

import nbformat
import pytest

from labkit import course, files
from labkit.grading import GradingError, rehearsal, scoring, tasks
from labkit.grading.assignment import Board, Part
from labkit.grading.box import sandbox
from labkit.grading.box.execution import Executed, Execution
from labkit.grading.box.sandbox import Limits
from labkit.grading.grade import Settings, grade_class
from labkit.grading.students import SCHEMA


def stripped(grade_):
    """A grade without what differs from run to run."""
    return {k: v for k, v in grade_.items() if k not in ("run", "key")}


@pytest.fixture(scope="module")
def students(rehearsal_lab, model_files, tmp_path_factory):
    """Three submissions: good, half of it, blank."""
    to = tmp_path_factory.mktemp("students")
    answers = {
        "ann": {"step": "solution", "rounded": "solution", "why_steps": "Gaps."},
        "bob": {"step": "solution", "rounded": "def rounded(x, scale):\n    return x"},
        "cem": {},
    }
    for name, given in answers.items():
        notebook = rehearsal.filled(rehearsal_lab, given)
        files.write_text(to / name / "rehearsal.ipynb", nbformat.writes(notebook))
    for model in ("float", "int8"):
        files.write_bytes(to / "ann" / f"{model}.tflite", model_files[model])
    files.write_bytes(to / "bob" / "float.tflite", model_files["float"])
    return to


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "secret"
    path.write_text("ab" * 32)
    return path


@pytest.fixture(scope="module")
def first(students, assignment, split, secret, tmp_path_factory):
    """The class graded once: its grades and its folder."""
    out = tmp_path_factory.mktemp("first")
    settings = Settings(jobs=2, hidden=split, secret=secret)
    return grade_class(students, assignment, out, settings), out


def test_the_grades_are_as_expected(first):
    ann, bob, cem = first[0]
    assert (ann["score"]["earned"], ann["score"]["waiting"]) == (55, 10)
    assert (bob["score"]["earned"], bob["score"]["waiting"]) == (25, 0)
    assert (cem["score"]["earned"], cem["score"]["waiting"]) == (0, 0)


def test_every_report_is_there(first):
    _, out = first
    for name in (
        "index.html",
        "grades.csv",
        "canvas.csv",
        "written.csv",
        "written.html",
        "leaderboard.html",
        "similarity.csv",
    ):
        assert (out / name).stat().st_size > 0
    for name in ("grade.json", "feedback.html", "results.json", "executed/90_rehearsal.ipynb"):
        assert (out / "students" / "ann" / name).stat().st_size > 0


def test_two_runs_give_the_same_grades(first, students, assignment, split, secret, tmp_path):
    settings = Settings(jobs=1, hidden=split, secret=secret)
    again = grade_class(students, assignment, tmp_path, settings)
    assert [stripped(g) for g in again] == [stripped(g) for g in first[0]]


def test_a_second_call_keeps_what_is_done(first, students, assignment, split, secret, monkeypatch):
    def never(*arguments):
        raise AssertionError("nothing is to be executed again")

    monkeypatch.setattr(tasks, "execute", never)
    monkeypatch.setattr(tasks, "measure", never)
    settings = Settings(jobs=2, hidden=split, secret=secret)
    lines = []
    again = grade_class(students, assignment, first[1], settings, lines.append)
    assert again == first[0] and all(line.endswith("(kept)") for line in lines)


def test_a_killed_run_goes_on_and_ends_with_the_same_grades(
    first, students, assignment, split, secret, tmp_path
):
    out = tmp_path / "out"
    code = (
        "import sys, pathlib, dataclasses\n"
        "from labkit.grading import assignment, grade\n"
        "a = assignment.load(pathlib.Path(sys.argv[2]))\n"
        "a = dataclasses.replace(a, limits=dataclasses.replace(a.limits, seconds=20))\n"
        "grade.grade_class(pathlib.Path(sys.argv[1]), a, pathlib.Path(sys.argv[3]),\n"
        "    grade.Settings(hidden=pathlib.Path(sys.argv[4]), secret=pathlib.Path(sys.argv[5])))"
    )
    path = course.root() / "grading" / "rehearsal" / "assignment.yaml"
    grader = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, (students, path, out, split, secret))]
    )
    end = time.monotonic() + 90
    while not list(out.glob("students/*/grade.json")) and time.monotonic() < end:
        time.sleep(0.05)
    grader.kill()
    grader.wait()
    written = list(out.glob("students/*/grade.json"))
    assert written and all(json.loads(p.read_text())["schema"] == SCHEMA for p in written)
    settings = Settings(jobs=2, hidden=split, secret=secret)
    again = grade_class(students, assignment, out, settings)
    assert [stripped(g) for g in again] == [stripped(g) for g in first[0]]


def test_a_dask_cluster_gives_the_same_grades(first, students, assignment, split, secret, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        settings = Settings(scheduler=cluster.scheduler_address, hidden=split, secret=secret)
        grades = grade_class(students, assignment, tmp_path, settings)
    assert [stripped(g) for g in grades] == [stripped(g) for g in first[0]]


def test_no_scheduler_is_told(students, assignment, split, tmp_path, monkeypatch):
    import distributed

    def refuse(*arguments, **options):
        raise OSError("connection refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    settings = Settings(scheduler="tcp://127.0.0.1:1", hidden=split)
    with pytest.raises(GradingError, match="no Dask scheduler at"):
        grade_class(students, assignment, tmp_path, settings)


def test_marks_complete_a_grade_and_stay(first, students, assignment, split, secret, tmp_path):
    _, out = first
    table = (out / "written.csv").read_text(encoding="utf-8").splitlines()
    header = table[0].split(",")
    marked = tmp_path / "marked.csv"
    item = "written:90_rehearsal/why_steps"
    marked.write_text(f"folder,item,mark,comment\nann,{item},7,short\n", encoding="utf-8")
    settings = Settings(jobs=2, hidden=split, secret=secret, marks=marked)
    ann = grade_class(students, assignment, out, settings)[0]
    assert (ann["score"]["earned"], ann["score"]["waiting"]) == (62, 0)
    assert "short" in (out / "students" / "ann" / "feedback.html").read_text(encoding="utf-8")
    kept = grade_class(students, assignment, out, dataclasses.replace(settings, marks=None))[0]
    assert kept["score"]["earned"] == 62 and header[-2:] == ["mark", "comment"]


def test_a_file_written_by_the_execution_is_measured(
    rehearsal_lab, assignment, model_files, split, isolated, tmp_path
):
    """The notebook writes the file; what lies in the submission under that name does not count."""
    import base64

    notebook = rehearsal.filled(rehearsal_lab, {})
    content = base64.b64encode(model_files["int8"]).decode()
    code = f"import base64; open(OUT + '/made.tflite', 'wb').write(base64.b64decode({content!r}))"
    rehearsal.add_cell(notebook, "step", code)
    files.write_text(tmp_path / "in" / "ann" / "rehearsal.ipynb", nbformat.writes(notebook))
    files.write_bytes(tmp_path / "in" / "ann" / "made.tflite", b"another")
    made = dataclasses.replace(assignment.files[0], name="made.tflite", source="execution")
    item = dataclasses.replace(assignment.items[2], model="made.tflite", title="made")
    changed = dataclasses.replace(
        assignment, files=(made,), parts=(Part("p", (item,)),), leaderboard=Board(), points=15
    )
    settings = Settings(hidden=split)
    (ann,) = grade_class(tmp_path / "in", changed, tmp_path / "out", settings)
    assert ann["score"]["earned"] == 15 and ann["models"]["made.tflite"]["accuracy"] == 1.0


class Now(concurrent.futures.Executor):
    """Runs a task when it is submitted."""

    def submit(self, function, *arguments):
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


TASK = Execution("x", '{"cells": []}', {}, {}, Limits())


@pytest.mark.parametrize("fault", [RuntimeError("worker died"), "infrastructure"])
def test_faults_of_the_machine_are_retried(tmp_path, monkeypatch, fault):
    attempts = []

    def flaky(task, isolation):
        attempts.append(task)
        if len(attempts) < 3:
            if isinstance(fault, str):
                return Executed(fault, output="no disk")
            raise fault
        return Executed("ended", 1.0, notebook=b"{}", files={"m.tflite": b"x"})

    monkeypatch.setattr(tasks, "execute", flaky)
    under_way = tasks.Tasks(Now(), tmp_path, sandbox.Isolation("limits"))
    under_way.execute(TASK)
    while under_way.executed(TASK) is None:
        under_way.wait()
    assert len(attempts) == 3 and under_way.executed(TASK).files == {"m.tflite": b"x"}


def test_a_lasting_fault_is_no_zero_and_is_tried_again(
    students, assignment, split, secret, tmp_path, monkeypatch
):
    alone, out = tmp_path / "alone", tmp_path / "out"
    shutil.copytree(students / "ann", alone / "ann")
    broken = Executed("infrastructure", output="no disk")
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "execute", lambda *a: broken)
        settings = Settings(jobs=2, hidden=split, secret=secret)
        (ann,) = grade_class(alone, assignment, out, settings)
    exercises = [item for item in ann["items"] if item["kind"] == "exercise"]
    assert {item["status"] for item in exercises} == {scoring.FAULT}
    assert {item["earned"] for item in exercises} == {None} and ann["score"]["faults"] == 2
    page = (out / "students" / "ann" / "feedback.html").read_text(encoding="utf-8")
    assert "costs no points" in page
    assert grade_class(alone, assignment, out, settings)[0]["score"]["earned"] == 55


def test_equal_executions_run_once(rehearsal_lab, assignment, split, tmp_path, monkeypatch):
    runs = []
    real = tasks.execute
    monkeypatch.setattr(tasks, "execute", lambda *a: (runs.append(1), real(*a))[1])
    blank = nbformat.writes(rehearsal.filled(rehearsal_lab, {}))
    for name in ("a", "b", "c"):
        files.write_text(tmp_path / "in" / name / "rehearsal.ipynb", blank)
    grades = grade_class(tmp_path / "in", assignment, tmp_path / "out", Settings(hidden=split))
    assert len(grades) == 3 and len(runs) == 1


def test_grades_fit_their_published_schema(first):
    from labkit.grading.assignment import schema_fault

    for found in first[0]:
        assert schema_fault(found, "grade") is None
        assert schema_fault({**found, "score": {**found["score"], "earned": -1}}, "grade")


def test_a_solution_that_is_not_there_is_told(students, assignment, split, tmp_path):
    item = dataclasses.replace(assignment.items[0], exercise="90_rehearsal/missing")
    changed = dataclasses.replace(assignment, parts=(Part("p", (item,)),))
    with pytest.raises(GradingError, match=r"no such exercise|fails"):
        grade_class(students, changed, tmp_path, Settings(hidden=split))


def test_a_case_that_fails_is_told(students, assignment, split, tmp_path):
    item = dataclasses.replace(assignment.items[0], cases=("dict(low=1 / 0)",))
    changed = dataclasses.replace(assignment, parts=(Part("p", (item,)),))
    with pytest.raises(GradingError, match="step: case 'dict"):
        grade_class(students, changed, tmp_path, Settings(hidden=split))
