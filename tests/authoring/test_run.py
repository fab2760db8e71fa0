import json

import pytest

from labkit import runtime
from labkit.authoring.run import run


def results(out):
    return json.loads((out / "results" / "00.json").read_text())


def test_parameters_arrive_and_what_c_code_prints_does_not(course, edit, tmp_path, capfd):
    edit("import json\n", "import json, os\n_ = os.write(2, b'printed by C code')\n")
    out = tmp_path / "elsewhere"
    reported = []
    (outcome,) = run(
        out=out, profile="full", data="synthetic", seed=7, root=course, report=reported.append
    )
    assert outcome.ok and outcome.error == "" and reported == [outcome]
    assert (outcome.accuracy, outcome.bytes) == (0.5, 10)
    assert results(out) == {
        "accuracy": 0.5,
        "bytes": 10,
        "seed": 7,
        "profile": "full",
        "data": "synthetic",
    }
    assert (out / "notebooks" / "00_tiny.ipynb").exists()
    assert "printed by C code" not in capfd.readouterr().err


def test_a_failing_lab_does_not_stop_the_others(course, tmp_path):
    good = (course / "solutions" / "00_tiny.py").read_text(encoding="utf-8")
    bad = good.replace("return secret_answer", "return 1 / 0")
    (course / "solutions" / "01_bad.py").write_text(bad, encoding="utf-8")
    (course / "solutions" / "02_good.py").write_text(good, encoding="utf-8")
    for jobs in (1, 2):
        outcomes = run(out=tmp_path / f"out{jobs}", jobs=jobs, root=course)
        assert [(o.lab, o.ok) for o in outcomes] == [
            ("00_tiny", True),
            ("01_bad", False),
            ("02_good", True),
        ]
        assert "ZeroDivisionError" in outcomes[1].error
        assert outcomes[1].accuracy is None
        assert (tmp_path / f"out{jobs}" / "notebooks" / "01_bad.ipynb").exists()


def test_student_notebook_stops_at_its_first_exercise(course, tmp_path):
    (outcome,) = run(out=tmp_path / "out", student=True, root=course)
    assert not outcome.ok
    assert "exercise double" in outcome.error


def test_resume_keeps_what_is_finished_and_unchanged(course, edit, tmp_path):
    out = tmp_path / "out"
    (first,) = run(out=out, root=course)
    (second,) = run(out=out, root=course, resume=True)
    assert second == first
    (other,) = run(out=out, root=course, resume=True, seed=1)
    assert results(out)["seed"] == 1 and other != first
    edit('print("six", double(3))', 'print("six!", double(3))')
    (changed,) = run(out=out, root=course, resume=True, seed=1)
    assert changed.seconds != other.seconds


def test_unknown_settings_are_named(course, tmp_path):
    with pytest.raises(
        runtime.SettingError, match="profile is 'fast', expected one of quick, full"
    ):
        run(out=tmp_path, profile="fast", root=course)
