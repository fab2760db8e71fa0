import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import cli, course, measure
from labkit.errors import LabkitError

ROW = {
    "lab": "02",
    "model": "baseline",
    "technique": "float",
    "data": "synthetic",
    "profile": "quick",
    "seed": 0,
    "metric": "accuracy",
    "value": 0.5,
    "unit": "fraction",
}


def labkit(*arguments, cwd=None, **environment):
    code = "from labkit.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )


def test_help_names_every_command():
    text = labkit("--help").stdout
    for command in ("doctor", "data", "run", "build", "report", "net", "har", "sweep"):
        assert command in text


def test_version():
    from labkit import __version__

    assert labkit("--version").stdout == f"labkit {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "77"], "there is no lab '77'; the labs are 00_start_here"),
        (["data", "verify", "nothing"], "there is no data set 'nothing'"),
        (["report", "nowhere"], "there is no ledger in nowhere"),
        (["sweep", "nothing"], "there is no study 'nothing'"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, message):
    ran = labkit(*arguments)
    assert ran.returncode == 2
    assert message in ran.stderr and ran.stderr.count("\n") == 1


def test_wrong_choice_is_refused():
    ran = labkit("run", "--profile", "fast")
    assert ran.returncode == 2 and "'fast' is not one of 'quick', 'full'" in ran.stderr


def test_damaged_files_are_one_line(tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "01.csv").write_text("lab,accuracy\n01,0.9\n")
    (tmp_path / "sign-language-mnist.zip").write_bytes(b"not a zip")
    (tmp_path / "file").touch()
    for arguments, named in (
        (["report", str(tmp_path)], "01.csv"),
        (["data", "verify"], "sign-language-mnist.zip"),
        (["run", "00", "--out", str(tmp_path / "file")], "file"),
    ):
        ran = labkit(*arguments, LABKIT_DATA=str(tmp_path))
        assert ran.returncode == 2, arguments
        assert str(tmp_path / named) in ran.stderr or named in ran.stderr
        assert ran.stderr.startswith("labkit: ") and ran.stderr.count("\n") == 1


def test_every_error_of_labkits_own_takes_one_line():
    """No part raises an error class of its own beside the root, but for faults of labkit's."""
    source = Path(cli.__file__).parent
    classes = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for path in source.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    assert len(classes) > 10
    beside = {name for name, bases in classes.items() if bases & {"ValueError", "Exception"}}
    assert beside == {"LabkitError"}
    assert cli._one_line(LabkitError("what, where, what to do")) == "what, where, what to do"


def test_a_fault_of_labkits_keeps_its_traceback():
    assert cli._one_line(ZeroDivisionError("division by zero")) is None


def test_outside_a_course_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "_PACKAGE", tmp_path)
    with pytest.raises(course.CourseError, match="not inside a checkout of the course"):
        course.root(tmp_path)


def test_data_where_follows_the_setting(tmp_path):
    text = labkit("data", "where", LABKIT_DATA=str(tmp_path)).stdout
    assert f"real   {tmp_path}" in text


def test_data_list(tmp_path):
    text = labkit("data", "list", LABKIT_DATA=str(tmp_path)).stdout
    assert text.startswith("sign_mnist: Sign Language MNIST\n") and "not here" in text


def test_data_verify_without_data(tmp_path):
    ran = labkit("data", "verify", LABKIT_DATA=str(tmp_path))
    assert ran.returncode == 2 and "there is no real data here" in ran.stderr


def test_doctor_prints_repairs_and_fails(tmp_path):
    ran = labkit("doctor", LABKIT_DATA=str(tmp_path / "nowhere"))
    assert ran.returncode == 1
    assert "WRONG  settings" in ran.stdout and "set LABKIT_DATA" in ran.stdout


def test_report_prints_csv_and_plots(tmp_path):
    rows = [
        ROW | {"seed": seed, "metric": metric, "value": value}
        for seed, accuracy in enumerate((0.9, 0.92))
        for metric, value in (("accuracy", accuracy), ("bytes", 1000))
    ]
    measure.Ledger(tmp_path).record(rows)
    assert "91.00" in labkit("report", str(tmp_path)).stdout
    lines = labkit("report", str(tmp_path), "--csv").stdout.splitlines()
    assert lines[0] == "lab,model,technique,data,profile,seed,metric,value,unit" and len(lines) == 5
    before = set(tmp_path.iterdir())
    picture = tmp_path / "front"  # without a suffix, too
    assert labkit("report", str(tmp_path), "--plot", str(picture)).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert set(tmp_path.iterdir()) == before | {picture}
    ran = labkit("report", str(tmp_path), "--plot", str(tmp_path / "front.xyz"))
    assert ran.returncode == 2 and "a plot is written as" in ran.stderr


def test_report_has_its_figures_in_a_narrow_terminal(tmp_path):
    technique = "int8, one activation channel stretched 64-fold"
    for lab, model in (("03", "baseline"), ("10", "SqueezeNet for 32x32")):
        rows = [
            ROW | {"lab": lab, "model": model, "technique": technique, "metric": m, "value": v}
            for m, v in (("accuracy", 0.876), ("bytes", 57528), ("coded_bits", 473578))
        ]
        measure.Ledger(tmp_path).record(rows)
    for columns in ("40", "80"):
        text = labkit("report", str(tmp_path), COLUMNS=columns).stdout
        for figure in ("87.60", "57,528", "473,578"):
            assert text.count(figure) == 2, (columns, figure)
        assert "stretched" in text


def test_run_gives_a_lab_its_parameters_and_ends_in_a_table(tmp_path):
    out = tmp_path / "out"
    ran = labkit("run", "00", "--data", "synthetic", "--seed", "3", "--out", str(out))
    assert ran.returncode == 0, ran.stderr
    assert "00_start_here: done" in ran.stdout and "accuracy" in ran.stdout
    results = json.loads((out / "results" / "00.json").read_text())
    assert f"{results['accuracy']:.1%}" in ran.stdout
    assert {check["status"] for check in results["checks"]} == {"passed"}
    (made,) = (a for a in results["artefacts"] if a["file"] == "first_model.tflite")
    assert (out / "first_model.tflite").stat().st_size == made["bytes"]
    executed = (out / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
    assert "**seed:** 3" in executed


def test_build_check_of_the_course():
    assert labkit("build", "--check").returncode == 0
