"""The rehearsal, by the command that an instructor gives."""

import csv
import subprocess
import sys

from labkit import course

ROOT = course.root()


def test_every_grade_is_as_expected_and_the_reports_say_why(tmp_path):
    """One test: two would each rehearse the class, where they are dealt to two processes."""
    out, code = tmp_path / "rehearsal", "from labkit.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "grade", "--rehearse", "--out", str(out), "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "23 of 23 grades are as expected" in ran.stdout
    with (out / "graded" / "grades.csv").open(encoding="utf-8-sig") as stream:
        rows = {row["student"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 23 and rows["doejane"]["late"] == "late"

    def feedback(name):
        folder = out / "graded" / "students" / rows[name]["folder"]
        return (folder / "feedback.html").read_text(encoding="utf-8")

    assert "types of the weights: float32, asked for: nothing but int8." in feedback(
        "14 float renamed as int8"
    )
    assert "share of zero weights" in feedback("16 pruned without sparsity")
    assert "bits of a weight in the shortest code" in feedback("15 16 bits as 4 bits")
    assert "model1.tflite" in feedback("12 wrong file names")
    assert "at most 400,000 are read" in feedback("13 oversized")
    assert "took longer than" in feedback("06 endless loop")
    assert "MB of memory" in feedback("07 memory hog")
    assert "ended by itself" in feedback("08 crash of the kernel")
    assert "no valid JSON" in feedback("09 corrupt notebook")
    assert "found by its name" in feedback("10 missing metadata")
    assert "in code cell 4" in feedback("06 endless loop")  # as the student counts them
    assert "at the notebook" in feedback("17 functions in own cells")
    assert "not graded: &#39;90_rehearsal.ipynb&#39;" in feedback("19 handed in twice")
    assert "Not graded yet" in feedback("21 half a zip")
    with (out / "graded" / "canvas.csv").open(encoding="utf-8-sig") as stream:
        canvas = {row["Student"]: row["Rehearsal"] for row in csv.DictReader(stream)}
    assert canvas["21 half a zip"] == canvas["09 corrupt notebook"] == "" != canvas["02 blank"]
