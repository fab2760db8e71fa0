"""The lock file, environment.yml, pyproject.toml and the installed packages agree."""

import ast
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONDA_PYTHON = "3.12"


def lock_entries():
    """(name, version, marker or None, number of hashes) of every entry of the lock file."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    entries = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        requirement = Requirement(requirement)
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        name = canonicalize_name(requirement.name)
        entries.append((name, pin.version, requirement.marker, len(hashes)))
    return entries


def environment(python, system):
    """What markers are evaluated in, for a Python such as "3.12" or "3.11.7"."""
    major, minor, *patch = python.split(".")
    return {
        "python_version": f"{major}.{minor}",
        "python_full_version": ".".join([major, minor, *(patch or ["9"])]),
        "sys_platform": system,
        "platform_machine": "x86_64",
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
        "os_name": "nt" if system == "win32" else "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def locked(python, system="linux"):
    """Name to version of what the lock file installs for a Python."""
    here = environment(python, system)
    return {
        name: version
        for name, version, marker, _ in lock_entries()
        if marker is None or Marker(str(marker)).evaluate(here)
    }


def declared():
    """The requirements of pyproject.toml, all extras."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        tomllib = pytest.importorskip("tomli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in lists for text in group]


def test_every_entry_of_the_lock_has_hashes():
    entries = lock_entries()
    assert len(entries) > 100
    assert [name for name, _, _, hashes in entries if hashes == 0] == []


def test_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index" not in text.replace("pandocfilters", "")


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_lock_satisfies_pyproject(python, system):
    versions = locked(python, system)
    for requirement in declared():
        if requirement.marker and not requirement.marker.evaluate(environment(python, system)):
            continue
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name} is not locked for Python {python} on {system}"
        assert requirement.specifier.contains(versions[name]), requirement


def third_party_imports(folder):
    """Top-level modules that the Python files of a folder import, anywhere in them."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"labkit"}


@pytest.mark.parametrize("folder", ["labkit", "solutions", "tests"])
def test_what_is_imported_is_declared(folder):
    """Not merely brought along by another package, which may stop to need it."""
    names = {canonicalize_name(requirement.name) for requirement in declared()}
    packages = packages_distributions()
    undeclared = {
        module
        for module in third_party_imports(folder)
        if module in packages and not names & {canonicalize_name(name) for name in packages[module]}
    }
    assert undeclared == set()


def environment_yml():
    """What environment.yml should be; `make lock` writes it."""
    versions = locked(CONDA_PYTHON)
    markers = {canonicalize_name(r.name): f"; {r.marker}" if r.marker else "" for r in declared()}
    names = sorted(markers.keys() & versions.keys())
    pins = [f"{name}=={versions[name]}{markers[name]}" for name in names]
    head = """\
# conda env create -f environment.yml
# The versions are those of requirements.lock; `make lock` writes both.
name: labkit
channels:
  - conda-forge
dependencies:
  - python={}
  - pip
  - pip:
"""
    return head.format(CONDA_PYTHON) + "".join(f"      - {pin}\n" for pin in [*pins, "-e ."])


def test_environment_has_the_locks_pins():
    text = (ROOT / "environment.yml").read_text()
    assert text == environment_yml()
    entries = yaml.safe_load(text)["dependencies"]
    plain = [entry for entry in entries if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    assert f"python={CONDA_PYTHON}" in plain
    assert pip[-1] == "-e ."
    assert "tensorflow==2.21.0" in pip and len(pip) > 30


def test_installed_packages_are_the_locked_ones():
    wrong = {}
    for name, wanted in locked(platform.python_version(), sys.platform).items():
        try:
            if version(name) != wanted:
                wrong[name] = (version(name), wanted)
        except PackageNotFoundError:  # markers of other machines
            continue
    assert wrong == {}


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment_yml(), encoding="utf-8")
