import importlib.metadata
import signal
import subprocess

import pytest

from labkit import doctor


def test_a_good_installation_is_ok(monkeypatch):
    monkeypatch.delenv("LABKIT_PROFILE", raising=False)
    findings = doctor.examine()
    assert [f.name for f in findings if not f.ok] == []
    assert "TensorFlow 2.21" in " ".join(f.detail for f in findings)


def test_unsupported_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    finding = doctor._python()
    assert not finding.ok and "Python 3.12" in finding.repair


def test_intel_mac(monkeypatch):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    assert "Apple silicon" in doctor._python().repair


@pytest.mark.parametrize("found", [None, "2.15.0"])
def test_missing_or_other_package(monkeypatch, found):
    real = importlib.metadata.version

    def version(name):
        if name == "tensorflow":
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    finding = doctor._packages()
    assert not finding.ok
    assert ("tensorflow is missing" if found is None else "tensorflow is 2.15.0") in finding.detail
    assert finding.repair == "python setup_venv.py --reinstall"


def test_two_tensorflows(monkeypatch):
    class Distribution:
        def __init__(self, name):
            self.metadata = {"Name": name}

    both = [Distribution("tensorflow"), Distribution("tensorflow-cpu")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: both)
    assert "overwrite each other" in doctor._packages().detail


@pytest.mark.parametrize(
    ("returncode", "stderr", "detail"),
    [
        (-signal.SIGILL, "", "SIGILL (this processor lacks AVX)"),
        (1, "Traceback\nImportError: no module", "ImportError: no module"),
        (1, "", "no message"),
    ],
)
def test_tensorflow_that_crashes_or_fails(monkeypatch, returncode, stderr, detail):
    ran = subprocess.CompletedProcess([], returncode, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: ran)
    finding = doctor._tensorflow()
    assert not finding.ok and detail in finding.detail


def test_kernel_of_another_environment(monkeypatch):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

    spec = KernelSpec(argv=["/elsewhere/bin/python", "-m", "ipykernel_launcher"])
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda *a: spec)
    finding = doctor._kernel()
    assert not finding.ok and "/elsewhere/bin/python" in finding.detail
    assert "ipykernel install --sys-prefix" in finding.repair

    def missing(*arguments):
        raise NoSuchKernel("python3")

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", missing)
    assert not doctor._kernel().ok


def test_wrong_setting(monkeypatch):
    monkeypatch.setenv("LABKIT_PROFILE", "fast")
    finding = doctor._settings()
    assert not finding.ok and finding.repair == "unset LABKIT_PROFILE"
    assert "expected one of quick, full" in finding.detail


def test_full_disk_and_small_memory(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("D", (), {"free": 10**8}))
    assert not doctor._disk().ok
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"total": 10**9}))
    assert not doctor._memory().ok


def test_table_shows_repairs_only_where_needed():
    good = doctor.Finding("a", True, "fine")
    bad = doctor.Finding("b", False, "broken", "mend it")
    assert "repair" not in doctor.table([good]).columns
    assert doctor.table([good, bad]).loc["b", "repair"] == "mend it"
