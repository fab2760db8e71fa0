"""The set-up script: done once, taken up after an interruption, and clear about what is missing."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
posix = pytest.mark.skipif(sys.platform == "win32", reason="writes shell scripts")


@pytest.fixture
def setup_venv(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.reload(importlib.import_module("setup_venv"))


@pytest.fixture
def pip(setup_venv, monkeypatch):
    """Environments with something that only looks like pip; `calls` says what it was asked for."""
    pip = SimpleNamespace(calls=[], status=0)

    def create(venv, python=""):
        pip.calls.append("create")
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], check=True)
        (packages(venv) / "pip").mkdir()
        (packages(venv) / "pip" / "__init__.py").touch()

    def run_pip(command):
        pip.calls.append("labkit" if "-e" in command else "lock")
        return pip.status

    monkeypatch.setattr(setup_venv, "create", create)
    monkeypatch.setattr(setup_venv, "run_pip", run_pip)
    return pip


def packages(venv):
    (folder,) = venv.glob("[Ll]ib/**/site-packages")
    return folder


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_it_is_done_once(setup_venv, pip, tmp_path):
    venv = tmp_path / "venv"
    setup_venv.set_up(venv)
    assert pip.calls == ["create", "lock", "labkit"]
    setup_venv.set_up(venv)
    assert len(pip.calls) == 3


def test_an_interrupted_call_is_taken_up(setup_venv, pip, tmp_path):
    venv = tmp_path / "venv"
    pip.status = 1
    with pytest.raises(setup_venv.SetupError, match="goes on where it stopped"):
        setup_venv.set_up(venv)
    for name, files in (("whole-1.0", ["METADATA", "RECORD"]), ("half-1.0", ["METADATA"])):
        metadata = packages(venv) / f"{name}.dist-info"
        metadata.mkdir()
        for file in files:
            (metadata / file).touch()
    pip.status = 0
    setup_venv.set_up(venv)
    assert pip.calls == ["create", "lock", "lock", "labkit"]
    assert [path.name for path in packages(venv).glob("*.dist-info")] == ["whole-1.0.dist-info"]


def test_a_changed_lock_file_is_installed(setup_venv, pip, tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    setup_venv.set_up(venv)
    lock = tmp_path / "requirements.lock"
    lock.write_text("another==1.0")
    monkeypatch.setattr(setup_venv, "LOCK", lock)
    setup_venv.set_up(venv)
    assert pip.calls == ["create", "lock", "labkit", "lock", "labkit"]


def test_a_moved_environment_is_made_anew(setup_venv, pip, tmp_path):
    setup_venv.set_up(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    setup_venv.set_up(tmp_path / "there")
    assert pip.calls.count("create") == 2


@posix
def test_an_environment_whose_python_has_gone_is_made_anew(setup_venv, pip, tmp_path):
    venv = tmp_path / "venv"
    setup_venv.set_up(venv)
    for link in (venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to(tmp_path / "gone")
    setup_venv.set_up(venv)
    assert pip.calls.count("create") == 2


def test_another_python_makes_it_anew(setup_venv, pip, tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    setup_venv.set_up(venv)
    setup_venv.set_up(venv, python=sys.executable)
    assert pip.calls.count("create") == 1
    monkeypatch.setattr(setup_venv, "find_python", lambda python: "/another/python3.13")
    setup_venv.set_up(venv, python="python3.13")
    assert pip.calls.count("create") == 2


def test_a_folder_of_the_users_is_left_alone(setup_venv, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(setup_venv.SetupError, match="is not a virtual environment"):
        setup_venv.set_up(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@posix
def test_another_python_on_the_path_is_found(setup_venv, tmp_path, monkeypatch):
    """An unsupported Python started the script; one on the PATH is a shim that fails."""
    old = script(tmp_path / "old", "echo 'is Python 3.8' >&2; exit 1")
    script(tmp_path / "python3.12", "echo 'version not installed' >&2; exit 127")
    script(tmp_path / "python3.11", f"exec '{sys.executable}' \"$@\"")
    monkeypatch.setattr(setup_venv.sys, "executable", str(old))
    monkeypatch.setenv("PATH", str(tmp_path))
    base = setup_venv.find_python()
    assert os.path.realpath(base) == os.path.realpath(sys._base_executable)


@posix
def test_no_suitable_python_says_why_and_what_to_do(setup_venv, tmp_path, monkeypatch):
    old = script(tmp_path / "old", "echo 'is Python 3.8' >&2; exit 1")
    reason = "lacks the module venv; on Debian, Ubuntu: sudo apt install python3.11-venv"
    script(tmp_path / "python3.11", f"echo '{reason}' >&2; exit 1")
    monkeypatch.setattr(setup_venv.sys, "executable", str(old))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(setup_venv.SetupError) as error:
        setup_venv.find_python()
    assert f"{old} is Python 3.8" in str(error.value)
    assert f"python3.11 {reason}" in str(error.value)
    assert "Install Python 3.12" in str(error.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sys.version_info = (3, 9)", "is Python 3.9"),
        ("sys.modules['ensurepip'] = None", "lacks the module venv"),
        (
            "import platform; platform.system = lambda: 'Darwin'; "
            "platform.machine = lambda: 'x86_64'",
            "for Intel Macs",
        ),
    ],
)
def test_what_a_python_must_have(setup_venv, setting, message):
    code = "import sys; " + setting + setup_venv.PROBE.format(supported=setup_venv.SUPPORTED)
    status, _, said = setup_venv.ask([sys.executable, "-c", code])
    assert status == 1 and message in said


def test_progress_is_said_in_few_lines(setup_venv, capfd):
    lines = [f"Collecting package{i}==1.0 (from -r requirements.lock)" for i in range(65)]
    lines += ["  Downloading small-1.0-py3-none-any.whl (12 kB)"]
    lines += ["  Downloading tensorflow-2.21.0-cp312-cp312-linux.whl (620.4 MB)"]
    lines += ["Installing collected packages: a, b, c"]
    code = f"print({chr(10).join(lines)!r}); raise SystemExit(3)"
    assert setup_venv.run_pip([sys.executable, "-c", code]) == 3
    said = capfd.readouterr().out.splitlines()
    assert len(said) == 4 and said[2:] == [
        "setup: downloading tensorflow, 620.4 MB",
        "setup: unpacking 3 packages; many take a minute or two",
    ]


def test_an_old_python_can_read_the_script():
    ast.parse((ROOT / "setup_venv.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_finished_environment_of_this_run_is_left_alone(setup_venv, tmp_path, monkeypatch):
    """The script itself, called as `make` calls it."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (venv / setup_venv.STAMP).write_text(json.dumps(setup_venv.fingerprint(venv)))
    ran = subprocess.run(
        [sys.executable, ROOT / "setup_venv.py", "--venv", venv],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout + ran.stderr == ""
