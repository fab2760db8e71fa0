"""The rehearsal, by the command that an instructor gives."""

import csv
import subprocess
import sys

import pytest

from labkit.authoring.source import course_root

ROOT = course_root()


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("rehearsal")
    code = "from labkit.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "grade", "--rehearse", "--out", str(out), "--jobs", "2"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    ), out  # fmt: skip


def test_every_grade_is_as_expected(rehearsed):
    ran, _ = rehearsed
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "17 of 17 grades are as expected" in ran.stdout


def test_its_reports_say_why(rehearsed):
    _, out = rehearsed
    with (out / "graded" / "grades.csv").open(encoding="utf-8") as stream:
        rows = {row["student"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 17 and rows["doejane"]["late"] == "late"

    def feedback(name):
        folder = out / "graded" / "students" / rows[name]["folder"]
        return (folder / "feedback.html").read_text(encoding="utf-8")

    assert "types of the weights: float32, asked for: nothing but int8." in feedback(
        "14 float renamed as int8"
    )
    assert "share of zero weights" in feedback("16 pruned without sparsity")
    assert "bits that the distinct weights of a channel need" in feedback("15 16 bits as 4 bits")
    assert "model1.tflite" in feedback("12 wrong file names")
    assert "at most 400,000 are read" in feedback("13 oversized")
    assert "took longer than" in feedback("06 endless loop")
    assert "MB of memory" in feedback("07 memory hog")
    assert "ended by itself" in feedback("08 crash of the kernel")
    assert "no valid JSON" in feedback("09 corrupt notebook")
    assert "found by its name" in feedback("10 missing metadata")
