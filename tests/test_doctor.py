import importlib.metadata
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import labkit
from labkit import doctor

SETTINGS = ("LABKIT_PROFILE", "LABKIT_DATA_MODE", "LABKIT_DATA", "LABKIT_OUT")


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def packages(monkeypatch):
    """The installed distributions, by name, to be changed; what is changed is what is found."""
    found = {d.metadata["Name"].lower(): d for d in importlib.metadata.distributions()}
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: list(found.values()))
    return found


class Distribution:
    requires = ()

    def __init__(self, name, version):
        self.metadata, self.version = {"Name": name}, version


@pytest.fixture(scope="module")
def findings():
    """What is found with the settings as they are by default."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        return doctor.examine()


def test_a_good_installation_is_ok(findings):
    assert [f.name for f in findings if not f.ok] == []
    assert "TensorFlow 2.21" in " ".join(f.detail for f in findings)


def test_details_of_what_is_ok_name_no_folder(findings):
    """They stand in the notebooks that the course publishes."""
    text = " ".join(f.detail for f in findings if f.name != "TensorFlow")
    assert str(Path.cwd()) not in text and sys.prefix not in text


def test_unsupported_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    finding = doctor._python()
    assert not finding.ok and "Python 3.12" in finding.repair


def test_intel_mac(monkeypatch):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    finding = doctor._python()
    assert not finding.ok and "Apple silicon" in finding.repair


def test_stale_installation(monkeypatch):
    monkeypatch.setattr(labkit, "__version__", "9.9")
    finding = doctor._labkit()
    assert not finding.ok and "9.9 is imported" in finding.detail
    assert "pip install --no-deps -e" in finding.repair


def test_course_in_another_folder(monkeypatch, tmp_path):
    (tmp_path / "labkit").mkdir()
    (tmp_path / "labkit" / "__init__.py").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    finding = doctor._labkit()
    assert not finding.ok and str(tmp_path / "setup_venv.py") in finding.repair


@pytest.mark.parametrize(
    ("name", "version", "detail"),
    [
        ("tensorflow", None, "tensorflow is missing (labkit needs it)"),
        ("h5py", None, "h5py is missing (tensorflow needs it)"),
        ("tensorflow", "2.15.0", "tensorflow is 2.15.0, labkit needs ==2.21.0"),
        ("papermill", "1.0", "papermill is 1.0, labkit needs >=2.6"),
        ("rich", "13.5.0", "rich is 13.5.0, the lock has"),
    ],
)
def test_missing_or_other_package(packages, name, version, detail):
    if version:
        packages[name] = Distribution(name, version)
    else:
        del packages[name]
    finding = doctor._packages()
    assert not finding.ok and detail in finding.detail
    assert finding.repair.startswith(f"{sys.executable} -m pip install --require-hashes -r")


def test_copies_further_down_the_path_do_not_count(monkeypatch, tmp_path):
    """setuptools, once imported, puts its own copies of some packages at the path's end."""
    for name in ("platformdirs-1.0", "-half_removed"):
        (tmp_path / f"{name}.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: platformdirs\nVersion: 1.0\n"
    (tmp_path / "platformdirs-1.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert doctor._packages().detail.endswith("all that labkit needs among them")
    importlib.import_module("importlib_metadata")  # from now on it finds packages, too
    assert doctor._packages().detail.endswith("all that labkit needs among them")


def test_two_tensorflows(packages):
    packages["tensorflow-cpu"] = Distribution("tensorflow_cpu", "2.21.0")
    finding = doctor._packages()
    assert "overwrite each other" in finding.detail
    assert "pip uninstall -y tensorflow tensorflow-cpu" in finding.repair


def test_without_labkit_its_packages_are_unknown(packages):
    del packages["labkit"]
    assert not doctor._packages().ok


@pytest.mark.parametrize(
    ("status", "stderr", "detail"),
    [
        (-signal.SIGILL, "", "illegal instruction"),
        (0xC000001D, "", "illegal instruction"),
        (-signal.SIGSEGV, "", "it crashed: SIGSEGV"),
        (1, "Traceback\nImportError: no module", "ImportError: no module"),
        (1, "", "exit code 1, no message"),
    ],
)
def test_tensorflow_that_crashes_or_fails(monkeypatch, status, stderr, detail):
    ran = subprocess.CompletedProcess([], status, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: ran)
    finding = doctor._tensorflow()
    assert not finding.ok and finding.repair and detail in finding.detail


def test_tensorflow_that_hangs(monkeypatch):
    def run(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    assert "did not start" in doctor._tensorflow().detail


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_a_process_that_really_dies_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    finding = doctor._tensorflow()
    assert not finding.ok and "AVX" in finding.repair


def test_kernel_of_another_environment(monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    other = str(tmp_path / "elsewhere" / "python")
    spec = {"argv": [other, "-m", "ipykernel_launcher"], "display_name": "x", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = doctor._kernel()
    assert not finding.ok and other in finding.detail
    assert finding.repair == f"{sys.executable} -m ipykernel install --sys-prefix"


def test_no_kernel(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def missing(*arguments):
        raise NoSuchKernel("python3")

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", missing)
    assert not doctor._kernel().ok


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("LABKIT_PROFILE", "fast", "expected one of quick, full"),
        ("LABKIT_DATA_MODE", "fake", "expected one of auto, synthetic, real"),
        ("LABKIT_DATA", "/nowhere/at/all", "which is not a folder"),
        ("TF_USE_LEGACY_KERAS", "0", "labkit needs Keras 2"),
    ],
)
def test_wrong_setting(monkeypatch, name, value, detail):
    monkeypatch.setenv(name, value)
    finding = doctor._settings()
    assert not finding.ok and detail in finding.detail
    assert finding.repair == (f"set {name}=" if sys.platform == "win32" else f"unset {name}")


def test_real_data_that_is_asked_for_and_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert "synthetic" in doctor._data().detail
    monkeypatch.setenv("LABKIT_DATA_MODE", "real")
    finding = doctor._data()
    assert not finding.ok and finding.repair == "labkit data get sign_mnist"


def test_real_data_that_nobody_can_download(monkeypatch, tmp_path):
    """All but the recording that was never published are there."""
    from labkit.datasets import registry

    for name, source in registry.SOURCES.items():
        there = (tmp_path,) if source.can_be_downloaded else ()
        monkeypatch.setitem(registry.SOURCES, name, replace(source, find=lambda _, f=there: f))
    assert "localisation: synthetic (the real one is not published)" in doctor._data().detail
    monkeypatch.setenv("LABKIT_DATA_MODE", "real")
    finding = doctor._data()
    assert not finding.ok and "localisation" in finding.detail
    assert "LABKIT_DATA_MODE" in finding.repair and "data get" not in finding.repair


def test_output_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_OUT", str(tmp_path / "new" / "out"))
    assert doctor._output().ok and not (tmp_path / "new").exists()
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("D", (), {"free": 10**8}))
    assert "free 2 GB" in doctor._output().repair

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    assert "cannot be written to (Permission denied)" in doctor._output().detail


def test_small_memory(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"total": 10**9}))
    assert not doctor._memory().ok


def test_table_shows_repairs_only_where_needed():
    good = doctor.Finding("a", True, "fine")
    bad = doctor.Finding("b", False, "broken", "mend it")
    assert "repair" not in doctor.table([good]).columns
    assert doctor.table([good, bad]).loc["b", "repair"] == "mend it"
